"""Samples beside the mean of those after them: what Cox's likelihood sees of its predictions."""

from typing import Self

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

# The logarithm of nothing. Finite, because sums of exp(−∞) have NaN for a derivative.
NOTHING = -1e30


class Contrasts(eqx.Module):
    """K: v ↦ v_j − Σ_{i>j} a_i v_i / Σ_{i>j} a_i, of the samples in an order.

    The variance of v over each of the sets {j, j + 1, …}, with weights a, is a sum of squares of
    these (as in Helmert's transformation), so that what is a sum of such variances is KᵀHK for a
    diagonal H: with the rows of √H·K for pivots, elimination telescopes. Of samples in a block,
    which share a part of their variances, j sees the a_i of the others times that part.

    Weights may differ by more than a number can hold, and so only their ratios are kept.
    """

    order: Int[Array, " n"]
    share: Float[Array, " n"]  # a_j / Σ_{i≥j} a_i
    nearby: Float[Array, " n"]  # of the mean that j sees, what is not of those after the block
    remaining: Float[Array, " n"]  # what j sees without itself, over that with itself
    first: Int[Array, " n"]  # of the block; outside of blocks the sample itself
    last: Int[Array, " n"]
    from_before: Float[Array, " n"]  # what j has of a gradient before the block ...
    from_block: Float[Array, " n"]  # ... and of that in the block before j

    @classmethod
    def of(
        cls,
        order: Int[Array, " n"],
        log_rate: Float[Array, " n"],
        log_total: Float[Array, " n"],
        part: Float[Array, " n"],
        first: Int[Array, " n"],
        last: Int[Array, " n"],
    ) -> Self:
        """From log a, log Σ_{i≥j} a_i and the parts (one outside of blocks), in the order."""
        after = jnp.append(log_total[1:], NOTHING)
        log_part, log_rest = jnp.log(part), log(1 - part) + after[last]
        seen = jnp.logaddexp(log_part + after, log_rest)
        seen_with = jnp.logaddexp(log_part + log_total, log_rest)
        return cls(
            order,
            _ratio(log_rate, log_total),
            _ratio(log_part + after, seen),
            _ratio(seen, seen_with),
            first,
            last,
            _ratio(log_rate, log_total[first]) * jnp.exp(seen_with[first] - seen_with),
            _ratio(log_part + log_rate, seen_with),
        )

    def matvec(self, v: Float[Array, "... n"]) -> Float[Array, "... n"]:
        """K v, for each row."""
        v = v[..., self.order]
        means = decayed(1 - self.share, self.share * v, reverse=True)
        means = jnp.concatenate([means[..., 1:], jnp.zeros_like(means[..., :1])], axis=-1)
        return v - self.nearby * means - (1 - self.nearby) * means[..., self.last]

    def rmatvec(self, r: Float[Array, " n"]) -> Float[Array, " n"]:
        """Kᵀ r."""
        each = (self.nearby * r).at[self.last].add((1 - self.nearby) * r)
        sums = decayed(1 - self.share, each, reverse=False)
        seen = r - self.share * jnp.append(jnp.zeros_like(r[:1]), sums[:-1])
        return jnp.zeros_like(r).at[self.order].set(seen)

    def solve_transposed(self, g: Float[Array, " n"]) -> Float[Array, " n"]:
        """The r with Kᵀ r = g, for a g that sums to zero: the gradient of what sees Kz of z."""
        g = g[self.order]
        before = jnp.append(jnp.zeros_like(g[:1]), jax.lax.cumsum(g[:-1]))
        at_first = before[self.first]
        return g + self.from_before * at_first + self.from_block * (before - at_first)


def decayed(
    factors: Float[Array, "*rows n"], x: Float[Array, "... n"], *, reverse: bool
) -> Float[Array, "... n"]:
    """The y with y_j = factors_j·y_{j−1} + x_j (in reverse, y_{j+1}), for each row."""

    def both(early: tuple[Array, Array], late: tuple[Array, Array]) -> tuple[Array, Array]:
        return early[0] * late[0], late[0] * early[1] + late[1]

    factors = factors.reshape((1,) * (x.ndim - factors.ndim) + factors.shape)
    return jax.lax.associative_scan(both, (factors, x), reverse=reverse, axis=x.ndim - 1)[1]


def log(x: Float[Array, " n"]) -> Float[Array, " n"]:
    """The logarithm, with a derivative that is finite at zero too."""
    return jnp.where(x > 0, jnp.log(jnp.where(x > 0, x, 1.0)), NOTHING)


def _ratio(log_x: Float[Array, " n"], log_of: Float[Array, " n"]) -> Float[Array, " n"]:
    """Of a part to the whole; nothing is no part, of nothing either."""
    return jnp.where(log_x > NOTHING, jnp.exp(jnp.minimum(log_x - log_of, 0.0)), 0.0)
