"""Least squares on a few features."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._problem import Problem

_SOLVES = 3  # the first, and refinements that take the effect of the ridge away


class LeastSquares(eqx.Module):
    """The fit on the features of a support, padded with zeros."""

    coef: Float[Array, " k"]
    cross: Float[Array, "k p"]  # X_Sᵀ diag(h) X
    inverse: Float[Array, "k k"]  # of its columns on the support


def least_squares(
    problem: Problem, index: Int[Array, " k"], pull: Float[Array, " p"]
) -> LeastSquares:
    """For the features ``index``, where p stands for none, and the pull on zero coefficients."""
    p = pull.shape[0]
    inside = index < p
    columns = problem.X.columns(index)
    factors = problem.loss.row_weights(problem.y)
    cross = jax.vmap(problem.X.rmatvec)(columns * factors)
    used = inside[:, None] & inside
    gram = cross.at[:, index].get(mode="fill", fill_value=0.0)
    # In units of unit diagonal, with a ridge at rounding: equal columns share their coefficient.
    size = jnp.sqrt(jnp.where(inside, jnp.diagonal(gram), 1.0))
    size = jnp.where(size > 0, size, 1.0)
    identity = jnp.eye(index.shape[0], dtype=pull.dtype)
    unit = jnp.where(used, gram / size[:, None] / size, identity)
    ridge = 10 * jnp.finfo(pull.dtype).eps * identity
    factor = jax.scipy.linalg.cho_factor(unit + ridge, lower=True)
    inverse = jax.scipy.linalg.cho_solve(factor, identity) / size[:, None] / size
    target = jnp.where(inside, pull.at[index].get(mode="fill", fill_value=0.0) / size, 0.0)
    coef = jnp.zeros_like(target)
    for _ in range(_SOLVES):
        coef = coef + jax.scipy.linalg.cho_solve(factor, target - unit @ coef)
    return LeastSquares(coef / size, cross, inverse)
