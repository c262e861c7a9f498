"""Tangents of solutions through the fixed point of a primal–dual step."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from ._dual import Dual
from ._fixed_point import solve_square
from ._modules import replace
from ._problem import Problem
from .penalties import AbstractConcavePenalty
from .solvers._primal_dual_steps import saddle_step, step_sizes

_MISSED = 1e-2  # by which a step may move a solution, relative, for all that it was solved to


class _Local(eqx.Module):
    """A concave penalty near a stationary point: zeros stay, the others are where it is smooth.

    For steps as long as those here its own proximal operator may lead away from the point.
    """

    penalty: AbstractConcavePenalty
    coef: Float[Array, " p"]

    def prox(self, v: Float[Array, " p"], step: Float[Array, ""]) -> Float[Array, " p"]:
        """The root u of u − v + step·∇g(u), to first order around the point."""
        left = self.coef - v + step * self.penalty.local_gradient(self.coef)
        curvature = jax.lax.stop_gradient(self.penalty.hessian(self.coef).diagonal)
        moved = self.coef - left / (1 + step * curvature)
        return jnp.where(self.penalty.support(self.coef), moved, 0.0)


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
        if isinstance(problem.penalty, AbstractConcavePenalty):
            problem = replace(problem, penalty=_Local(problem.penalty, point[0]))
        return ravel_pytree(saddle_step(problem, coef, dual, sizes))[0]

    _, moved = eqx.filter_jvp(lambda p: step(p, flat), (problem,), (problem_dot,))
    if moved is None:  # known to be zero before any number is seen
        return jnp.zeros_like(coef)

    def residual(direction: Float[Array, " k"]) -> Float[Array, " k"]:
        return direction - jax.jvp(lambda x: step(problem, x), (flat,), (direction,))[1]

    # Of penalties that are not convex the point need not be a fixed one: then nothing is known.
    missed = jnp.max(jnp.abs(step(problem, flat) - flat)) > _MISSED * jnp.max(jnp.abs(flat))
    missed = ~jnp.array(problem.penalty.is_convex) & missed
    # Twice, because in reverse mode the first NaN is the last; and no solver takes one.
    moved = jnp.where(missed, 0.0, moved * jnp.where(missed, jnp.nan, 1.0))
    tangent = unflatten(solve_square(residual, moved, singular=True))[0]
    return jnp.where(missed, jnp.nan, tangent)
