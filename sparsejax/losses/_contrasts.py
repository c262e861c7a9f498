"""Samples beside the mean of those after them: what Cox's likelihood sees of its predictions."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class Contrasts(eqx.Module):
    """K: v ↦ v_j − Σ_{i>j} a_i v_i / Σ_{i>j} a_i, of the samples in an order.

    The variance of v over each of the sets {j, j + 1, …}, with weights a, is a sum of squares of
    these (as in Helmert's transformation), so that what is a sum of such variances is KᵀHK for a
    diagonal H: with the rows of √H·K for pivots, elimination telescopes. Of samples in a block,
    which share a part of their variances, j sees the a_i of the others times its ``part``.
    """

    order: Int[Array, " n"]
    rates: Float[Array, " n"]  # a, in the order; its scale does not matter
    part: Float[Array, " n"]  # one outside of blocks
    first: Int[Array, " n"]  # of the block; outside of blocks the sample itself
    last: Int[Array, " n"]

    def _later(self, sums: Float[Array, "... n"]) -> Float[Array, "... n"]:
        """Of sums over what comes after, in the order: as each sample sees them."""
        return self.part * sums + (1 - self.part) * sums[..., self.last]

    @property
    def _totals(self) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
        """The weights of what each sample sees after it, and with itself."""
        after = self._later(_after(self.rates))
        return after, after + self.part * self.rates

    @property
    def remaining(self) -> Float[Array, " n"]:
        """Σ_{i>j} a_i / Σ_{i≥j} a_i."""
        after, total = self._totals
        return _divide(after, total)

    def matvec(self, v: Float[Array, "... n"]) -> Float[Array, "... n"]:
        """K v, for each row."""
        v = v[..., self.order]
        return v - _divide(self._later(_after(self.rates * v)), self._totals[0])

    def rmatvec(self, r: Float[Array, " n"]) -> Float[Array, " n"]:
        """Kᵀ r."""
        each = _divide(r, self._totals[0])
        each = (self.part * each).at[self.last].add((1 - self.part) * each)
        return jnp.zeros_like(r).at[self.order].set(r - self.rates * _before(each))

    def solve_transposed(self, g: Float[Array, " n"]) -> Float[Array, " n"]:
        """The r with Kᵀ r = g, for a g that sums to zero: the gradient of what sees Kz of z."""
        g = g[self.order]
        total, before = self._totals[1], _before(g)
        at_first = before[self.first]
        everything = (_after(self.rates) + self.rates)[self.first]
        at_first_seen = _divide(at_first * total[self.first], everything)
        return g + self.rates * _divide(at_first_seen + self.part * (before - at_first), total)


def _after(x: Float[Array, "... n"]) -> Float[Array, "... n"]:
    """Σ_{i>j} x_i, without cancellation."""
    sums = jax.lax.cumsum(x, axis=x.ndim - 1, reverse=True)
    return jnp.concatenate([sums[..., 1:], jnp.zeros_like(sums[..., :1])], axis=-1)


def _before(x: Float[Array, " n"]) -> Float[Array, " n"]:
    """Σ_{j<i} x_j."""
    return jnp.append(0.0, jax.lax.cumsum(x[:-1])).astype(x.dtype)


def _divide(x: Float[Array, "... n"], by: Float[Array, " n"]) -> Float[Array, "... n"]:
    """Zero where there is nothing to divide by."""
    return jnp.where(by > 0, x / jnp.where(by > 0, by, 1.0), 0.0)
