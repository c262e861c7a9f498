"""Training and testing of networks with BatchNorm that classify images."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from ... import nn, penalties
from .._norms import copied_state


def norm_scales(model: Any) -> list[Array]:
    """The scales of all BatchNorm layers: a ``where`` for masks and penalties.

    Examples
    --------
    >>> import equinox as eqx, jax
    >>> from sparsejax.applications import vision
    >>> model, _ = eqx.filter_eval_shape(vision.cifar_resnet, 8, jax.random.key(0))
    >>> len(vision.norm_scales(model))
    7
    """
    is_norm = lambda node: isinstance(node, eqx.nn.BatchNorm)  # noqa: E731
    norms = [node for node in jax.tree.leaves(model, is_leaf=is_norm) if is_norm(node)]
    return [norm.weight for norm in norms if norm.weight is not None]


class ClassificationLoss(eqx.Module):
    """Mean cross-entropy of a batch, plus a penalty on scales of BatchNorm.

    Norms take the statistics of the batch, and no running ones are kept: ``fitted_state`` takes
    them when training is done.

    Parameters
    ----------
    state
        Of the model.
    penalty
        Such as ``penalties.L1(5e-4)``; None for none.
    masks
        If given, only channels marked to be dropped (False) are penalised.

    Examples
    --------
    >>> import equinox as eqx, jax.numpy as jnp, sparsejax as sj
    >>> from sparsejax.applications import vision
    >>> norm = eqx.nn.BatchNorm(3, "batch", mode="batch")
    >>> model, state = eqx.nn.make_with_state(lambda: eqx.nn.Sequential([norm]))()
    >>> images, labels = jnp.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]]), jnp.array([2, 1])
    >>> plain = vision.ClassificationLoss(state)(model, images, labels)
    >>> loss = vision.ClassificationLoss(state, sj.penalties.L1(1.0))
    >>> round(float(loss(model, images, labels) - plain), 3)  # three scales of one
    3.0
    """

    state: eqx.nn.State
    penalty: penalties.AbstractPenalty | None = None
    masks: Any = None

    def __call__(
        self, model: Any, images: Float[Array, "batch ..."], labels: Int[Array, " batch"]
    ) -> Float[Array, ""]:
        call = jax.vmap(model, (0, None), (0, None), axis_name="batch")
        logits, _ = call(images, copied_state(self.state))
        loss = jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))
        if self.penalty is None:
            return loss
        return loss + nn.penalise(model, self.penalty, norm_scales, self.masks)


def accuracy(
    model: Any,
    state: eqx.nn.State,
    images: Float[Array, "samples ..."],
    labels: Int[Array, " samples"],
    batch: int = 256,
) -> Float[Array, ""]:
    """The part of the images whose largest logit is that of their label, in inference.

    Parameters
    ----------
    model, state
        Of one image.
    images, labels
        Not those trained on.
    batch
        How many are computed at once.

    Examples
    --------
    See ``mask_sparsity``.
    """
    model, images = eqx.nn.inference_mode(model), jnp.asarray(images)
    right = [
        _right(model, state, images[first : first + batch], labels[first : first + batch])
        for first in range(0, len(images), batch)  # no compiled loop, as in training
    ]
    return jnp.mean(jnp.concatenate(right))


@eqx.filter_jit
def _right(model: Any, state: eqx.nn.State, images: Array, labels: Array) -> Bool[Array, " batch"]:
    logits = jax.vmap(lambda image: model(image, copied_state(state))[0])(images)
    return jnp.argmax(logits, axis=-1) == labels
