"""Projection on simplices, many at once: what ℓ∞ norms and the simplex share."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from ._groups import segment_sums


@partial(jax.jit, static_argnames="num_groups")
def simplex_threshold(
    x: Float[Array, " p"], radius: Float[Array, " g"], groups: Int[Array, " p"], num_groups: int
) -> tuple[Float[Array, " g"], Bool[Array, " p"]]:
    """θ with Σ_{j∈g} (x_j − θ_g)₊ = radius_g for every group, and which entries exceed it.

    Entries of −∞ take no part. The derivative is that of the closed form on the entries found,
    so no sort is differentiated.
    """
    x_fixed, radius_fixed = lax.stop_gradient((x, radius))
    active = _exceeding(x_fixed, radius_fixed, groups, num_groups)
    count = segment_sums(active.astype(x.dtype), groups, num_groups)
    total = segment_sums(jnp.where(active, x, 0.0), groups, num_groups)
    return (total - radius) / jnp.maximum(count, 1), active


def _exceeding(
    x: Float[Array, " p"], radius: Float[Array, " g"], groups: Int[Array, " p"], num_groups: int
) -> Bool[Array, " p"]:
    """The k largest of each group for the largest k with k·x_(k) ≥ x_(1) + … + x_(k) − radius."""
    order = jnp.lexsort((-x, groups))
    labels, largest = groups[order], x[order]
    first = jnp.concatenate([jnp.ones(1, bool), labels[1:] != labels[:-1]])
    total = segmented_cumsum(jnp.where(jnp.isinf(largest), 0.0, largest), first)
    rank = segmented_cumsum(jnp.ones_like(x), first)
    # The largest entry always counts; for radius zero rounding must not say otherwise.
    exceeds = first & ~jnp.isinf(largest) | (rank * largest >= total - radius[labels])
    return jnp.zeros(x.shape, bool).at[order].set(exceeds)


@jax.jit
def segmented_cumsum(x: Float[Array, " p"], first: Bool[Array, " p"]) -> Float[Array, " p"]:
    """Cumulative sums that begin anew at every True of ``first``.

    Differences of one cumulative sum would do too, but lose the digits of small segments that
    come after large ones.
    """

    def combine(left: tuple[Array, Array], right: tuple[Array, Array]) -> tuple[Array, Array]:
        return left[0] | right[0], jnp.where(right[0], right[1], left[1] + right[1])

    return jax.lax.associative_scan(combine, (first, x))[1]
