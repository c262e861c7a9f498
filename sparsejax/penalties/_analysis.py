"""Norms of a linear transform: total variation on grids and graphs, trend filtering."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._arrays import as_inexact
from .._checks import check_nonnegative, is_nonnegative
from .._first_order import largest_eigenvalue, restarted_momentum, wave
from ..designs import AbstractDesign, as_design
from ._base import AbstractStrengthPenalty
from ._group_norm import known_groups
from ._groups import ratio, segment_norms, segment_sums

_MAX_STEPS = 100_000
_LOOK_EVERY = 5  # steps, whether momentum still points downhill


class Analysis(AbstractStrengthPenalty):
    """strength · ‖D w‖₁ or, with groups g of the rows of D, strength · Σ_g ‖(D w)_g‖₂.

    Parameters
    ----------
    strength
        Scalar ≥ 0.
    operator
        D, (m, p): whatever ``Problem`` takes as X. ``difference_operator``, ``trend_operator`` and
        ``incidence_operator`` make the usual ones.
    groups
        (m,) integer labels 0, …, G − 1 of the rows of D; every row by itself by default.
        ``difference_groups`` makes those of isotropic total variation.

    Raises
    ------
    ValueError
        If ``strength`` is negative or NaN, or not a scalar; if the labels have gaps, are traced
        or are not one a row; if D has another number of columns than there are features.

    Examples
    --------
    >>> import numpy as np, sparsejax as sj
    >>> D = sj.penalties.difference_operator((4,))
    >>> penalty = sj.penalties.Analysis(1.0, D)
    >>> float(penalty.value(np.array([0.0, 1.0, 5.0, 6.0])))
    6.0
    >>> D, pixels = sj.penalties.difference_operator((2, 2)), sj.penalties.difference_groups((2, 2))
    >>> isotropic = sj.penalties.Analysis(1.0, D, pixels)
    >>> float(isotropic.value(np.array([0.0, 3.0, 4.0, 4.0])))
    6.0

    Notes
    -----
    Elad, Milanfar & Rubinstein (2007); Tibshirani & Taylor, The solution path of the generalized
    lasso (2011). The proximal operator has no formula: ``PrimalDual`` never uses it, and ``prox``
    finds it by accelerated projected gradients on its dual, to a relative duality gap of 1e-12
    (float32: 1e-6). g*(c) is zero where c = Dᵀζ for forces ‖ζ_g‖ ≤ strength: certificates need ζ.
    """

    strength: Float[Array, ""]
    operator: AbstractDesign
    groups: Int[Array, " m"] | None
    num_groups: int = eqx.field(static=True)
    largest: int = eqx.field(static=True)

    def __init__(self, strength: Any, operator: Any, groups: Any = None) -> None:
        self.strength = as_inexact(strength, "strength")
        check_nonnegative("strength", self.strength, ndim=0, finite=True)
        self.operator = as_design(operator)
        rows = self.operator.shape[0]
        if groups is None:
            self.groups, self.num_groups, self.largest = None, rows, 1
            return
        self.groups, _, self.num_groups, self.largest = known_groups(groups, None)
        if self.groups.shape != (rows,):
            raise ValueError(
                f"`groups` must have a label for each of the {rows} rows of `operator`; "
                f"got shape {self.groups.shape}."
            )

    def check(self, num_features: int) -> None:
        if self.operator.shape[1] != num_features:
            raise ValueError(
                f"`operator` must have a column for each of the {num_features} features; "
                f"got shape {self.operator.shape}."
            )

    def is_valid(self) -> Bool[Array, ""]:
        return is_nonnegative(self.strength)

    def norms(self, x: Float[Array, " m"]) -> Float[Array, " g"]:
        """‖x_g‖ for every group of rows."""
        return jnp.abs(x) if self.groups is None else segment_norms(x, self.groups, self.num_groups)

    def _sums(self, x: Float[Array, " m"]) -> Float[Array, " g"]:
        return x if self.groups is None else segment_sums(x, self.groups, self.num_groups)

    def spread(self, x: Float[Array, " g"]) -> Float[Array, " m"]:
        """The number of its group for every row."""
        return x if self.groups is None else x[self.groups]

    def value(self, w: Float[Array, " p"]) -> Float[Array, ""]:
        return self.strength * jnp.sum(self.norms(self.operator.matvec(w)))

    def _capped(self, forces: Float[Array, " m"], limit: Float[Array, ""]) -> Float[Array, " m"]:
        if self.groups is None:
            return jnp.clip(forces, -limit, limit)
        norms = self.norms(forces)
        beyond = norms > limit
        return forces * self.spread(jnp.where(beyond, limit / jnp.where(beyond, norms, 1.0), 1.0))

    def nearest_force(self, forces: Float[Array, " m"]) -> Float[Array, " m"]:
        """The forces, none above the strength."""
        return self._capped(forces, self.strength)

    def force_room(
        self, forces: Float[Array, " m"], direction: Float[Array, " m"]
    ) -> Float[Array, " m"]:
        """The direction, shortened along forces near the strength and not across them.

        strength²·I − ζζᵀ for every group: what a step across adds to ‖ζ‖ is of second order.
        """
        unit, slack = self._unit_and_slack(forces)
        along = unit * self.spread(self._sums(unit * direction))
        return self.strength**2 * (direction - along) + slack * along

    def room_diagonal(self, forces: Float[Array, " m"]) -> Float[Array, " m"]:
        """The diagonal of the matrix of ``force_room``."""
        unit, slack = self._unit_and_slack(forces)
        return self.strength**2 * (1 - unit**2) + slack * unit**2

    def _unit_and_slack(self, forces: Array) -> tuple[Array, Array]:
        """The unit vectors along the forces, and strength² − ‖ζ‖², exactly zero at the limit."""
        norms = self.norms(forces)
        unit = forces / self.spread(jnp.where(norms > 0, norms, 1.0))
        slack = jnp.maximum(self.strength - norms, 0.0) * (self.strength + norms)
        return unit, self.spread(slack)

    def force_scale(self, forces: Float[Array, " m"]) -> Float[Array, ""]:
        """The largest factor s ≤ 1 for which s·forces are within their range."""
        return 1.0 / jnp.maximum(1.0, jnp.max(ratio(self.norms(forces), self.strength)))

    def force_gap(self, w: Float[Array, " p"], forces: Float[Array, " m"]) -> Float[Array, ""]:
        """g(w) − ⟨Dw, forces⟩ ≥ 0: the Fenchel–Young gap of w and c = Dᵀ forces."""
        slack = 1 + (16 + self.largest) * jnp.finfo(forces.dtype).eps
        inside = jnp.all(ratio(self.norms(forces), self.strength) <= slack)
        gap = self._work(self.operator.matvec(w), forces, self.strength)
        return jnp.where(inside, gap, jnp.inf)

    def _work(self, change: Array, forces: Array, limit: Array) -> Float[Array, ""]:
        """What the forces fall short of in work, limit·Σ_g ‖change_g‖ − ⟨change, forces⟩."""
        return jnp.sum(limit * self.norms(change) - self._sums(forces * change))

    def force_distance(self, w: Float[Array, " p"], forces: Float[Array, " m"]) -> Float[Array, ""]:
        """How far the forces move in a projected step along D w: zero only at a solution.

        The step is as long as the largest jump needs to reach from no force to the strength. Jumps
        below √ε of ‖w‖ times D are rounding and make no such step, or no solution were flat.
        """
        change = self.operator.matvec(w)
        columns = self.operator.square_norms(jnp.ones_like(change))
        flat = jnp.sqrt(jnp.finfo(w.dtype).eps * jnp.max(columns)) * jnp.linalg.norm(w)
        largest = jnp.maximum(jnp.max(self.norms(change)), flat)
        step = self.strength * change / jnp.where(largest > 0, largest, 1.0)
        return jnp.max(jnp.abs(forces - self.nearest_force(forces + step)))

    def prox(self, v: Float[Array, " p"], step: Any) -> Float[Array, " p"]:
        tol = 1e-12 if v.dtype == jnp.float64 else 1e-6
        forces, _ = self.forces_at(v, step, tol * jnp.sum(v**2), _MAX_STEPS)
        return v - self.operator.rmatvec(forces)

    def forces_at(
        self,
        v: Float[Array, " p"],
        step: Any,
        goal: Float[Array, ""],
        max_steps: Any,
        check_every: int = 10,
    ) -> tuple[Float[Array, " m"], Int[Array, ""]]:
        """The forces a of prox(v, step) = v − Dᵀa, to a duality gap, and the steps they took."""
        limit = jnp.asarray(step * self.strength, v.dtype)
        D, zeros = self.operator, jnp.zeros(self.operator.shape[0], v.dtype)
        # Without barriers XLA fuses all into one loop over differences of differences, which takes
        # twice as long; so does a loop of single steps, for the copies between them.
        kept = jax.lax.optimization_barrier

        def unfinished(state: tuple) -> Bool[Array, ""]:
            forces, _, _, steps = state
            change = D.matvec(kept(v - D.rmatvec(forces)))
            return (self._work(change, forces, limit) > goal) & (steps < max_steps)

        def improve(state: tuple, size: Float[Array, ""]) -> tuple:
            forces, ahead, momentum, steps = state
            uphill = jnp.array(False)
            for step in range(_LOOK_EVERY):
                before = forces
                forces = ahead + size * D.matvec(kept(v - D.rmatvec(ahead)))
                forces = kept(self._capped(forces, limit))
                if step == _LOOK_EVERY - 1:
                    uphill = jnp.vdot(ahead - forces, forces - before) > 0
                weight, momentum = restarted_momentum(momentum, uphill)
                ahead = forces + weight * (forces - before)
            return forces, ahead, momentum, steps + _LOOK_EVERY

        def run(state: tuple) -> tuple:
            start = wave(zeros.shape, zeros.dtype)
            size = 1 / (1.05 * largest_eigenvalue(lambda x: D.matvec(kept(D.rmatvec(x))), start))
            count = -(-check_every // _LOOK_EVERY)
            several = lambda s: jax.lax.fori_loop(0, count, lambda _, s: improve(s, size), s)  # noqa: E731
            return jax.lax.while_loop(unfinished, several, state)

        first = (zeros, zeros, jnp.ones((), v.dtype), jnp.array(0))
        forces, _, _, steps = jax.lax.cond(unfinished(first), run, lambda state: state, first)
        return forces, steps

    def support(self, w: Float[Array, " p"]) -> Bool[Array, " p"]:
        """The nonzero entries; the structure of w is in D w."""
        return w != 0

    def subdiff_distance(
        self, w: Float[Array, " p"], grad: Float[Array, " p"]
    ) -> Float[Array, " p"]:
        """Not available from the gradient alone: which forces cause it is a problem of its own."""
        raise TypeError(_NEEDS_FORCES)

    def dual_scale(self, c: Float[Array, " p"]) -> Float[Array, ""]:
        """Not available, as ``subdiff_distance``."""
        raise TypeError(_NEEDS_FORCES)

    def fenchel_gap(self, w: Float[Array, " p"], c: Float[Array, " p"]) -> Float[Array, ""]:
        """Not available, as ``subdiff_distance``."""
        raise TypeError(_NEEDS_FORCES)

    def strength_max(self, c: Float[Array, " p"]) -> Float[Array, ""]:
        """Not available, as ``subdiff_distance``."""
        raise TypeError(_NEEDS_FORCES)


_NEEDS_FORCES = (
    "Analysis cannot be judged by the coefficients alone: solve the problem and look at the gap "
    "and the violation of the solution, which come from the solver's dual variable."
)
