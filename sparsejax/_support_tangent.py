"""Tangents of solutions through the generalised support."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ._modules import replace
from ._problem import Problem
from .designs._gram import gram
from .losses import AbstractPointwiseLoss, AbstractQuadraticLoss, Equality, Squared
from .losses._profiled import unprofiled
from .penalties import L1
from .solvers._gram import switch_width

_LARGEST = 16384  # widest support whose Hessian is worth forming


def support_tangent(
    problem: Problem, coef: Float[Array, " p"], problem_dot: Any
) -> Float[Array, " p"]:
    """The tangent of the solution ``coef`` for a tangent of the problem."""
    penalty = problem.penalty
    support = penalty.support(coef)
    n, p = problem.X.shape
    bound = min(penalty.max_support(n, p), p, _LARGEST)
    widths = (*(width for width in (64, 128, 256, 1024, 4096) if width < bound), bound)

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
    return tangent * jnp.where(count > bound, jnp.nan, 1.0)  # in reverse mode too


def fit_tangent(problem: Problem, coef: Float[Array, " p"], problem_dot: Any) -> Float[Array, " p"]:
    """The tangent where the penalty does no more than to choose the support.

    A bound on the number of coefficients is like that. So is any concave penalty where Xw = y: the
    columns of the support are independent at its local minima, and y alone determines the rest,
    as least squares would.
    """
    off = jnp.where(coef != 0, 0.0, jnp.inf)
    fitted = replace(problem, penalty=L1(jnp.zeros((), coef.dtype), off))
    problem_dot = replace(problem_dot, penalty=_constant(fitted.penalty))
    if isinstance(problem.loss, Equality):
        fitted = replace(fitted, loss=Squared(problem.loss.sample_weight))
        problem_dot = replace(problem_dot, loss=_constant(fitted.loss))
    return support_tangent(fitted, coef, problem_dot)


def _constant(module: eqx.Module) -> Any:
    """The tangent of what does not change."""
    return jax.tree.map(lambda _: None, module)


def _tangent_on(
    index: Int[Array, " k"], problem: Problem, coef: Float[Array, " p"], problem_dot: Any
) -> Float[Array, " p"]:
    """Solve for the tangent on the features ``index``; entries equal to p are padding."""
    inside = index < coef.shape[0]
    moving = coef.at[index].get(mode="fill", fill_value=0.0)

    def optimality(problem: Problem) -> tuple[Float[Array, " k"], Float[Array, " p"]]:
        pinned = problem.penalty.anchor(coef)
        predict, pull = _products(problem, index)
        predictions = predict(moving) + problem.predict_zero()
        if pinned is None:
            pinned = jnp.zeros_like(coef)
        else:
            predictions = predictions + problem.X.matvec(pinned)
        gradient = pull(problem.loss.gradient(predictions, problem.y))
        slope = problem.penalty.restrict(index).local_gradient(moving)
        return jnp.where(inside, gradient + slope, 0.0), pinned

    _, (mismatch, pinned_dot) = eqx.filter_jvp(optimality, (problem,), (problem_dot,))
    # None is a tangent known to be zero before any number is seen.
    mismatch = jnp.zeros_like(moving) if mismatch is None else mismatch
    pinned_dot = jnp.zeros_like(coef) if pinned_dot is None else pinned_dot
    tangent = -_solve_hessian(_hessian(index, problem, coef, inside), mismatch)
    # Pinned tangents vanish on the support, so adding is setting (and can be transposed).
    return pinned_dot.at[index].add(tangent, mode="drop")


def _products(
    problem: Problem, index: Int[Array, " k"]
) -> tuple[Callable[[Array], Float[Array, " n"]], Callable[[Array], Float[Array, " k"]]]:
    """Of the chosen columns, and of their transpose."""
    X = problem.X
    if index.shape[0] <= X.gram_from:
        columns = X.columns(index)
        return lambda w: w @ columns, lambda r: columns @ r
    return (
        lambda w: X.combine(index, w),
        lambda r: X.rmatvec(r).at[index].get(mode="fill", fill_value=0.0),
    )


def _hessian(
    index: Int[Array, " k"], problem: Problem, coef: Float[Array, " p"], inside: Array
) -> Float[Array, "k k"]:
    hessian = _hessian_of_loss(index, problem, coef)
    moving = coef.at[index].get(mode="fill", fill_value=0.0)
    curvature = problem.penalty.restrict(index).hessian(moving).dense()
    used = inside[:, None] & inside
    return hessian + jnp.where(used, curvature, jnp.eye(index.shape[0], dtype=coef.dtype))


def _hessian_of_loss(
    index: Int[Array, " k"], problem: Problem, coef: Float[Array, " p"]
) -> Float[Array, "k k"]:
    loss, y = problem.loss, problem.y
    diagonal = isinstance(unprofiled(loss), AbstractQuadraticLoss | AbstractPointwiseLoss)
    if index.shape[0] > problem.X.gram_from and diagonal:
        return _hessian_of_entries(index, problem, coef)
    columns = problem.X.columns(index)
    if isinstance(loss, AbstractQuadraticLoss):
        return loss.gram(columns, columns, y)
    predictions = problem.predict(coef)

    def curved(direction: Float[Array, " n"]) -> Float[Array, " n"]:
        return jax.jvp(lambda z: loss.gradient(z, y), (predictions,), (direction,))[1]

    return columns @ jax.vmap(curved)(columns).T


def _hessian_of_entries(
    index: Int[Array, " k"], problem: Problem, coef: Float[Array, " p"]
) -> Float[Array, "k k"]:
    """That of a loss whose curvature is that of single samples, but for the intercept's."""
    loss, at = problem.loss.settled(problem.predict(coef), problem.y)
    factors = loss.curvature(at, problem.y)
    hessian = gram(problem.X, index, factors)
    if loss is problem.loss:
        return hessian
    total = _products(problem, index)[1](factors)
    return hessian - jnp.outer(total, total) / jnp.sum(factors)


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
