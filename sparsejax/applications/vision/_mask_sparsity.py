"""MaskSparsity: channels are shrunk before they are removed, and no others are."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ... import nn, penalties
from ...nn._leaves import named_leaves, replace_leaves
from .._files import claim_folder
from .._norms import fitted_state
from ._classify import ClassificationLoss, norm_scales
from ._training import train

Optimiser = Callable[[int], optax.GradientTransformation]


class Steps(NamedTuple):
    """How many batches each stage of MaskSparsity takes.

    Attributes
    ----------
    baseline
        Without penalty; 0 for a model that is trained already.
    sparse
        With a penalty on all scales, only to find out which channels to drop.
    masked
        From the baseline again, with a penalty on these channels alone. 0 for the usual global
        sparsity instead, which goes on from the weights that were penalised everywhere.
    tuning
        Of the slim model; may be 0.
    """

    baseline: int
    sparse: int
    masked: int
    tuning: int


class MaskSparse(NamedTuple):
    """A slim model, and how it came about.

    Attributes
    ----------
    model, state
        Of fewer channels, with running statistics.
    masks
        Of the scales of the large model: what was kept.
    losses
        Of every batch, by stage.
    """

    model: Any
    state: eqx.nn.State
    masks: Any
    losses: dict[str, Float[np.ndarray, " steps"]]


@functools.lru_cache  # what has been compiled with one is used again
def step_sgd(steps: int, learning_rate: float = 0.1) -> optax.GradientTransformation:
    """SGD with Nesterov's momentum 0.9 and weight decay 1e-4, ten times slower at 30, 60 and 90 %.

    Parameters
    ----------
    steps
        Of the whole training.
    learning_rate
        At first.

    Examples
    --------
    See ``mask_sparsity``.
    """
    rate = optax.piecewise_constant_schedule(
        learning_rate, {int(part * steps): 0.1 for part in (0.3, 0.6, 0.9)}
    )
    return optax.chain(optax.add_decayed_weights(1e-4), optax.sgd(rate, 0.9, nesterov=True))


def tuning_sgd(steps: int) -> optax.GradientTransformation:
    """``step_sgd`` at a rate of 5e-4, for fine-tuning.

    Examples
    --------
    See ``mask_sparsity``.
    """
    return step_sgd(steps, 5e-4)


def scale_masks(
    model: Any,
    state: eqx.nn.State,
    drop: float | nn.AbstractPattern,
    round_to: int = 8,
    *,
    example: Any = None,
) -> Any:
    """Which channels to keep by the scales of their norms, where channels can be removed at all.

    Parameters
    ----------
    model, state, example
        As of ``sparsejax.nn.slim``.
    drop
        A number: channels of |scale| up to that are dropped. Or a pattern, such as
        ``nn.Channel(0.5)``, within every norm.
    round_to
        Widths are rounded up to a multiple of this.

    Returns
    -------
    masks
        Of the scales; norms that write one stream agree by vote (``sparsejax.nn.shared_masks``).

    Examples
    --------
    See ``mask_sparsity``, which does this after its first two stages.
    """
    if isinstance(drop, nn.AbstractPattern):
        masks = nn.magnitude_masks(model, drop, norm_scales)
    else:
        scores = named_leaves(nn.magnitude(model, norm_scales))
        masks = replace_leaves(
            model, {name: None if x is None else x > drop for name, x in scores.items()}
        )
    return nn.shared_masks(model, state, masks, round_to, example=example)


def mask_sparsity(
    model: Any,
    state: eqx.nn.State,
    images: Float[Array, "samples ..."],
    labels: Int[Array, " samples"],
    steps: Steps,
    *,
    key: PRNGKeyArray,
    strength: float = 5e-4,
    drop: float | nn.AbstractPattern = 0.01,
    round_to: int = 8,
    batch: int = 256,
    optimiser: Optimiser = step_sgd,
    tuning_optimiser: Optimiser = tuning_sgd,
    every: int = 100,
    checkpoint: str | os.PathLike[str] | None = None,
    callback: Callable[[str, int, Float[np.ndarray, " every"]], None] | None = None,
) -> MaskSparse:
    """Train, find channels to drop, shrink these alone, remove them, and tune what is left.

    Parameters
    ----------
    model, state
        A model of one image and its BatchNorm state, such as ``cifar_resnet`` makes.
    images, labels
        (samples, channels, height, width) and (samples,).
    steps
        Of the stages.
    key
        Of the order of samples.
    strength
        Of the ℓ1 penalty on scales, in both sparse stages.
    drop, round_to
        As of ``scale_masks``.
    batch, every
        As of ``train``.
    optimiser, tuning_optimiser
        Functions of the number of steps that return an Optax optimiser.
    checkpoint
        A folder that gets a file a stage. If the process dies, the same call goes on after what
        they hold and ends in the same weights. Delete it when the result is safe.
    callback
        Called with the stage, the number of its steps done and the losses of the last ones.

    Returns
    -------
    mask_sparse

    Raises
    ------
    ValueError
        If nothing can be dropped, sizes do not fit, or ``checkpoint`` holds another run.
    FloatingPointError
        If a loss is not finite.

    Examples
    --------
    >>> import equinox as eqx, jax, jax.numpy as jnp, sparsejax as sj
    >>> from sparsejax.applications import vision
    >>> def small_network():
    ...     conv = eqx.nn.Conv2d(1, 8, 3, use_bias=False, key=jax.random.key(0))
    ...     norm = eqx.nn.BatchNorm(8, "batch", mode="batch")
    ...     pool = eqx.nn.Lambda(lambda x: jax.nn.relu(x).mean(axis=(1, 2)))
    ...     return eqx.nn.Sequential([conv, norm, pool, eqx.nn.Linear(8, 2, key=jax.random.key(1))])
    >>> model, state = eqx.nn.make_with_state(small_network)()
    >>> labels = jnp.arange(16) % 2
    >>> images = jax.random.normal(jax.random.key(1), (16, 1, 8, 8)) + labels[:, None, None, None]
    >>> found = vision.mask_sparsity(
    ...     model, state, images, labels, vision.Steps(9, 9, 9, 0), key=jax.random.key(2),
    ...     drop=sj.nn.Channel(0.5), round_to=1, batch=8,
    ... )
    >>> found.model.layers[0].out_channels
    4
    >>> bool(0 <= vision.accuracy(found.model, found.state, images, labels) <= 1)
    True

    Notes
    -----
    Jiang et al., Pruning-aware sparse regularization for network pruning (2022). What is kept of
    a removed channel, its bias after the norm, is folded into the next layer rather than dropped.
    """
    steps = Steps(*steps)
    folder = None if checkpoint is None else Path(checkpoint)
    if folder is not None:
        names = {"strength": strength, "drop": repr(drop), "round_to": round_to}
        claim_folder(folder, {name: str(value) for name, value in names.items()}, "checkpoint")
    losses: dict[str, np.ndarray] = {}
    keys = dict(zip(Steps._fields, jax.random.split(key, 4), strict=True))

    def stage(name: str, model: Any, loss: ClassificationLoss, optimiser: Optimiser) -> Any:
        count = getattr(steps, name)
        if not count:
            losses[name] = np.zeros(0)
            return model
        trained = train(
            model,
            images,
            labels,
            loss,
            optimiser(count),
            steps=count,
            batch=batch,
            key=keys[name],
            every=every,
            checkpoint=None if folder is None else folder / f"{name}.eqx",
            callback=None if callback is None else functools.partial(callback, name),
        )
        losses[name] = trained.losses
        return trained.model

    def loss(masks: Any) -> ClassificationLoss:
        # The same structure in every stage, so that they share a program.
        return ClassificationLoss(state, penalties.L1(strength), masks)

    none, every_scale = (nn.magnitude_masks(model, nn.Channel(s), norm_scales) for s in (0, 1))
    baseline = stage("baseline", model, loss(none), optimiser)
    sparse = stage("sparse", baseline, loss(every_scale), optimiser)
    example = jax.ShapeDtypeStruct(jnp.shape(images)[1:], jnp.result_type(images, jnp.float32))
    masks = scale_masks(sparse, state, drop, round_to, example=example)
    if steps.masked:
        sparse = stage("masked", baseline, loss(masks), optimiser)
    sparse_state = fitted_state(nn.apply_masks(sparse, masks), state, images, batch)
    small, small_state = nn.slim(sparse, sparse_state, masks, 1, example=example)
    small = stage("tuning", small, ClassificationLoss(small_state), tuning_optimiser)
    if steps.tuning:
        small_state = fitted_state(small, small_state, images, batch)
    return MaskSparse(small, small_state, masks, losses)
