"""Variable projection for losses that are smooth but not quadratic."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Bool, Float, Int

from ..._backtracking import backtracked
from ..._certificate import Iterate, iterate_at
from ..._problem import Problem
from ...designs._several import matvec, rmatvec
from ...losses import AbstractPointwiseLoss
from ...losses._profiled import unprofiled
from ...penalties._base import per_row
from ...penalties._variational import AbstractVariationalForm
from ._minimise import AbstractOuterProblem, AbstractProjection, half_square
from ._ridge import first_blocks

_STEPS, _HALVINGS = 50, 40
_SUFFICIENT = 1e-4  # of Armijo's condition


class Projected(AbstractProjection):
    """The minimiser u of L(X√W u + offset) + ‖u‖²/2, its predictions, and the pull −Xᵀ∇L."""

    value: Float[Array, ""]
    u: Float[Array, "p ..."]
    predictions: Float[Array, "n ..."]
    pull: Float[Array, "p ..."]
    coef: Float[Array, "p ..."]


class _State(eqx.Module):
    found: Projected
    steps: Int[Array, ""]
    moving: Bool[Array, ""]


class SmoothRidge(AbstractOuterProblem):
    """f(v) = min over u of L(X√W(v) u + offset) + (‖u‖² + ‖v‖²)/2, with w = √W(v) u.

    The inner problem is strongly convex and smooth: Newton's method, from the u of a point nearby,
    with a backtracking search. Its systems, I + √W XᵀHX √W for the curvature H of the loss, are
    solved by conjugate gradients: as W vanishes off the support, few directions are left, and
    forming them took longer, dense X or not. ∇f = ∇(‖v‖²/2) − (∇√W) u ξ for ξ = −Xᵀ∇L.
    """

    problem: Problem
    form: AbstractVariationalForm

    def __init__(self, problem: Problem):
        self.problem = problem
        self.form = problem.penalty.variational_form(problem.X.shape[1])

    def project(self, v: Any, near: Projected | None) -> Projected:
        root = self.form.root(v)
        u = jnp.zeros(self.problem.coef_shape, root.dtype) if near is None else near.u
        roots = per_row(root, u)
        accuracy = float(jnp.finfo(u.dtype).eps) ** 0.75

        def unfinished(state: _State) -> Bool[Array, ""]:
            pulled = roots * state.found.pull
            left = jnp.linalg.norm(state.found.u - pulled)
            going = left > accuracy * jnp.linalg.norm(pulled)
            return going & state.moving & (state.steps < _STEPS)

        def step(state: _State) -> _State:
            new, moving = self._newton(roots, state.found)
            return _State(new, state.steps + 1, moving)

        begun = self._at(u, roots * u, self.problem.predict(roots * u))
        first = _State(begun, jnp.array(0), jnp.array(True))
        found = jax.lax.while_loop(unfinished, step, first).found
        return eqx.tree_at(lambda f: f.value, found, found.value + half_square(v))

    def envelope(self, v: Any, projection: Projected) -> Float[Array, ""]:
        moved = per_row(self.form.root(v), projection.u) * projection.u
        return half_square(v) - jnp.vdot(projection.pull, moved)

    def gap(self, projection: Projected) -> Float[Array, ""]:
        return self.iterate(projection).gap

    def iterate(self, projection: Projected) -> Iterate:
        """The coefficients and their certificate."""
        return iterate_at(self.problem, projection.coef)

    def first(self, coef: Float[Array, "p ..."]) -> Any:
        """Where to begin."""
        zero = self.problem.predict_zero()
        pull = -rmatvec(self.problem.X, self.problem.loss.gradient(zero, self.problem.y))
        return first_blocks(self.form, coef, pull)

    def _at(self, u: Array, coef: Array, predictions: Array) -> Projected:
        loss, y = self.problem.loss, self.problem.y
        pull = -rmatvec(self.problem.X, loss.gradient(predictions, y))
        value = loss.value(predictions, y) + jnp.vdot(u, u) / 2
        return Projected(value, u, predictions, pull, coef)

    def _newton(
        self, roots: Float[Array, "p ..."], old: Projected
    ) -> tuple[Projected, Bool[Array, ""]]:
        """A step along Newton's direction, halved until downhill, and whether there is one."""
        loss, y = self.problem.loss, self.problem.y
        gradient = old.u - roots * old.pull
        direction = -self._solve(roots, old.predictions, gradient)
        moved = matvec(self.problem.X, roots * direction)
        slope = jnp.vdot(gradient, direction)
        slack = 10 * jnp.finfo(slope.dtype).eps * jnp.abs(old.value)

        def value(length: Float[Array, ""]) -> Float[Array, ""]:
            u = old.u + length * direction
            return loss.value(old.predictions + length * moved, y) + jnp.vdot(u, u) / 2

        length, _, found = backtracked(
            value,
            lambda length, value: value <= old.value + _SUFFICIENT * length * slope + slack,
            _HALVINGS,
            slope.dtype,
        )
        length = jnp.where(found, length, 0.0)
        u = old.u + length * direction
        predictions = old.predictions + length * moved
        return self._at(u, roots * u, predictions), found

    def _solve(
        self,
        roots: Float[Array, "p ..."],
        predictions: Float[Array, "n ..."],
        rhs: Float[Array, "p ..."],
    ) -> Float[Array, "p ..."]:
        """(I + √W XᵀHX √W)⁻¹ rhs, to as many digits as the next step of Newton's method gains."""
        X, loss, y = self.problem.X, self.problem.loss, self.problem.y
        _, curve = jax.linearize(lambda z: loss.gradient(z, y), predictions)

        def multiply(u: Float[Array, "p ..."]) -> Float[Array, "p ..."]:
            return u + roots * rmatvec(X, curve(matvec(X, roots * u)))

        operator = lx.FunctionLinearOperator(
            multiply, jax.eval_shape(lambda: rhs), lx.positive_semidefinite_tag
        )
        solver = lx.CG(rtol=float(jnp.finfo(rhs.dtype).eps) ** 0.5, atol=0.0, max_steps=1000)
        return lx.linear_solve(operator, rhs, solver, throw=False).value


def has_diagonal_curvature(problem: Problem) -> bool:
    """Whether the loss is a sum over samples of functions of one prediction each."""
    loss = unprofiled(problem.loss)
    return isinstance(loss, AbstractPointwiseLoss) and not problem.loss.outputs(problem.y)
