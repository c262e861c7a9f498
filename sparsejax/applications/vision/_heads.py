"""Which attention heads matter, and a model without the others."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ..._modules import replace
from ...nn._exact import num_dropped
from ...nn._leaves import named_leaves, replace_leaves
from ...nn._pattern import checked_sparsity
from ._vit import ViT
from ._vit_attention import ViTAttention

Loss = Callable[[Any, Float[Array, "batch ..."], Int[Array, " batch"]], Float[Array, ""]]


def head_magnitudes(model: ViT) -> list[Float[Array, " heads"]]:
    """‖W_output,h W_value,h‖: the size of the map that a head applies to what it attends to.

    Parameters
    ----------
    model
        A ``ViT``.

    Returns
    -------
    scores
        For every block, one a head.

    Examples
    --------
    >>> import jax
    >>> from sparsejax.applications import vision
    >>> config = vision.ViTConfig(
    ...     image=8, patch=4, width=16, depth=2, heads=4, hidden=32, classes=3, channels=1
    ... )
    >>> scores = vision.head_magnitudes(vision.ViT(config, jax.random.key(0)))
    >>> [score.shape for score in scores]
    [(4,), (4,)]
    """

    def of(attention: ViTAttention) -> Float[Array, " heads"]:
        width = attention.output.weight.shape[0]
        outputs = attention.output.weight.reshape(width, attention.heads, -1)
        values = attention.value.weight.reshape(attention.heads, -1, width)
        return jnp.linalg.norm(jnp.einsum("ohd,hdi->hoi", outputs, values), axis=(1, 2))

    return [of(block.attention) for block in model.blocks]


@eqx.filter_jit
def head_sensitivities(
    model: ViT,
    loss: Loss,
    images: Float[Array, "samples ..."],
    labels: Int[Array, " samples"],
) -> list[Float[Array, " heads"]]:
    """Mean over samples of |∂loss/∂gate|, for a gate of one on what every head puts out.

    Divided by the norm over the heads of a block, which makes blocks comparable.

    Parameters
    ----------
    model
        A ``ViT``.
    loss
        A function of model, images and labels, such as ``vit_loss()``; given one sample a time.
    images, labels
        To measure on.

    Returns
    -------
    scores
        For every block, one a head.

    Notes
    -----
    Michel, Levy & Neubig, Are sixteen heads really better than one? (NeurIPS 2019), equation 4.
    A gate scales columns of the output map, so that its derivative is Σ W·∂loss/∂W over these.
    """

    def of_one(sample: tuple[Array, Array]) -> list[Float[Array, " heads"]]:
        image, label = sample
        gradient = eqx.filter_grad(loss)(model, image[None], label[None])
        return [
            jnp.abs(jnp.sum(_by_head(block.attention, slope.attention), axis=(0, 2)))
            for block, slope in zip(model.blocks, gradient.blocks, strict=True)
        ]

    scores = [jnp.mean(one, axis=0) for one in jax.lax.map(of_one, (images, labels), batch_size=32)]
    norms = [jnp.linalg.norm(one) for one in scores]
    return [one / jnp.where(norm > 0, norm, 1.0) for one, norm in zip(scores, norms, strict=True)]


def kept_heads(scores: Sequence[Float[Array, " heads"]], sparsity: float) -> list[np.ndarray]:
    """All heads but those of lowest score in the whole model; the best of each block stays.

    Parameters
    ----------
    scores
        For every block, one a head.
    sparsity
        The part of all heads that goes: fewer where a block would lose its last head.

    Returns
    -------
    keep
        For every block a boolean array, True for the heads that stay.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsejax.applications import vision
    >>> keep = vision.kept_heads([np.array([1.0, 5.0]), np.array([0.1, 0.2])], 0.75)
    >>> [one.tolist() for one in keep]
    [[False, True], [False, True]]
    """
    sparsity = checked_sparsity(sparsity)
    arrays = [np.asarray(one, float) for one in scores]
    if any(one.ndim != 1 or not one.size or np.isnan(one).any() for one in arrays):
        raise ValueError("`scores` must be vectors of numbers, one a head, for every block.")
    best = [np.where(np.arange(one.size) == np.argmax(one), np.inf, one) for one in arrays]
    pooled = np.concatenate(best)
    order = np.argsort(pooled, kind="stable")[: num_dropped(sparsity, pooled.size)]
    keep = np.isinf(pooled)
    keep[np.setdiff1d(np.arange(pooled.size), order)] = True
    return np.split(keep, np.cumsum([one.size for one in arrays])[:-1])


def head_masks(model: ViT, keep: Sequence[Bool[np.ndarray, " heads"]]) -> Any:
    """Masks for ``apply_masks`` that silence heads: on their four maps.

    Parameters
    ----------
    model
        A ``ViT``.
    keep
        As from ``kept_heads``.

    Raises
    ------
    ValueError
        If ``keep`` does not fit the model; the message names the block.
    """
    leaves = named_leaves(model)
    masks: dict[str, Any] = dict.fromkeys(leaves)
    for i, channels in enumerate(_kept_channels(model, keep)):
        for name in ("query", "key", "value", "output"):
            leaf = f"blocks.{i}.attention.{name}.weight"
            rows = channels if name == "output" else channels[:, None]
            masks[leaf] = jnp.broadcast_to(rows, leaves[leaf].shape)
    return replace_leaves(model, masks)


def remove_heads(model: ViT, keep: Sequence[Bool[np.ndarray, " heads"]]) -> ViT:
    """The model without some heads: smaller maps, the same outputs as if these were silenced.

    Parameters
    ----------
    model
        A ``ViT``.
    keep
        As from ``kept_heads``.

    Raises
    ------
    ValueError
        If ``keep`` does not fit the model, or would leave a block without heads; the message
        names the block.

    Examples
    --------
    >>> import jax
    >>> from sparsejax.applications import vision
    >>> config = vision.ViTConfig(
    ...     image=8, patch=4, width=16, depth=2, heads=4, hidden=32, classes=3, channels=1
    ... )
    >>> model = vision.ViT(config, jax.random.key(0))
    >>> keep = vision.kept_heads(vision.head_magnitudes(model), 0.5)
    >>> sum(block.attention.heads for block in vision.remove_heads(model, keep).blocks)
    4
    """
    blocks = []
    for block, channels in zip(model.blocks, _kept_channels(model, keep), strict=True):
        attention = block.attention
        kept = np.flatnonzero(channels)
        smaller = replace(
            attention,
            query=_sliced(attention.query, rows=kept),
            key=_sliced(attention.key, rows=kept),
            value=_sliced(attention.value, rows=kept),
            output=_sliced(attention.output, columns=kept),
            heads=kept.size * attention.heads // channels.size,
        )
        blocks.append(eqx.tree_at(lambda b: b.attention, block, smaller))
    return eqx.tree_at(lambda m: m.blocks, model, blocks)


def _by_head(
    attention: ViTAttention, slope: ViTAttention
) -> Float[Array, "width heads head_width"]:
    """What every weight of the output map adds to the derivative of its head's gate."""
    product = attention.output.weight * slope.output.weight
    return product.reshape(product.shape[0], attention.heads, -1)


