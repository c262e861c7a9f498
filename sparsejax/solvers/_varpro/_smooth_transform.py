"""Variable projection for norms of a linear transform, with losses that are not quadratic."""

from typing import cast

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..._backtracking import backtracked
from ..._certificate import Iterate, iterate_at
from ..._dual import Dual, needs_dual
from ..._modules import select
from ..._problem import Problem
from ...losses import AbstractPointwiseLoss
from ...losses._profiled import Profiled, unprofiled
from ...penalties import Analysis
from ...penalties._forms import SlopeForm
from ._elimination import AbstractElimination, Orthogonal
from ._minimise import AbstractOuterProblem, AbstractProjection, half_square
from ._systems import SystemName
from ._transform_ridge import as_analysis, denoising_system, first_of_norms, slopes_of

_STEPS, _HALVINGS = 60, 40
_SUFFICIENT = 1e-4  # of Armijo's condition
_STRAIGHT = 0.01  # of the largest curvature: less is taken for that much


class _Point(eqx.Module):
    """Coefficients with Dw = W a, and forces with Xᵀu + Dᵀa = 0: at the minimum u is ∇L."""

    forces: Float[Array, " n"]  # u
    multipliers: Float[Array, " m"]  # a
    coef: Float[Array, " p"]  # and the intercept, where there is one
    predictions: Float[Array, " n"]


class Projected(AbstractProjection):
    """The minimiser of the inner problem."""

    value: Float[Array, ""]
    point: _Point


class _State(eqx.Module):
    point: _Point
    error: Float[Array, ""]  # how far its forces are from the gradient, relative
    steps: Int[Array, ""]
    moving: Bool[Array, ""]


