"""What a sparse vision transformer is trained for, and which of its weights are pruned."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from ... import nn
from ..._checks import check_nonnegative
from ...penalties import AbstractPenalty
from ._vit import ViT

Layers = Literal["last", "all"]


def attention_penalty(
    maps: Sequence[Float[Array, "... tokens tokens"]], layers: Layers = "last"
) -> Float[Array, ""]:
    """The mean of log(1 + A²) over entries of attention maps.

    Rows of A sum to one: the mean is lowest where a token takes equally from all, and log(1 + A²)
    grows more slowly than A², so that a few strong links cost less than their squares.

    Parameters
    ----------
    maps
        Of every block, as from ``ViT.with_maps``.
    layers
        ``"last"``: of the last block only, as in the paper's code; ``"all"``: the mean over all.

    Raises
    ------
    ValueError
        If ``layers`` is neither, or there are no maps.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from sparsejax.applications import vision
    >>> maps = [jnp.full((1, 2, 2), 0.5), jnp.eye(2)[None]]
    >>> round(float(vision.attention_penalty(maps)), 3)
    0.347
    >>> round(float(vision.attention_penalty(maps, "all")), 3)
    0.285

    Notes
    -----
    Prasetyo et al., Sparse then prune: toward efficient vision transformers (2023).
    """
    if layers not in ("last", "all"):
        raise ValueError(f"`layers` must be 'last' or 'all'; got {layers!r}.")
    if not maps:
        raise ValueError("`maps` must hold the attention maps of a block at least.")
    chosen = maps[-1:] if layers == "last" else maps
    return jnp.mean(jnp.stack([jnp.mean(jnp.log1p(one**2)) for one in chosen]))


def prunable(name: str, leaf: Any) -> bool:
    """Whether the paper prunes a weight of a ``ViT``: a predicate for ``where``.

    It does so with the patch embedding, the scales of norms inside blocks, queries, keys, values,
    outputs, both layers of the feed-forward halves and the classifier; not with biases, tokens,
    positions and the last norm.

    Parameters
    ----------
    name, leaf
        Of a ``ViT``.

    Examples
    --------
    >>> import jax, sparsejax as sj
    >>> from sparsejax.applications import vision
    >>> config = vision.ViTConfig(
    ...     image=8, patch=4, width=16, depth=2, heads=4, hidden=32, classes=3, channels=1
    ... )
    >>> model = vision.ViT(config, jax.random.key(0))
    >>> masks = sj.nn.magnitude_masks(
    ...     model, sj.nn.Unstructured(0.5), where=vision.prunable, scope="global"
    ... )
    >>> masks.positions is None
    True
    """
    del leaf
    return name.endswith(".weight") and not name.startswith("norm.")


def vit_loss(
    attention: float = 0.01, layers: Layers = "last", penalty: AbstractPenalty | None = None
) -> Callable[[ViT, Float[Array, "batch ..."], Int[Array, " batch"]], Float[Array, ""]]:
    """Cross-entropy, the attention penalty of every image, and a penalty on ``prunable`` weights.

    Parameters
    ----------
    attention
        The factor of ``attention_penalty``.
    layers
        Which maps it sees.
    penalty
        Any of this library; ``L1`` in the paper's comparison.

    Returns
    -------
    loss
        A function of model, images and labels, for ``train``.

    Examples
    --------
    See ``train``.
    """
    check_nonnegative("attention", jnp.asarray(attention), ndim=0, finite=True)

    def loss(
        model: ViT, images: Float[Array, "batch ..."], labels: Int[Array, " batch"]
    ) -> Float[Array, ""]:
        logits, maps = jax.vmap(model.with_maps)(images)
        fit = jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))
        value = fit + attention * attention_penalty(maps, layers)
        return value if penalty is None else value + nn.penalise(model, penalty, prunable)

    return loss
