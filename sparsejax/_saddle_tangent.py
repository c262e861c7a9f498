"""Tangents of solutions through the fixed point of a primal–dual step."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from ._dual import Dual
from ._fixed_point import solve_square
from ._problem import Problem
from .solvers._primal_dual import saddle_step, step_sizes


def saddle_tangent(
    problem: Problem, coef: Float[Array, "p ..."], dual: Dual, problem_dot: Any
) -> Float[Array, "p ..."]:
    """The tangent of ``coef``: (I − ∂T)⁻¹ ∂θT θ̇, for the step T(w, u, θ) of ``PrimalDual``.

    Where the dual is not unique, as where differences around a loop rest, the system is singular
    but has solutions, all with the same tangent of ``coef``.
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

    return unflatten(solve_square(residual, moved, singular=True))[0]
