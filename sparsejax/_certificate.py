"""Certificates: what is known about a point without trusting the solver that made it."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._problem import Problem, matvec, rmatvec
from .penalties import AbstractGroupSeparablePenalty, AbstractStrengthPenalty


class Iterate(eqx.Module):
    """A point of a problem without intercept, and what one pass over X says about it.

    ``pull`` is −Xᵀ∇loss: the force of the data on each coefficient. ``gap`` is relative.
    """

    coef: Float[Array, "p ..."]
    predictions: Float[Array, "n ..."]
    pull: Float[Array, "p ..."]
    gap: Float[Array, ""]


def iterate_at(
    problem: Problem, coef: Float[Array, "p ..."], known: Float[Array, "n ..."] | None = None
) -> Iterate:
    """Evaluate ``coef``: one product with X, unless it is known, and one with its transpose."""
    predictions = _predictions(problem, coef) if known is None else known
    pull = -rmatvec(problem.X, problem.loss.gradient(predictions, problem.y))
    return Iterate(coef, predictions, pull, relative_gap(problem, coef, predictions, pull))


def _predictions(problem: Problem, coef: Float[Array, "p ..."]) -> Float[Array, "n ..."]:
    """X coef + offset, for free where most solves start: at zero."""
    nonzero = jnp.any(coef != 0)
    return jax.lax.cond(nonzero, lambda: problem.predict(coef), lambda: problem.predict_zero())


def relative_gap(
    problem: Problem,
    coef: Float[Array, "p ..."],
    predictions: Float[Array, "n ..."],
    pull: Float[Array, "p ..."],
) -> Float[Array, ""]:
    """Duality gap over the objective at zero, from the better of two rescaled dual points.

    The dual of min f(Xw) + g(w) is max −f*(u) − g*(−Xᵀu). (An offset is part of f.) With
    u = s∇f(Xw) the gap splits into two Fenchel–Young terms, each a sum of nonnegative numbers, so
    it keeps its digits down to rounding. s = 1 is tried beside the largest s that is sure to be
    feasible, because a g* that is finite everywhere (elastic net, box) needs no rescaling.
    """
    gradient = problem.loss.gradient(predictions, problem.y)
    null_space = problem.penalty.null_space(problem.X.shape[1])
    if null_space is None:
        pull = _without_rounding(problem, pull)
    else:
        gradient, pull = _orthogonal_to(null_space, problem, gradient)

    def gap(scale: Float[Array, ""]) -> Float[Array, ""]:
        data = problem.loss.fenchel_gap(predictions, scale * gradient, problem.y)
        return data + problem.penalty.fenchel_gap(coef, scale * pull)

    best = jnp.minimum(gap(jnp.ones((), pull.dtype)), gap(problem.penalty.dual_scale(pull)))
    return jnp.maximum(best, 0.0) / objective_at_zero(problem)


def _orthogonal_to(
    null_space: Float[Array, "p m"], problem: Problem, gradient: Float[Array, " n"]
) -> tuple[Float[Array, " n"], Float[Array, " p"]]:
    """The gradient of the loss, less what pulls in directions without a penalty, and its pull.

    The dual constraint is an equality there. Subtracting once more what the first time left
    brings it down to rounding.
    """
    basis, _ = jnp.linalg.qr(matvec(problem.X, null_space))
    for _ in range(2):
        gradient = gradient - basis @ (basis.T @ gradient)
    return gradient, -rmatvec(problem.X, gradient)


def objective_at_zero(problem: Problem) -> Float[Array, ""]:
    """The loss of the zero vector, or one where that is zero: the unit of relative gaps.

    Losses are counted from their infimum, −f*(0), because some (Poisson) may be negative.
    """
    zero = problem.predict_zero()
    value = problem.loss.fenchel_gap(zero, jnp.zeros_like(zero), problem.y)
    return jnp.where(value > 0, value, 1.0)


def _without_rounding(problem: Problem, pull: Float[Array, "p ..."]) -> Float[Array, "p ..."]:
    """The pull without what is only rounding; the column norms are computed only if needed."""
    penalty = problem.penalty
    if not isinstance(penalty, AbstractGroupSeparablePenalty):
        return pull

    def clean() -> Float[Array, "p ..."]:
        curvature = problem.loss.curvature(problem.predict_zero(), problem.y)
        norm = problem.X.square_norms
        norm = norm if curvature.ndim == 1 else jax.vmap(norm, in_axes=1, out_axes=1)
        norms = jnp.sqrt(norm(curvature))
        return penalty.without_rounding(pull, norms * data_norm(problem))

    suspicious = jnp.any(penalty.is_free() & (pull != 0))
    return jax.lax.cond(suspicious, clean, lambda: pull)


def data_norm(problem: Problem) -> Float[Array, ""]:
    """‖y‖ in the metric of the loss."""
    return jnp.sqrt(2 * objective_at_zero(problem))


def kkt_of(problem: Problem, iterate: Iterate) -> Float[Array, ""]:
    """Largest distance to the subdifferential, relative to the strength.

    Where there is no strength, or it is zero, the unit is the largest pull on the zero vector.
    """
    distance = jnp.max(problem.penalty.subdiff_distance(iterate.coef, -iterate.pull))

    def pull_at_zero() -> Float[Array, ""]:
        gradient = problem.loss.gradient(problem.predict_zero(), problem.y)
        return jnp.max(jnp.abs(rmatvec(problem.X, gradient)))

    if isinstance(problem.penalty, AbstractStrengthPenalty):
        strength = problem.penalty.strength
        unit = jax.lax.cond(strength > 0, lambda: strength, pull_at_zero)
    else:
        unit = pull_at_zero()
    return distance / jnp.where(unit > 0, unit, 1.0)
