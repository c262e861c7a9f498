"""Gradients without what pulls in directions that no penalty holds."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ._problem import Problem
from .designs._several import matvec, rmatvec
from .losses._profiled import Profiled


def orthogonal_to(
    null_space: Float[Array, "p m"],
    problem: Problem,
    predictions: Float[Array, " n"],
    gradient: Float[Array, " n"],
) -> tuple[Float[Array, " n"], Float[Array, " p"]]:
    """The gradient of the loss, less what pulls in directions without a penalty, and its pull.

    The dual constraint is an equality there. What is subtracted is the change of the gradient
    along such directions, to first order: it vanishes where the loss is straight, so that the
    result stays in the domain of f*. Subtracting once more what the first time left brings it
    down to rounding.
    """
    directions = matvec(problem.X, null_space)
    if isinstance(problem.loss, Profiled):
        directions = jnp.append(directions, jnp.ones_like(directions[:, :1]), axis=1)
    change = problem.loss.curvature(predictions, problem.y)[:, None] * directions
    inverse = pseudo_inverse(directions.T @ change)
    for _ in range(2):
        gradient = gradient - change @ (inverse @ (directions.T @ gradient))
    return gradient, -rmatvec(problem.X, gradient)


def pseudo_inverse(gram: Float[Array, "m m"]) -> Float[Array, "m m"]:
    """Of a Gram matrix, in units in which all columns are alike."""
    size = jnp.sqrt(jnp.diagonal(gram))
    scale = jnp.where(size > 0, 1 / jnp.where(size > 0, size, 1.0), 0.0)
    scales = scale * scale[:, None]
    return scales * jnp.linalg.pinv(scales * gram, hermitian=True)
