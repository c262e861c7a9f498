"""Proofs that targets cannot be met."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._problem import Problem
from .designs._several import matvec, rmatvec

_REFINEMENTS = 3
_MAX_CG_STEPS = 1000


def lies_outside_range(problem: Problem, ray: Float[Array, "n ..."]) -> Array:
    """Whether ``ray`` proves that no w of reasonable size has Xw + offset = y.

    ⟨ray, y⟩ = ⟨Xᵀray, w⟩ for any such w, so ‖w‖ ≥ |⟨ray, y⟩|/‖Xᵀray‖; and where the right side is
    infinite, y is |⟨ray, y⟩|/‖ray‖ away from the range. Reasonable is 10⁹ (float32: 10⁵) times
    ‖y‖ over the size of X; away is what the loss does not count as equal.
    """
    y = problem.loss.nearest_dual(problem.y - problem.predict_zero(), problem.y)
    ray = problem.loss.nearest_dual(ray, problem.y)
    slack = 1e-9 if y.dtype == jnp.float64 else 1e-5
    size, length = jnp.linalg.norm(y), jnp.linalg.norm(ray)
    forward = jnp.linalg.norm(matvec(problem.X, rmatvec(problem.X, y)))
    back = jnp.linalg.norm(rmatvec(problem.X, y))
    scale = jnp.where(back > 0, forward / jnp.where(back > 0, back, 1.0), 0.0)  # at most ‖X‖
    work = jnp.abs(jnp.vdot(ray, y))
    apart = work > 4 * slack * jnp.maximum(1.0, size) * length
    pull = jnp.linalg.norm(rmatvec(problem.X, ray))
    return apart & (pull * size <= slack * jnp.maximum(scale, jnp.finfo(y.dtype).tiny) * work)


def least_squares_ray(problem: Problem) -> Float[Array, "n ..."]:
    """y less its projection on the range of X: the ray that infeasibility of least norm has."""
    used = problem.loss.nearest_dual(jnp.ones_like(problem.y), problem.y)

    def normal(w: Array) -> Array:
        return rmatvec(problem.X, used * matvec(problem.X, w))

    def refine(_: Any, ray: Array) -> Array:
        pull = rmatvec(problem.X, ray)
        steps = min(2 * pull.size + 10, _MAX_CG_STEPS)
        tol = float(jnp.finfo(ray.dtype).eps)
        w, _ = jax.scipy.sparse.linalg.cg(normal, pull, tol=tol, maxiter=steps)
        w = jnp.where(jnp.all(jnp.isfinite(w)), w, 0.0)
        return ray - used * matvec(problem.X, w)

    return jax.lax.fori_loop(0, _REFINEMENTS, refine, used * (problem.y - problem.predict_zero()))
