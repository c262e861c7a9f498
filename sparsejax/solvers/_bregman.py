"""Hard constraints as a sequence of least squares."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._certificate import Iterate, iterate_at, objective_at_zero
from .._dual import Dual, generic_solver
from .._infeasible import lies_outside_range
from .._modules import replace, select
from .._problem import Problem
from ..designs._several import rmatvec
from ..losses import Equality
from ..losses._weighted import Weighted
from ..penalties import AbstractNewtonPenalty
from ._base import AbstractSolver, check_one_target
from ._working_set import WorkingSet

_STRONG = 100.0  # first ρ, relative to the smallest with which zero is no solution
_SHRUNK, _GROWTH = 0.1, 10.0  # residuals that do not shrink by the first make ρ grow by the second
_PATIENCE = 8  # steps without progress that mean rounding has been reached
_REFINEMENTS = 2

_WORKING_SET = WorkingSet()


class _State(eqx.Module):
    iterate: Iterate  # the best
    coef: Float[Array, " p"]  # the last
    force: Float[Array, " n"]  # a, the multipliers of the constraints
    rho: Float[Array, ""]
    residual: Float[Array, ""]
    steps: Int[Array, ""]
    inner: Int[Array, ""]
    stalled: Int[Array, ""]
    infeasible: Bool[Array, ""]


class Bregman(AbstractSolver):
    """min g(w) subject to Xw = y, as least squares whose targets get back what they lack.

    w⁺ = argmin g(w) + ρ‖y + a/ρ − Xw‖²/2, a⁺ = a + ρ(y − Xw⁺): the method of multipliers. The
    least squares go to ``WorkingSet()``, which solves them to the last digit on few features; for
    polyhedral g a few steps then end exactly. What is found is solved for on its support, and a
    certifies it. A step of ``max_steps`` is one least-squares problem.

    Examples
    --------
    >>> import numpy as np, sparsejax as sj
    >>> loss, penalty = sj.losses.Equality(), sj.penalties.L1(1.0)
    >>> problem = sj.Problem(np.array([[1.0, 2.0]]), np.array([2.0]), loss, penalty)
    >>> sj.solve(problem, sj.solvers.Bregman(), tol=1e-5).coef.round(4).tolist()
    [0.0, 1.0]

    Notes
    -----
    Yin, Osher, Goldfarb & Darbon, Bregman iterative algorithms for ℓ1-minimization (SIAM J. Imaging
    Sciences 2008).
    """

    default_max_steps: ClassVar[int] = 200

    def check(self, problem: Problem) -> None:
        loss, penalty = type(problem.loss).__name__, type(problem.penalty).__name__
        other = generic_solver(problem)
        if not isinstance(problem.loss, Equality):
            raise TypeError(f"Bregman takes Equality, not {loss}: use {other}().")
        if not isinstance(problem.penalty, AbstractNewtonPenalty) or not problem.penalty.is_convex:
            raise TypeError(f"Bregman does not support {penalty}: use {other}().")
        check_one_target(self, problem)

    def run(
        self, problem: Problem, start: Iterate, tol: Float[Array, ""], max_steps: Int[Array, ""]
    ) -> tuple[Iterate, dict[str, Any]]:
        used = (problem.loss.row_weights(problem.y) > 0).astype(problem.y.dtype)
        y = used * problem.y

        def unfinished(state: _State) -> Bool[Array, ""]:
            going = ~(state.iterate.gap <= tol) & (state.steps < max_steps)
            return going & (state.stalled < _PATIENCE) & ~state.infeasible

        def step(state: _State) -> _State:
            coef, inner = _least_squares(problem, used, state, tol)
            left = used * (y - problem.predict(coef))
            force = state.force + state.rho * left
            new = _better(*(_judged(problem, c, force) for c in (coef, _fitted(problem, coef, y))))
            residual = jnp.linalg.norm(left)
            shrunk = residual <= _SHRUNK * state.residual
            progress = shrunk | (new.gap < 0.9 * state.iterate.gap)
            return _State(
                _better(state.iterate, new),
                coef,
                force,
                jnp.where(shrunk, state.rho, _GROWTH * state.rho),
                residual,
                state.steps + 1,
                state.inner + inner,
                jnp.where(progress, 0, state.stalled + 1),
                lies_outside_range(problem, left),
            )

        zero, no = jnp.array(0), jnp.array(False)
        force = jnp.zeros_like(y) if start.dual is None else -start.dual.loss
        residual = jnp.linalg.norm(y)
        rho = _first_rho(problem, y)
        first = _State(start, start.coef, force, rho, residual, zero, zero, zero, no)
        final = jax.lax.while_loop(unfinished, step, first)
        infeasible = final.infeasible & ~(final.iterate.gap <= tol)
        stats = {"num_steps": final.steps, "num_inner_steps": final.inner}
        return final.iterate, stats | {"infeasible": infeasible}


def _least_squares(
    problem: Problem, used: Float[Array, " n"], state: _State, tol: Float[Array, ""]
) -> tuple[Float[Array, " p"], Int[Array, ""]]:
    """The next coefficients, and the steps of the working set."""
    loss = Weighted(curvatures=state.rho * used)
    target = problem.y + state.force / state.rho
    model = replace(problem, y=target, loss=loss)
    # In the units of the problem, whose value that of the dual is nearly.
    value = jnp.maximum(jnp.vdot(state.force, problem.y), 0.01 * objective_at_zero(model))
    goal = 0.01 * tol * value / objective_at_zero(model)
    goal = jnp.maximum(goal, jnp.finfo(goal.dtype).eps ** 2)
    found, stats = _WORKING_SET.run(model, iterate_at(model, state.coef), goal, jnp.array(20))
    return found.coef, stats["num_steps"]


def _judged(problem: Problem, coef: Float[Array, " p"], force: Float[Array, " n"]) -> Iterate:
    return iterate_at(problem, coef, dual=Dual(-force, None))


def _better(old: Iterate, new: Iterate) -> Iterate:
    keep = old.gap <= new.gap
    return select(keep, old, new)


def _fitted(problem: Problem, coef: Float[Array, " p"], y: Float[Array, " n"]) -> Array:
    """The interpolant next to the coefficients, with their zeros; of the n largest of them."""
    size, index = jax.lax.top_k(jnp.abs(coef), min(problem.X.shape))
    scale = jnp.where(size > 0, size, 0.0)
    columns = problem.X.columns(index) * (problem.loss.row_weights(problem.y) > 0)
    matrix = (scale[:, None] * columns).T @ columns
    ridge = 10 * jnp.finfo(y.dtype).eps * jnp.linalg.norm(matrix)
    factor = jax.scipy.linalg.cho_factor(matrix + ridge * jnp.eye(y.size, dtype=y.dtype))
    moved = coef[index]
    for _ in range(1 + _REFINEMENTS):
        left = y - moved @ columns
        moved = moved + scale * (columns @ jax.scipy.linalg.cho_solve(factor, left))
    return jnp.zeros_like(coef).at[index].set(moved)


def _first_rho(problem: Problem, y: Float[Array, " n"]) -> Float[Array, ""]:
    pull = rmatvec(problem.X, y)
    near = problem.penalty.saturation(jnp.zeros_like(pull), pull)
    largest = jnp.max(jnp.where(jnp.isfinite(near), near, 0.0), initial=0.0)
    return _STRONG / jnp.where(largest > 0, largest, 1.0)
