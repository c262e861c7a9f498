"""Proofs that a problem has no minimum."""

import jax.numpy as jnp
from jaxtyping import Array, Bool

from ._certificate import Iterate
from ._problem import Problem
from .losses._tilted import bare

_NEAR = 1e-2  # error below which coefficients that may grow have nothing else to do
_FAR = 1e6


def may_be_unbounded(problem: Problem) -> bool:
    """Whether a minimum can lie at infinity: convex penalties grow with the coefficients."""
    return not (problem.penalty.is_convex or bare(problem.loss).is_piecewise_quadratic)


def is_unbounded(problem: Problem, iterate: Iterate) -> Bool[Array, ""]:
    """Whether multiples of the coefficients lower the objective the more, the larger they are.

    As where the classes of a logistic model are separated by features that are large enough for
    the penalty no longer to grow with them. The loss is convex along the ray, so that it falls
    for ever if it is lower a million times further out than at twice the distance. Far from
    stationary points, whose error is small, a solver may still come back from such a ray.
    """
    offset = problem.predict_zero()
    direction = iterate.predictions - offset

    def loss_at(length: float) -> Array:
        return problem.loss.value(offset + length * direction, problem.y)

    falls = (loss_at(_FAR) < loss_at(2.0)) & (loss_at(2.0) < loss_at(1.0))
    size = problem.penalty.value(iterate.coef)
    rounding = 64 * jnp.finfo(size.dtype).eps * jnp.abs(size)
    flat = problem.penalty.value(_FAR * iterate.coef) <= size + rounding
    return falls & flat & (iterate.error < _NEAR)
