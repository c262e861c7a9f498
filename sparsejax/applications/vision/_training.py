"""Training in compiled steps, of one model or several at once; what is done survives."""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ..._arrays import as_inexact
from ..._checks import check_finite, check_integer
from .._training import Callback, train_on_batches

Loss = Callable[[Any, Float[Array, "batch ..."], Int[Array, " batch"]], Float[Array, ""]]


class Trained(NamedTuple):
    """A trained model, or several.

    Attributes
    ----------
    model
        As it was given, with other weights.
    losses
        (steps,) or (seeds, steps): of every batch.
    """

    model: Any
    losses: Float[np.ndarray, "*seeds steps"]


def one_cycle_sgd(
    steps: int,
    learning_rate: float = 1e-3,
    *,
    warmup: int = 500,
    momentum: float = 0.9,
    weight_decay: float = 1e-4,
) -> optax.GradientTransformation:
    """SGD with momentum, a rate that rises for some steps and falls for the rest, by cosines.

    Parameters
    ----------
    steps
        Of the whole training.
    learning_rate
        Where it is highest.
    warmup
        How many steps it rises; fewer than all.
    momentum, weight_decay
        The latter is added to gradients, as in PyTorch.

    Raises
    ------
    ValueError
        If ``warmup`` does not lie between 0 and ``steps``.

    Examples
    --------
    See ``train``.
    """
    check_integer("steps", steps)
    if not 0 < warmup < steps:
        raise ValueError(f"`warmup` must lie between 0 and `steps` = {steps}; got {warmup}.")
    rate = optax.cosine_onecycle_schedule(steps, learning_rate, warmup / steps)
    return optax.chain(optax.add_decayed_weights(weight_decay), optax.sgd(rate, momentum))


def train(
    model: Any,
    images: Float[Array, "samples ..."],
    labels: Int[Array, " samples"],
    loss: Loss,
    optimiser: optax.GradientTransformation,
    *,
    steps: int,
    batch: int,
    key: PRNGKeyArray,
    every: int = 100,
    checkpoint: str | os.PathLike[str] | None = None,
    callback: Callback | None = None,
) -> Trained:
    """Minimise a loss over batches that are drawn anew in each epoch, without replacement.

    Parameters
    ----------
    model
        Any Equinox module without state; or several of one shape, stacked along a first axis of
        their arrays (``eqx.filter_vmap(lambda key: ViT(config, key))(keys)``).
    images, labels
        (samples, ...) and (samples,).
    loss
        A function of the model and of images and labels of a batch, such as ``vit_loss()``.
    optimiser
        Of Optax, such as ``one_cycle_sgd``; with ``prune_updates`` last in a chain, weights
        become zero and stay so.
    steps, batch
        How many batches, and their size.
    key
        Of the order of samples; as many keys as there are models.
    every
        How many steps go by from one checkpoint and call of ``callback`` to the next.
    checkpoint
        A file. If the process dies, the same call goes on after what it holds, and ends in the
        same weights. Delete it when the result is safe.
    callback
        Called with the number of steps done and the losses of the last ones: to show progress.

    Returns
    -------
    trained

    Raises
    ------
    ValueError
        If sizes do not fit together, or ``checkpoint`` holds a run with other arguments.
    FloatingPointError
        If a loss is not finite.

    Examples
    --------
    >>> import equinox as eqx, jax, jax.numpy as jnp, sparsejax as sj
    >>> from sparsejax.applications import vision
    >>> config = vision.ViTConfig(
    ...     image=4, patch=2, width=8, depth=1, heads=2, hidden=8, classes=2, channels=1
    ... )
    >>> keys = jax.random.split(jax.random.key(0), 3)  # three models at once
    >>> models = eqx.filter_vmap(lambda key: vision.ViT(config, key))(keys)
    >>> labels = jnp.arange(32) % 2
    >>> images = jax.random.normal(keys[0], (32, 1, 4, 4)) + labels[:, None, None, None]
    >>> loss = vision.vit_loss(0.01, "all", sj.penalties.L1(1e-4))
    >>> optimiser = vision.one_cycle_sgd(20, 0.05, warmup=5)
    >>> trained = vision.train(
    ...     models, images, labels, loss, optimiser, steps=20, batch=8, key=keys, every=10
    ... )
    >>> trained.losses.shape
    (3, 20)
    """
    images, labels = _checked_data(images, labels)
    model, losses = train_on_batches(
        model,
        (images, labels),
        _OfImages(loss),
        optimiser,
        steps=steps,
        batch=batch,
        key=key,
        every=every,
        run={},
        checkpoint=checkpoint,
        callback=callback,
    )
    return Trained(model, losses)


class _OfImages(eqx.Module):
    """A loss of images and labels, in which nothing is drawn and every epoch is alike."""

    loss: Loss

    def __call__(
        self, model: Any, batch: tuple[Array, ...], key: PRNGKeyArray, epoch: Array
    ) -> Float[Array, ""]:
        return self.loss(model, *batch)


def _checked_data(images: Any, labels: Any) -> tuple[Array, Array]:
    images, labels = as_inexact(images, "images"), jnp.asarray(labels)
    check_finite("images", images)
    if not jnp.issubdtype(labels.dtype, jnp.integer) or labels.ndim != 1:
        raise ValueError(
            f"`labels` must be a vector of integers; got {labels.dtype} of shape {labels.shape}."
        )
    if images.ndim < 2 or len(images) != len(labels):
        raise ValueError(
            f"`images` must be ({len(labels)}, ...), a row a label; got shape {images.shape}."
        )
    return images, labels
