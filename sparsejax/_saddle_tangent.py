"""Tangents of solutions through the fixed point of a primal–dual step."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from ._dual import Dual
from ._problem import Problem
from .solvers._primal_dual import saddle_step, step_sizes

_DENSE = 2048  # unknowns up to which the linear system is formed


def saddle_tangent(
    problem: Problem, coef: Float[Array, "p ..."], dual: Dual, problem_dot: Any
) -> Float[Array, "p ..."]:
    """The tangent of ``coef``: (I − ∂T)⁻¹ ∂θT θ̇, for the step T(w, u, θ) of ``PrimalDual``.

    Where the solution or its dual are not unique, the system is singular and the result is not
    finite.
    """
    point = jax.lax.stop_gradient((coef, dual))
    sizes = step_sizes(jax.lax.stop_gradient(problem))
    flat, unflatten = ravel_pytree(point)

    def step(problem: Problem, flat: Float[Array, " k"]) -> Float[Array, " k"]:
        coef, dual = unflatten(flat)
        return ravel_pytree(saddle_step(problem, coef, dual, sizes))[0]

    _, moved = eqx.filter_jvp(lambda p: step(p, flat), (problem,), (problem_dot,))
    if moved is None:  # known to be zero before any number is seen
        return jnp.zeros_like(coef)

    def residual(direction: Float[Array, " k"]) -> Float[Array, " k"]:
        return direction - jax.jvp(lambda x: step(problem, x), (flat,), (direction,))[1]

    operator = lx.FunctionLinearOperator(residual, jax.eval_shape(lambda: flat))
    if flat.size <= _DENSE:
        matrix = lx.MatrixLinearOperator(operator.as_matrix())
        solution = lx.linear_solve(matrix, moved, lx.LU(), throw=False)
    else:
        eps = float(jnp.finfo(flat.dtype).eps)
        solver = lx.GMRES(rtol=eps**0.8, atol=0.0, restart=100, max_steps=10_000)
        solution = lx.linear_solve(operator, moved, solver, throw=False)
    return unflatten(solution.value)[0]
