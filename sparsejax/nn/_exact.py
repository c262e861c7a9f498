"""Exact counts: how many weights are dropped, and which."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

_PAIRWISE = 16  # up to here all pairs are compared, which is faster than sorting many short rows


def num_dropped(sparsity: float, size: int) -> int:
    """⌊sparsity · size⌋, but for the rounding of the product."""
    return math.floor(sparsity * size + 1e-6)


def num_dropped_now(
    sparsity: float, size: int, limit: Float[Array, ""] | float | None
) -> Int[Array, ""] | int:
    """The same at the smaller of the sparsity and a limit that may be traced."""
    if limit is None:
        return num_dropped(sparsity, size)
    limit = jnp.clip(as_part(limit), 0.0, 1.0)
    # Where the limit is no limit, the count is exact even if single precision cannot tell it.
    return jnp.where(limit >= sparsity, num_dropped(sparsity, size), part_of(limit, size))


def part_of(part: Float[Array, ""], size: Int[Array, ""] | int) -> Int[Array, ""]:
    """⌊part · size⌋ of a number that may be traced, but for the rounding of the product."""
    return jnp.floor(part * size * (1 + 4 * jnp.finfo(part.dtype).eps)).astype(int)


def as_part(x: Float[Array, ""] | float) -> Float[Array, ""]:
    """A number in single precision at least."""
    x = jnp.asarray(x)
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def kept(scores: Float[Array, "groups units"], dropped: Any) -> Bool[Array, "groups units"]:
    """All but the ``dropped`` units of lowest score in each row; of equal ones, the first go.

    NaN counts as the highest score: what is broken stays to be seen.
    """
    scores = jnp.where(jnp.isnan(scores), jnp.inf, scores)
    if scores.shape[1] <= _PAIRWISE:
        return _rank(scores) >= dropped
    ordered = jnp.sort(scores, axis=1)
    last = jnp.clip(jnp.asarray(dropped) - 1, 0)
    threshold = jax.lax.dynamic_slice_in_dim(ordered, last, 1, axis=1)
    below, equal = scores < threshold, scores == threshold
    missing = dropped - jnp.sum(below, axis=1, keepdims=True)
    gone = below | (equal & (jnp.cumsum(equal, axis=1) <= missing))
    return ~gone | (jnp.asarray(dropped) == 0)


def _rank(scores: Float[Array, "groups units"]) -> Int[Array, "groups units"]:
    """How many units of the row come before each, from the lowest."""
    one, other = scores[:, :, None], scores[:, None, :]
    index = jnp.arange(scores.shape[1])
    first = (other < one) | ((other == one) & (index[None, :] < index[:, None]))
    return jnp.sum(first, axis=2)