class SmoothTransform(AbstractOuterProblem):
    """f(v) = min over w of L(Xw + offset) + Σ (Dw)²/(2W(v)) + ‖v‖²/2.

    The inner problem takes Newton's method: with the gradient g and the curvature c of L at
    predictions z, its step leads to the ridge regression with T = 1/c and the targets z − g/c,
    whose multipliers are solved for so that W may vanish, as in ``TransformRidge``. All points
    between two with Dw = W a are such, and a step is halved until it descends. ∇f = ∇‖v‖²/2 −
    ∇(ΣWa²)/2. An intercept is one more column of X, which D does not see.
    """

    problem: Problem
    penalty: Analysis
    form: SlopeForm  # of the groups of the transform
    loss: AbstractPointwiseLoss
    system: AbstractElimination

    def __init__(self, problem: Problem, system: SystemName):
        self.problem, self.penalty = problem, as_analysis(problem)
        self.form, loss = slopes_of(self.penalty), problem.loss
        profiled = isinstance(loss, Profiled)
        self.loss = cast(AbstractPointwiseLoss, unprofiled(loss))
        ones = jnp.ones_like(problem.y)
        denoising = None if profiled else denoising_system(problem, self.penalty, ones, system)
        if denoising is not None:
            self.system = denoising
            return
        rows, transform = problem.X.all_columns().T, self.penalty.operator.all_columns().T
        extra = ((0, 0), (0, int(profiled)))
        rows = jnp.pad(rows, extra, constant_values=1.0)
        self.system = Orthogonal(rows, jnp.pad(transform.astype(rows.dtype), extra))

    def _weights(self, v: Float[Array, " b"]) -> Float[Array, " m"]:
        return self.penalty.spread(self.form.root(v)) ** 2

    def project(self, v: Float[Array, " b"], near: Projected | None) -> Projected:
        weights, offset = self._weights(v), self.problem.predict_zero()
        accuracy = float(jnp.finfo(offset.dtype).eps) ** 0.75
        zero = _Point(
            jnp.zeros_like(offset),
            jnp.zeros_like(weights),
            jnp.zeros(self._num_coef, offset.dtype),
            offset,
        )

        def unfinished(state: _State) -> Bool[Array, ""]:
            return (state.error > accuracy) & state.moving & (state.steps < _STEPS)

        def step(state: _State) -> _State:
            # Other weights ask for other coefficients: the first step is measured from zero.
            old = select(state.steps == 0, zero, state.point)
            new, descends = self._between(weights, old, self._newton(weights, state.point))
            error = self._error(new)
            # Where descent is lost in rounding, forces may still come nearer.
            return _State(new, error, state.steps + 1, descends | (error < 0.5 * state.error))

        begun = zero if near is None else near.point
        state = _State(begun, jnp.full((), jnp.inf, offset.dtype), jnp.array(0), jnp.array(True))
        point = jax.lax.while_loop(unfinished, step, state).point
        return Projected(self._energy(weights, point) + half_square(v), point)

    def envelope(self, v: Float[Array, " b"], projection: Projected) -> Float[Array, ""]:
        return half_square(v) - jnp.sum(self._weights(v) * projection.point.multipliers**2) / 2

    def gap(self, projection: Projected) -> Float[Array, ""]:
        return self.iterate(projection).gap

    def iterate(self, projection: Projected) -> Iterate:
        """The coefficients and their certificate, from the multipliers."""
        problem, point = self.problem, projection.point
        coef = point.coef[: problem.X.shape[1]]
        if not needs_dual(problem):
            return iterate_at(problem, coef)
        return iterate_at(problem, coef, dual=Dual(point.forces, point.multipliers))

    def first(self, coef: Float[Array, " p"]) -> Float[Array, " b"]:
        """Where to begin: the best v of the coefficients, or of a step from zero."""
        zero, y = self.problem.predict_zero(), self.problem.y
        gradient, curvature = self.problem.loss.gradient(zero, y), self.loss.curvature(zero, y)
        return first_of_norms(self.problem, self.penalty, self.form, coef, -gradient, curvature)

    @property
    def _num_coef(self) -> int:
        return self.problem.X.shape[1] + isinstance(self.problem.loss, Profiled)

    def _gradient(self, point: _Point) -> Float[Array, " n"]:
        return self.loss.gradient(point.predictions, self.problem.y)

    def _error(self, point: _Point) -> Float[Array, ""]:
        gradient = self._gradient(point)
        size = jnp.linalg.norm(gradient)
        return jnp.linalg.norm(gradient - point.forces) / jnp.where(size > 0, size, 1.0)

    def _energy(self, weights: Float[Array, " m"], point: _Point) -> Float[Array, ""]:
        bent = jnp.sum(weights * point.multipliers**2) / 2
        return self.loss.value(point.predictions, self.problem.y) + bent

    def _newton(self, weights: Float[Array, " m"], at: _Point) -> _Point:
        """The minimum of the quadratic model at some predictions.

        Where the loss is straight, or nearly, some curvature is lent to it: the systems would lose
        their digits.
        """
        y, offset = self.problem.y, self.problem.predict_zero()
        curvature = self.loss.curvature(at.predictions, y)
        least = _STRAIGHT * jnp.max(curvature)
        curvature = jnp.maximum(curvature, jnp.where(least > 0, least, 1.0))
        target = at.predictions - offset - self._gradient(at) / curvature
        u, a = self.system.solve((1 / curvature, weights), target)
        moved = u / curvature + target
        return _Point(u, a, self.system.coef((moved, weights * a)), moved + offset)

    def _between(
        self, weights: Float[Array, " m"], old: _Point, new: _Point
    ) -> tuple[_Point, Bool[Array, ""]]:
        """The first point from ``new`` back to ``old`` that is not higher; and if it is lower."""
        before = self._energy(weights, old)
        slope = jnp.vdot(self._gradient(old), new.predictions - old.predictions)
        slope += jnp.vdot(weights * old.multipliers, new.multipliers - old.multipliers)
        slack = 10 * jnp.finfo(before.dtype).eps * jnp.abs(before)

        def at(length: Float[Array, ""]) -> _Point:
            return jax.tree.map(lambda a, b: a + length * (b - a), old, new)

        length, after, found = backtracked(
            lambda length: self._energy(weights, at(length)),
            lambda length, value: value <= before + _SUFFICIENT * length * slope + slack,
            _HALVINGS,
            before.dtype,
        )
        # Where the system has failed, nothing of it is taken.
        return select(found, at(length), old), found & (after < before - slack)
