"""Derivatives of solutions."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ._certificate import Iterate, iterate_at
from ._problem import Problem
from .penalties import AbstractSeparablePenalty
from .solvers import AbstractSolver
from .solvers._gram import switch_width

_LARGEST = 16384  # widest support whose Hessian is worth forming


class AbstractAdjoint(eqx.Module):
    """How a solve is differentiated."""

    @abc.abstractmethod
    def solve(
        self,
        problem: Problem,
        solver: AbstractSolver,
        start: Float[Array, " p"],
        tol: Float[Array, ""],
        max_steps: Int[Array, ""],
    ) -> tuple[Float[Array, " p"], Iterate, dict[str, Any]]:
        """Differentiable coefficients, the last iterate and the statistics (both constants)."""


class Implicit(AbstractAdjoint):
    """The implicit function theorem on the generalised support.

    Off the support S the solution is locally constant (or pinned to a bound); on it the
    optimality condition X_Sᵀ∇f(X_S w_S) + ∇g_S(w_S) = 0 is differentiated. One linear solve of
    the size of the support gives the derivative with respect to strengths, weights, bounds,
    ratios, sample weights, X and y, in forward and reverse mode and to any order, at a cost that
    does not depend on how the solution was found. Where a coefficient is just about to enter or
    leave the support, this is the derivative from one side.

    Notes
    -----
    Bertrand et al. (ICML 2020; JMLR 2022). Duplicate columns in the support make the derivative
    ambiguous; then it is the one of a ridge at the size of rounding.
    """

    def solve(
        self,
        problem: Problem,
        solver: AbstractSolver,
        start: Float[Array, " p"],
        tol: Float[Array, ""],
        max_steps: Int[Array, ""],
    ) -> tuple[Float[Array, " p"], Iterate, dict[str, Any]]:
        return _implicit_solve(problem, (solver, start, tol, max_steps))


@eqx.filter_custom_jvp
def _implicit_solve(
    problem: Problem, how: tuple[AbstractSolver, Array, Array, Array]
) -> tuple[Float[Array, " p"], Iterate, dict[str, Any]]:
    iterate, stats = run_sequentially(problem, *how)
    return iterate.coef, iterate, stats


@_implicit_solve.def_jvp
def _implicit_solve_jvp(primals: Any, tangents: Any) -> Any:
    problem, how = primals
    out = _implicit_solve(problem, how)
    coef_dot = _coef_tangent(problem, out[0], tangents[0])
    constants = jax.tree.map(lambda _: None, out[1:])
    return out, (coef_dot, *constants)


def run_sequentially(
    problem: Problem,
    solver: AbstractSolver,
    start: Float[Array, " p"],
    tol: Float[Array, ""],
    max_steps: Int[Array, ""],
) -> tuple[Iterate, dict[str, Any]]:
    """Run the solver; under ``vmap`` one problem after the other.

    Solvers branch on the size of the support. Batched, every branch would run for every problem,
    and every problem as long as the slowest.
    """
    arrays, static = eqx.partition((problem, solver, start), eqx.is_array)

    @jax.custom_batching.sequential_vmap
    def run(arrays: Any, tol: Array, max_steps: Array) -> tuple[Iterate, dict[str, Any]]:
        problem, solver, start = eqx.combine(arrays, static)
        return solver.run(problem, iterate_at(problem, start), tol, max_steps)

    return run(arrays, tol, max_steps)


def _coef_tangent(
    problem: Problem, coef: Float[Array, " p"], problem_dot: Any
) -> Float[Array, " p"]:
    penalty = problem.penalty
    if not isinstance(penalty, AbstractSeparablePenalty):
        raise TypeError(f"Implicit() cannot differentiate {type(penalty).__name__} yet.")
    support = penalty.support(coef)
    n, p = problem.X.shape
    bound = min(penalty.max_support(n, p), p, _LARGEST)
    widths = (*(width for width in (64, 256, 1024, 4096) if width < bound), bound)

    # Recomputed in the backward pass: a switch would keep what every branch could need.
    @jax.checkpoint
    def tangent_on(index: Int[Array, " k"]) -> Float[Array, " p"]:
        return _tangent_on(index, problem, coef, problem_dot)

    def branch(width: int) -> Float[Array, " p"]:
        (index,) = jnp.nonzero(support, size=width, fill_value=p)
        return tangent_on(index)

    count = jnp.sum(support)
    tangent = switch_width(jnp.sum(count > jnp.array(widths[:-1], int)), widths, branch)
    # More features than any solution needs (exact ties): no derivative rather than a wrong one.
    return jnp.where(count > bound, jnp.nan, tangent)


def _tangent_on(
    index: Int[Array, " k"], problem: Problem, coef: Float[Array, " p"], problem_dot: Any
) -> Float[Array, " p"]:
    """Solve for the tangent on the features ``index``; entries equal to p are padding."""
    inside = index < coef.shape[0]
    moving = coef.at[index].get(mode="fill", fill_value=0.0)

    def optimality(problem: Problem) -> tuple[Float[Array, " k"], Float[Array, " p"]]:
        pinned = problem.penalty.anchor(coef)
        columns = problem.X.columns(index)
        predictions = moving @ columns
        if pinned is None:
            pinned = jnp.zeros_like(coef)
        else:
            predictions = predictions + problem.X.matvec(pinned)
        gradient = columns @ problem.loss.gradient(predictions, problem.y)
        slope = problem.penalty.restrict(index).local_gradient(moving)
        return jnp.where(inside, gradient + slope, 0.0), pinned

    _, (mismatch, pinned_dot) = eqx.filter_jvp(optimality, (problem,), (problem_dot,))
    # None is a tangent known to be zero before any number is seen.
    mismatch = jnp.zeros_like(moving) if mismatch is None else mismatch
    pinned_dot = jnp.zeros_like(coef) if pinned_dot is None else pinned_dot
    tangent = -_solve_hessian(_hessian(index, problem, moving, inside), mismatch)
    # Pinned tangents vanish on the support, so adding is setting (and can be transposed).
    return pinned_dot.at[index].add(tangent, mode="drop")


def _hessian(
    index: Int[Array, " k"], problem: Problem, moving: Float[Array, " k"], inside: Array
) -> Float[Array, "k k"]:
    columns = problem.X.columns(index)
    # Quadratic losses have the same curvature everywhere, so the predictions do not matter.
    curvature = problem.loss.curvature(moving @ columns, problem.y)
    penalty = problem.penalty.restrict(index)
    diagonal = jax.jvp(penalty.local_gradient, (moving,), (jnp.ones_like(moving),))[1]
    hessian = columns @ (curvature * columns).T
    return hessian + jnp.diag(jnp.where(inside, diagonal, 1.0))


def _solve_hessian(hessian: Float[Array, "k k"], rhs: Float[Array, " k"]) -> Float[Array, " k"]:
    """H⁻¹ rhs in units of unit diagonal, with a ridge at rounding and one refinement step.

    JAX's own Cholesky instead of lineax, whose check for NaN is a call back to the host.
    """
    diagonal = jnp.diagonal(hessian)
    scale = jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1.0))
    unit = hessian / scale[:, None] / scale
    size = unit.shape[0]
    ridge = size * jnp.finfo(unit.dtype).eps * jnp.eye(size, dtype=unit.dtype)

    def solve(_: Any, vector: Float[Array, " k"]) -> Float[Array, " k"]:
        factor = jax.scipy.linalg.cho_factor(unit + ridge, lower=True)
        first = jax.scipy.linalg.cho_solve(factor, vector)
        return first + jax.scipy.linalg.cho_solve(factor, vector - unit @ first)

    solution = jax.lax.custom_linear_solve(unit.__matmul__, rhs / scale, solve, symmetric=True)
    return solution / scale
