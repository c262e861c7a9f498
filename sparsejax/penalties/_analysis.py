"""The ℓ1 norm of a linear transform: total variation on grids and graphs, trend filtering."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._arrays import inexact
from .._checks import check_nonnegative, is_nonnegative
from .._first_order import largest_eigenvalue, restarted_momentum, wave
from ..designs import AbstractDesign, as_design
from ._base import AbstractStrengthPenalty
from ._groups import ratio

_MAX_STEPS = 100_000


class Analysis(AbstractStrengthPenalty):
    """strength · ‖D w‖₁.

    Parameters
    ----------
    strength
        Scalar ≥ 0.
    operator
        D, (m, p): whatever ``Problem`` takes as X. ``difference_operator``, ``trend_operator`` and
        ``incidence_operator`` make the usual ones.

    Raises
    ------
    ValueError
        If ``strength`` is negative or NaN, or not a scalar; if D has another number of columns
        than there are features.

    Examples
    --------
    >>> import numpy as np, sparsejax as sj
    >>> D = sj.penalties.difference_operator((4,))
    >>> penalty = sj.penalties.Analysis(1.0, D)
    >>> float(penalty.value(np.array([0.0, 1.0, 5.0, 6.0])))
    6.0

    Notes
    -----
    Elad, Milanfar & Rubinstein (2007); Tibshirani & Taylor, The solution path of the generalized
    lasso (2011). The proximal operator has no formula: ``PrimalDual`` never uses it, and ``prox``
    finds it by accelerated projected gradients on its dual, to a relative duality gap of 1e-12
    (float32: 1e-6). g*(c) is zero where c = Dᵀζ for forces |ζ| ≤ strength: certificates need ζ.
    """

    strength: Float[Array, ""] = eqx.field(converter=inexact("strength"))
    operator: AbstractDesign = eqx.field(converter=as_design)

    def __check_init__(self) -> None:
        check_nonnegative("strength", self.strength, ndim=0, finite=True)

    def check(self, num_features: int) -> None:
        if self.operator.shape[1] != num_features:
            raise ValueError(
                f"`operator` must have a column for each of the {num_features} features; "
                f"got shape {self.operator.shape}."
            )

    def is_valid(self) -> Bool[Array, ""]:
        return is_nonnegative(self.strength)

    def value(self, w: Float[Array, " p"]) -> Float[Array, ""]:
        return self.strength * jnp.sum(jnp.abs(self.operator.matvec(w)))

    def nearest_force(self, forces: Float[Array, " m"]) -> Float[Array, " m"]:
        """The forces, none above the strength."""
        return jnp.clip(forces, -self.strength, self.strength)

    def force_room(self, forces: Float[Array, " m"]) -> Float[Array, " m"]:
        """How freely each force may be corrected: zero at the ends of its range."""
        return self.strength * jnp.maximum(self.strength - jnp.abs(forces), 0.0)

    def force_scale(self, forces: Float[Array, " m"]) -> Float[Array, ""]:
        """The largest factor s ≤ 1 for which s·forces are within their range."""
        return 1.0 / jnp.maximum(1.0, ratio(jnp.max(jnp.abs(forces)), self.strength))

    def force_gap(self, w: Float[Array, " p"], forces: Float[Array, " m"]) -> Float[Array, ""]:
        """g(w) − ⟨Dw, forces⟩ ≥ 0: the Fenchel–Young gap of w and c = Dᵀ forces."""
        change = self.operator.matvec(w)
        slack = 1 + 16 * jnp.finfo(forces.dtype).eps
        inside = jnp.all(ratio(jnp.abs(forces), self.strength) <= slack)
        return jnp.where(
            inside, jnp.sum(self.strength * jnp.abs(change) - forces * change), jnp.inf
        )

    def force_distance(self, w: Float[Array, " p"], forces: Float[Array, " m"]) -> Float[Array, ""]:
        """How far the forces move in a projected step along D w: zero only at a solution.

        The step is as long as the largest jump needs to reach from no force to the strength.
        """
        change = self.operator.matvec(w)
        largest = jnp.max(jnp.abs(change))
        step = self.strength * change / jnp.where(largest > 0, largest, 1.0)
        return jnp.max(jnp.abs(forces - self.nearest_force(forces + step)))

    def prox(self, v: Float[Array, " p"], step: Any) -> Float[Array, " p"]:
        limit = jnp.asarray(step * self.strength, v.dtype)
        D = self.operator
        zeros = jnp.zeros(D.shape[0], v.dtype)
        start = wave(zeros.shape, zeros.dtype)
        size = 1 / (1.05 * largest_eigenvalue(lambda x: D.matvec(D.rmatvec(x)), start))
        tol = 1e-12 if v.dtype == jnp.float64 else 1e-6

        def gap(forces: Array) -> Array:
            change = D.matvec(v - D.rmatvec(forces))
            return jnp.sum(limit * jnp.abs(change) - forces * change)

        def unfinished(state: tuple) -> Bool[Array, ""]:
            forces, _, _, steps = state
            going = gap(forces) > tol * jnp.sum(v**2)
            return going & (steps < _MAX_STEPS)

        def improve(state: tuple) -> tuple:
            forces, ahead, momentum, steps = state
            new = jnp.clip(ahead + size * D.matvec(v - D.rmatvec(ahead)), -limit, limit)
            uphill = jnp.vdot(ahead - new, new - forces) > 0
            weight, following = restarted_momentum(momentum, uphill)
            return new, new + weight * (new - forces), following, steps + 1

        first = (zeros, zeros, jnp.ones((), v.dtype), jnp.array(0))
        return v - D.rmatvec(jax.lax.while_loop(unfinished, improve, first)[0])

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
