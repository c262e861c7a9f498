"""Stationary points of separable penalties that have a given support."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._problem import Problem

_NEWTON_STEPS = 4
_REFINEMENTS = 2


def stationary_on_support(problem: Problem, coef: Float[Array, " p"]) -> Float[Array, " p"]:
    """Newton's method for least squares from ``coef``, whose zeros stay.

    Supports of more features than min(n, p) are cut off: nothing but the violation of the result
    tells.
    """
    index, inside = _support(problem, coef)
    columns, part = problem.X.columns(index), problem.penalty.restrict(index)
    gram = problem.loss.gram(columns, columns, problem.y)

    def step(_: Any, moving: Float[Array, " k"]) -> Float[Array, " k"]:
        predictions = moving @ columns + problem.predict_zero()
        slope = columns @ problem.loss.gradient(predictions, problem.y)
        slope = slope + part.local_gradient(moving)
        hessian = _regular(gram + part.hessian(moving).dense(), inside)
        return moving - jnp.where(inside, jnp.linalg.solve(hessian, slope), 0.0)

    first = coef.at[index].get(mode="fill", fill_value=0.0)
    moving = jax.lax.fori_loop(0, _NEWTON_STEPS, step, first)
    return jnp.zeros_like(coef).at[index].set(moving, mode="drop")


def force_on_support(
    problem: Problem, coef: Float[Array, " p"], force: Float[Array, " n"]
) -> Float[Array, " n"]:
    """The u nearest to ``force`` whose pull −Xᵀu balances the penalty where coef is not zero."""
    index, inside = _support(problem, coef)
    columns = problem.X.columns(index) * (problem.loss.row_weights(problem.y) > 0)
    slope = problem.penalty.local_gradient(coef).at[index].get(mode="fill", fill_value=0.0)
    gram = _regular(columns @ columns.T, inside)

    def refine(_: Any, force: Float[Array, " n"]) -> Float[Array, " n"]:
        left = jnp.where(inside, columns @ force + slope, 0.0)
        return force - jnp.linalg.solve(gram, left) @ columns

    return jax.lax.fori_loop(0, _REFINEMENTS, refine, force)


def _support(problem: Problem, coef: Float[Array, " p"]) -> tuple[Int[Array, " k"], Any]:
    """Where the coefficients are not zero, padded with p, and which entries are not padding."""
    p = coef.shape[0]
    (index,) = jnp.nonzero(coef, size=min(problem.X.shape), fill_value=p)
    return index, index < p


def _regular(matrix: Float[Array, "k k"], inside: Bool[Array, " k"]) -> Float[Array, "k k"]:
    """The matrix with ones on the diagonal of the padding."""
    used = inside[:, None] & inside
    return jnp.where(used, matrix, jnp.eye(inside.shape[0], dtype=matrix.dtype))
