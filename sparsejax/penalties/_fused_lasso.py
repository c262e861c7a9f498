"""Total variation along a chain, and an ℓ1 norm."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from .._arrays import inexact
from .._checks import check_interval, check_nonnegative, is_nonnegative
from ._base import AbstractStrengthPenalty
from ._groups import ratio
from ._l1 import L1
from ._total_variation import TotalVariation


class FusedLasso(AbstractStrengthPenalty):
    """strength · (l1_ratio·‖w‖₁ + (1 − l1_ratio)·Σ_i |w_{i+1} − w_i|).

    Parameters
    ----------
    strength
        Scalar ≥ 0.
    l1_ratio
        Scalar in [0, 1]; 1 is the Lasso. Prefer :class:`TotalVariation` to 0: it knows that
        constants are free.

    Raises
    ------
    ValueError
        If ``strength`` is negative or NaN, or ``l1_ratio`` outside [0, 1].

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> penalty = sj.penalties.FusedLasso(2.0, 0.5)
    >>> penalty.prox(jnp.array([0.0, 1.0, 5.0, 6.0]), 1.0).tolist()
    [0.0, 0.0, 4.0, 4.0]

    Notes
    -----
    Tibshirani et al. (2005). The proximal operator is the soft threshold of that of total
    variation (Friedman et al., 2007). A dual point splits into forces on coefficients and across
    jumps, c_j = a_j + z_{j−1} − z_j; which z_j can be reached is an interval.
    """

    strength: Float[Array, ""] = eqx.field(converter=inexact("strength"))
    l1_ratio: Float[Array, ""] = eqx.field(converter=inexact("l1_ratio"))

    def __check_init__(self) -> None:
        check_nonnegative("strength", self.strength, ndim=0, finite=True)
        check_interval("l1_ratio", self.l1_ratio, 0.0, 1.0)

    def check(self, num_features: int) -> None:
        del num_features  # nothing here has one entry a feature

    def is_valid(self) -> Bool[Array, ""]:
        inside = (self.l1_ratio >= 0) & (self.l1_ratio <= 1)
        return is_nonnegative(self.strength) & inside

    @property
    def _l1(self) -> L1:
        return L1(self.strength * self.l1_ratio)

    @property
    def _variation(self) -> TotalVariation:
        return TotalVariation(self.strength * (1 - self.l1_ratio))

    def value(self, w: Float[Array, " p"]) -> Float[Array, ""]:
        return self._l1.value(w) + self._variation.value(w)

    def prox(self, v: Float[Array, " p"], step: Any) -> Float[Array, " p"]:
        return self._l1.prox(self._variation.prox(v, step), step)

    def subdiff_distance(
        self, w: Float[Array, " p"], grad: Float[Array, " p"]
    ) -> Float[Array, " p"]:
        """How far the force across the i-th jump stays from where it may be, for the best split."""
        jumps = jnp.diff(w)
        on_entries = _allowed(w, self._l1.strength)
        zero = jnp.zeros(1, w.dtype)
        across = (jnp.append(side, zero) for side in _allowed(jumps, self._variation.strength))
        _, _, distance = _reach(-grad, on_entries, tuple(across))
        return distance

    def support(self, w: Float[Array, " p"]) -> Bool[Array, " p"]:
        """The nonzero entries, fused or not."""
        return w != 0

    def dual_scale(self, c: Float[Array, " p"]) -> Float[Array, ""]:
        return 1.0 / jnp.maximum(1.0, self._dual_norm(c))

    def _dual_norm(self, c: Float[Array, " p"]) -> Float[Array, ""]:
        return _strain(c, self._l1.strength, self._variation.strength)

    def fenchel_gap(self, w: Float[Array, " p"], c: Float[Array, " p"]) -> Float[Array, ""]:
        slope, jump_slope = self._l1.strength, self._variation.strength
        inside = self._dual_norm(c) <= 1 + (4 + c.size) * jnp.finfo(c.dtype).eps
        entry_forces, jump_forces = _split(c, slope, jump_slope)
        jumps = jnp.diff(w)
        entries = jnp.sum(slope * jnp.abs(w) - entry_forces * w)
        differences = jnp.sum(jump_slope * jnp.abs(jumps) - jump_forces * jumps)
        return jnp.where(inside, entries + differences, jnp.inf)

    def strength_max(self, c: Float[Array, " p"]) -> Float[Array, ""]:
        """Infinite for ``l1_ratio`` zero, unless c sums to zero: constants are never penalised."""
        return _strain(c, self.l1_ratio, 1 - self.l1_ratio)


def _allowed(
    x: Float[Array, " q"], slope: Float[Array, ""]
) -> tuple[Float[Array, " q"], Float[Array, " q"]]:
    """Ends of the subdifferential of slope·|·| at every entry of x."""
    return (
        jnp.where(x > 0, slope, -slope).astype(x.dtype),
        jnp.where(x < 0, -slope, slope).astype(x.dtype),
    )


@jax.jit
def _reach(c: Array, on_entries: tuple, across: tuple) -> tuple[Array, Array, Array]:
    """Ends of the forces z_j ∈ across_j that some a ∈ on_entries can cause, and what is missing.

    z_j = z_{j−1} − c_j + a_j. Where no force is reached, the nearest allowed one stands in.
    """

    def step(interval: tuple[Array, Array], terms: tuple) -> tuple:
        pull, (low_entry, high_entry), (low_jump, high_jump) = terms
        low, high = interval[0] - pull + low_entry, interval[1] - pull + high_entry
        missing = jnp.maximum(jnp.maximum(low_jump - high, low - high_jump), 0.0)
        ends = jnp.clip(low, low_jump, high_jump), jnp.clip(high, low_jump, high_jump)
        return ends, (*ends, missing)

    zero = jnp.zeros((), c.dtype)
    return lax.scan(step, (zero, zero), (c, on_entries, across))[1]


@jax.jit
def _split(
    c: Float[Array, " p"], slope: Float[Array, ""], jump_slope: Float[Array, ""]
) -> tuple[Float[Array, " p"], Float[Array, " q"]]:
    """Forces a on the entries and z across the jumps with c_j = a_j + z_{j−1} − z_j."""
    zeros = jnp.zeros_like(c)
    low, high, _ = _reach(c, _allowed(zeros, slope), _allowed(zeros, jump_slope))

    def step(after: Array, terms: tuple) -> tuple[Array, Array]:
        pull, low_end, high_end = terms
        force = jnp.clip(after + pull, low_end, high_end)
        return force, force

    zero = jnp.zeros((), c.dtype)
    _, forces = lax.scan(step, zero, (c[1:], low[:-1], high[:-1]), reverse=True)
    entries = jnp.clip(c + jnp.diff(forces, prepend=0, append=0), -slope, slope)
    return entries, forces


@jax.jit
def _strain(
    c: Float[Array, " p"], slope: Float[Array, ""], jump_slope: Float[Array, ""]
) -> Float[Array, ""]:
    """The dual norm: the largest |Σ_{i≤j<k} c_j| over the penalty of that interval's indicator.

    Indicators of intervals are the extreme points of the unit ball (a vector is a sum of its level
    sets). Dinkelbach's method finds the largest ratio: from one ratio, the interval that exceeds
    it most gives the next.
    """
    p = c.size
    position = jnp.arange(p + 1, dtype=c.dtype)
    # Beginning at 0 and ending at p cuts nothing.
    begin_cost = jnp.where(position > 0, jump_slope, 0.0) - slope * position
    end_cost = jnp.where(position < p, jump_slope, 0.0) + slope * position
    sums = jnp.append(jnp.zeros(1, c.dtype), jnp.cumsum(c))

    def ratio_of_best(strain: Array, sums: Array) -> Array:
        lowest = lax.cummin(sums + strain * begin_cost)[:-1]
        end = jnp.argmax((sums - strain * end_cost)[1:] - lowest) + 1
        begin = jnp.argmin(jnp.where(position < end, sums + strain * begin_cost, jnp.inf))
        total = jnp.maximum(sums[end] - sums[begin], 0.0)
        return ratio(total, begin_cost[begin] + end_cost[end])

    def improve(state: tuple[Array, Array]) -> tuple[Array, Array]:
        strain = state[1]
        return strain, jnp.maximum(ratio_of_best(strain, sums), ratio_of_best(strain, -sums))

    start = jnp.zeros((), c.dtype)
    unfinished = lambda state: (state[1] > state[0]) & jnp.isfinite(state[1])  # noqa: E731
    last, strain = lax.while_loop(unfinished, improve, improve((start, start)))
    return jnp.maximum(last, strain)
