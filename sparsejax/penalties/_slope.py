"""The sorted ℓ1 norm."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from .._arrays import inexact
from .._checks import check_length, check_nonnegative, is_concrete, values_of
from ._base import AbstractPenalty
from ._groups import ratio, segment_means
from ._thresholds import segmented_cumsum


class SLOPE(AbstractPenalty):
    """Σ_i strengths_i |w|_(i), where |w|_(1) ≥ |w|_(2) ≥ … are the sorted magnitudes.

    Parameters
    ----------
    strengths
        (p,) numbers ≥ 0 that do not increase: the largest coefficient pays most.

    Raises
    ------
    ValueError
        If a strength is negative, NaN or infinite, or they increase somewhere.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> penalty = sj.penalties.SLOPE([2.0, 1.0, 0.5])
    >>> penalty.prox(jnp.array([0.25, -4.0, 3.5]), 1.0).tolist()
    [0.0, -2.25, 2.25]

    Notes
    -----
    Bogdan et al. (2015), also OWL (Figueiredo & Nowak, 2016). The proximal operator is isotonic
    regression of the sorted magnitudes less the strengths, by pooling adjacent violators.
    """

    strengths: Float[Array, " p"] = eqx.field(converter=inexact("strengths"))

    def __check_init__(self) -> None:
        check_nonnegative("strengths", self.strengths, ndim=1, finite=True)
        if is_concrete(self.strengths) and np.any(np.diff(values_of(self.strengths)) > 0):
            raise ValueError("`strengths` must not increase; sort them in decreasing order.")

    def check(self, num_features: int) -> None:
        check_length("strengths", self.strengths, num_features)

    def is_valid(self) -> Bool[Array, ""]:
        return jnp.all(self.strengths >= 0) & jnp.all(jnp.diff(self.strengths) <= 0)

    def value(self, w: Float[Array, " p"]) -> Float[Array, ""]:
        return jnp.sum(self.strengths * -jnp.sort(-jnp.abs(w)))

    def prox(self, v: Float[Array, " p"], step: Any) -> Float[Array, " p"]:
        order = jnp.argsort(-jnp.abs(v))
        shrunk = jnp.abs(v)[order] - step * self.strengths
        level = segment_means(shrunk, _pools(lax.stop_gradient(shrunk)), v.size)
        # Pools of equal level up to rounding must not come out in the wrong order.
        level = level + lax.stop_gradient(lax.cummin(level) - level)
        sizes = jnp.zeros_like(v).at[order].set(jnp.where(level > 0, level, 0.0))
        return jnp.sign(v) * sizes

    def subdiff_distance(
        self, w: Float[Array, " p"], grad: Float[Array, " p"]
    ) -> Float[Array, " p"]:
        """Excess of the largest pulls over the largest strengths, among coefficients of one size.

        −grad is a subgradient where, in every cluster of equal nonzero magnitude, no partial sum
        of the sorted pulls exceeds that of the strengths of those ranks, and the sums of all are
        equal; at zero the last condition falls away.
        """
        size = jnp.abs(w)
        pull = jnp.where(w == 0, jnp.abs(grad), -grad * jnp.sign(w))
        order = jnp.lexsort((-pull, -size))
        new = jnp.diff(size[order]) != 0
        first, last = jnp.append(True, new), jnp.append(new, True)
        excess = segmented_cumsum(pull[order] - self.strengths, first)
        tied = last & (size[order] > 0)
        distance = jnp.where(tied, jnp.abs(excess), jnp.maximum(excess, 0.0))
        return jnp.zeros_like(distance).at[order].set(distance)

    def support(self, w: Float[Array, " p"]) -> Bool[Array, " p"]:
        """The nonzero entries, whether or not their magnitudes are tied."""
        return w != 0

    def _strain(self, c: Float[Array, " p"]) -> Float[Array, ""]:
        """The dual norm of c: largest ratio of sums of the k largest entries."""
        sums = jnp.cumsum(-jnp.sort(-jnp.abs(c)))
        return jnp.max(ratio(sums, jnp.cumsum(self.strengths)))

    def dual_scale(self, c: Float[Array, " p"]) -> Float[Array, ""]:
        return 1.0 / jnp.maximum(1.0, self._strain(c))

    def fenchel_gap(self, w: Float[Array, " p"], c: Float[Array, " p"]) -> Float[Array, ""]:
        # Summed by parts: drops from one magnitude to the next times the slack of the partial sum.
        order = jnp.argsort(-jnp.abs(w))
        slack = jnp.cumsum(self.strengths - (c * jnp.sign(w))[order])
        drops = -jnp.diff(jnp.abs(w)[order], append=0.0)
        inside = self._strain(c) <= 1 + (4 + c.size) * jnp.finfo(c.dtype).eps
        return jnp.where(inside, jnp.sum(drops * slack), jnp.inf)


class _Stack(NamedTuple):
    """Pools so far, each a row of sum and size; the two upper ones are at hand."""

    entry: Int[Array, ""]  # the next to push
    at: Int[Array, ""]
    top: Float[Array, " 2"]
    below: Float[Array, " 2"]
    rows: Float[Array, "p 2"]


@jax.jit
def _pools(z: Float[Array, " p"]) -> Int[Array, " p"]:
    """Labels 0, 1, … of the pools of the closest nonincreasing sequence to z.

    Each step pushes an entry on the stack or, where the top pool lies above the one below it,
    merges the two; it reads after it has written, so that the write is in place. Equal pools stay
    apart, so that the derivative is that of strictly ordered entries.
    """
    p = z.size

    def violated(stack: _Stack) -> Bool[Array, ""]:
        return (stack.at > 0) & (stack.below[0] * stack.top[1] < stack.top[0] * stack.below[1])

    def step(stack: _Stack) -> _Stack:
        merges = violated(stack)
        at = jnp.where(merges, stack.at - 1, stack.at + 1)
        pushed = jnp.stack([z[jnp.minimum(stack.entry, p - 1)], jnp.ones_like(z[0])])
        top = jnp.where(merges, stack.below + stack.top, pushed)
        rows = lax.dynamic_update_slice(stack.rows, top[None], (at, jnp.zeros_like(at)))
        below = lax.dynamic_index_in_dim(rows, jnp.maximum(at - 1, 0), keepdims=False)
        return _Stack(stack.entry + ~merges, at, top, below, rows)

    pair = jnp.zeros(2, z.dtype)
    start = _Stack(jnp.asarray(0), jnp.asarray(-1), pair, pair, jnp.zeros((p, 2), z.dtype))
    stack = lax.while_loop(lambda stack: (stack.entry < p) | violated(stack), step, start)
    ends = jnp.cumsum(jnp.where(jnp.arange(p) <= stack.at, stack.rows[:, 1], 0.0))
    return jnp.searchsorted(ends, jnp.arange(p, dtype=z.dtype), side="right")
