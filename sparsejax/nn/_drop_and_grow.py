"""Dynamic sparse training: masks that move while their size stays."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ._exact import as_part, kept, part_of
from ._leaves import aligned, is_weight, named_leaves, replace_leaves
from ._masks import checked_masks


def drop_and_grow(model: Any, masks: Any, growth: Any, fraction: Float[Array, ""] | float) -> Any:
    """Exchange a part of the kept weights, the smallest, for dropped ones of largest growth score.

    With ``random_scores`` as growth this is SET, with the magnitude of the dense gradient RigL.

    Parameters
    ----------
    model
        Its weights say which are the smallest.
    masks
        Of the model's shape.
    growth
        Of the model's shape: scores of the dropped weights, of which the largest come back.
    fraction
        Of the kept weights of every leaf, in [0, 1]; may be traced, such as a decaying schedule's.

    Returns
    -------
    masks
        Every one keeps as many weights as before. What has come back starts at zero: the model is
        ``apply_masks(apply_masks(model, masks), new_masks)``.

    Raises
    ------
    ValueError
        If shapes do not fit; the message names the leaf.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> model, masks = jnp.array([[3.0, 0.1, 0.0, 0.0]]), jnp.array([[True, True, False, False]])
    >>> sj.nn.drop_and_grow(model, masks, jnp.array([[0.0, 9.0, 1.0, 2.0]]), 0.5).tolist()
    [[True, False, False, True]]

    Notes
    -----
    Mocanu et al. (Nature Communications, 2018) for SET; Evci et al., Rigging the lottery (ICML
    2020) for RigL. Weights dropped here do not come back in the same exchange.
    """
    found, leaves = checked_masks(model, masks), named_leaves(model)
    scores = aligned(growth, leaves, "growth")
    for name, mask in found.items():
        if mask is not None and (not is_weight(scores[name]) or scores[name].shape != mask.shape):
            raise ValueError(f"`growth` has no scores of shape {mask.shape} at {name!r}.")
    new = {
        name: None if mask is None else _exchange(leaves[name], mask, scores[name], fraction)
        for name, mask in found.items()
    }
    return replace_leaves(model, new)


@jax.jit
def _exchange(
    weight: Float[Array, "..."],
    mask: Bool[Array, "..."],
    growth: Float[Array, "..."],
    fraction: Float[Array, ""] | float,
) -> Bool[Array, "..."]:
    count = jnp.sum(mask)
    # As many leave as can be replaced.
    leaving = jnp.minimum(part_of(as_part(fraction), count), mask.size - count)
    worth = jnp.where(mask, jnp.abs(weight), -jnp.inf)
    stays = kept(worth.reshape(1, -1), mask.size - count + leaving).reshape(mask.shape)
    score = jnp.where(mask, -jnp.inf, growth)
    comes = kept(score.reshape(1, -1), mask.size - leaving).reshape(mask.shape)
    return stays | (comes & (leaving > 0))