def _kept_channels(
    model: ViT, keep: Sequence[Bool[np.ndarray, " heads"]]
) -> list[Bool[np.ndarray, " channels"]]:
    """For every block, which outputs of its query map stay."""
    if len(keep) != len(model.blocks):
        raise ValueError(f"`keep` must have {len(model.blocks)} entries, one a block.")
    channels = []
    for i, (block, one) in enumerate(zip(model.blocks, keep, strict=True)):
        kept, heads = np.asarray(one), block.attention.heads
        if kept.dtype != bool or kept.shape != (heads,):
            raise ValueError(
                f"`keep[{i}]` must be boolean of shape {(heads,)}; got {kept.dtype} of shape "
                f"{kept.shape}."
            )
        if not kept.any():
            raise ValueError(f"`keep[{i}]` must leave the block one head at least.")
        channels.append(np.repeat(kept, block.attention.query.weight.shape[0] // heads))
    return channels


def _sliced(
    linear: eqx.nn.Linear, rows: Any = slice(None), columns: Any = slice(None)
) -> eqx.nn.Linear:
    """A linear map with some of its outputs and inputs, which knows its sizes."""
    weight = linear.weight[rows][:, columns]
    bias = None if linear.bias is None else linear.bias[rows]
    outer, inner = weight.shape
    return replace(linear, weight=weight, bias=bias, out_features=outer, in_features=inner)
