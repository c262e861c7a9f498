"""Tangents of solutions through the fixed point of a proximal-gradient step."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Float

from ._problem import Problem
from .designs._several import rmatvec

DENSE = 2048  # unknowns up to which the linear system is formed
_REFINEMENTS = 4
_MAX_STEPS = 10_000  # of an iteration


def proximal_step(
    problem: Problem, coef: Float[Array, "p ..."], size: Float[Array, ""]
) -> Float[Array, "p ..."]:
    """prox(w − size·∇f(w)), which leaves solutions where they are."""
    gradient = problem.loss.gradient(problem.predict(coef), problem.y)
    return problem.penalty.prox(coef - size * rmatvec(problem.X, gradient), size)


def fixed_point_tangent(
    problem: Problem, coef: Float[Array, "p ..."], problem_dot: Any, size: Float[Array, ""]
) -> Float[Array, "p ..."]:
    """The tangent of the solution ``coef``: (I − ∂w T)⁻¹ ∂θ T θ̇ for the step T(w, θ)."""
    size = jax.lax.stop_gradient(size)
    _, moved = eqx.filter_jvp(lambda p: proximal_step(p, coef, size), (problem,), (problem_dot,))
    if moved is None:  # known to be zero before any number is seen
        return jnp.zeros_like(coef)

    def residual(flat: Float[Array, " k"]) -> Float[Array, " k"]:
        direction = flat.reshape(coef.shape)
        step = lambda w: proximal_step(problem, w, size)  # noqa: E731
        _, change = jax.jvp(step, (coef,), (direction,))
        return (direction - change).reshape(-1)

    return solve_square(residual, moved.reshape(-1)).reshape(coef.shape)


def solve_square(
    multiply: Callable[[Float[Array, " k"]], Float[Array, " k"]],
    rhs: Float[Array, " k"],
    singular: bool = False,
) -> Float[Array, " k"]:
    """A⁻¹ rhs for the matrix behind ``multiply``: factorised where small, else by GMRES.

    Where a ``singular`` A of order one has rhs in its range, this is one of the solutions: a ridge
    of √ε makes A regular, and refinement takes its effect away again.
    """
    if rhs.size > DENSE:
        return solve_iteratively(multiply, rhs)
    matrix = lx.FunctionLinearOperator(multiply, jax.eval_shape(lambda: rhs)).as_matrix()
    ridge = float(jnp.finfo(rhs.dtype).eps) ** 0.5 if singular else 0.0
    factor = lx.MatrixLinearOperator(matrix + ridge * jnp.eye(rhs.size, dtype=rhs.dtype))
    state, solution = lx.LU().init(factor, {}), jnp.zeros_like(rhs)
    for _ in range(_REFINEMENTS if singular else 1):
        left = rhs - matrix @ solution
        solution += lx.linear_solve(factor, left, lx.LU(), state=state, throw=False).value
    return solution


def solve_iteratively(
    multiply: Callable[[Float[Array, " k"]], Float[Array, " k"]],
    rhs: Float[Array, " k"],
    symmetric: bool = False,
) -> Float[Array, " k"]:
    """A⁻¹ rhs by GMRES or, for ``symmetric`` positive semidefinite A, conjugate gradients.

    A derivative that was not found must not look like one: it is NaN.
    """
    tol = float(jnp.finfo(rhs.dtype).eps) ** 0.8

    def by_gmres(multiply: Callable, rhs: Float[Array, " k"]) -> Float[Array, " k"]:
        # The tolerance is for each entry, of which some may be zero.
        size = jnp.max(jnp.abs(rhs))
        size = jnp.where(size > 0, size, 1.0)
        solver = lx.GMRES(rtol=tol, atol=tol, restart=100, max_steps=_MAX_STEPS)
        operator = lx.FunctionLinearOperator(multiply, jax.eval_shape(lambda: rhs))
        found = lx.linear_solve(operator, rhs / size, solver, throw=False)
        return size * jnp.where(found.result == lx.RESULTS.successful, found.value, jnp.nan)

    # Not lineax's, to which systems that are ill conditioned in single precision are singular.
    def by_cg(multiply: Callable, rhs: Float[Array, " k"]) -> Float[Array, " k"]:
        found, _ = jax.scipy.sparse.linalg.cg(multiply, rhs, tol=tol, maxiter=_MAX_STEPS)
        left = jnp.linalg.norm(rhs - multiply(found))
        near = left <= jnp.sqrt(jnp.finfo(rhs.dtype).eps) * jnp.linalg.norm(rhs)
        return jnp.where(near, found, jnp.nan)

    # What came of the iteration depends on rhs, and in reverse mode may be looked at only in there.
    solve = by_cg if symmetric else by_gmres
    return jax.lax.custom_linear_solve(multiply, rhs, solve, solve, symmetric)
