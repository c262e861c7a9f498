"""Certificates: what is known about a point without trusting the solver that made it."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ._dual import Dual, feasible_dual, first_dual, needs_dual, radius, residual_of
from ._modules import replace
from ._orthogonal import orthogonal_to
from ._problem import Problem, predict_sparse
from ._together import largest
from .designs._several import rmatvec
from .losses._profiled import Profiled
from .losses._tilted import untilted
from .penalties import (
    AbstractConcavePenalty,
    AbstractGroupSeparablePenalty,
    AbstractStrengthPenalty,
)
from .penalties._analysis import Analysis
from .penalties._base import per_row


class Iterate(eqx.Module):
    """A point of a problem without intercept, and what one pass over X says about it.

    ``pull`` is −Xᵀ∇loss: the force of the data on each coefficient. ``gap`` is relative. ``dual``
    stands in for the gradient where the loss has none; it is made feasible for the gap. Where the
    penalty is not convex, there is no gap (NaN), and ``kkt`` is what points are judged by.
    """

    coef: Float[Array, "p ..."]
    predictions: Float[Array, "n ..."]
    pull: Float[Array, "p ..."]
    gap: Float[Array, ""]
    dual: Dual | None = None
    kkt: Float[Array, ""] | None = None

    @property
    def error(self) -> Float[Array, ""]:
        """What solvers bring below the tolerance."""
        return self.gap if self.kkt is None else self.kkt


def iterate_at(
    problem: Problem,
    coef: Float[Array, "p ..."],
    known: Float[Array, "n ..."] | None = None,
    dual: Dual | None = None,
) -> Iterate:
    """Evaluate ``coef``: one product with X, unless it is known, and one with its transpose.

    The dual is used where there is no gradient (``needs_dual``); without one, a first guess is.
    """
    predictions = _predictions(problem, coef) if known is None else known
    if needs_dual(problem):
        dual = first_dual(problem, predictions) if dual is None else dual
        dual = feasible_dual(problem, coef, dual)
        pull = -rmatvec(problem.X, dual.loss)
        return judged(problem, coef, predictions, pull, dual)
    settled = problem.loss.settled(predictions, problem.y)
    pull = -rmatvec(problem.X, settled[0].gradient(settled[1], problem.y))
    return judged(problem, coef, predictions, pull, settled=settled)


def judged(
    problem: Problem,
    coef: Float[Array, "p ..."],
    predictions: Float[Array, "n ..."],
    pull: Float[Array, "p ..."],
    dual: Dual | None = None,
    settled: tuple[Any, Float[Array, "n ..."]] | None = None,
) -> Iterate:
    """The iterate whose predictions, pull and feasible dual are known already."""
    if not problem.penalty.is_convex:
        iterate = Iterate(coef, predictions, pull, jnp.full((), jnp.nan, coef.dtype), dual)
        return replace(
            iterate, kkt=jnp.maximum(kkt_of(problem, iterate), _mismatch(problem, iterate))
        )
    gap = relative_gap(problem, coef, predictions, pull, dual, settled)
    return Iterate(coef, predictions, pull, gap, dual)


def _mismatch(problem: Problem, iterate: Iterate) -> Float[Array, ""]:
    """How far the dual is from a subgradient of the loss at the predictions, relative as gaps are.

    A gradient is one, but a dual that a solver brings may belong to other coefficients.
    """
    if iterate.dual is None:
        return jnp.zeros((), iterate.coef.dtype)
    gap = problem.loss.fenchel_gap(iterate.predictions, iterate.dual.loss, problem.y)
    return gap / unit_of_gaps(problem, objective_at(problem, iterate.coef, iterate.predictions))


def _predictions(problem: Problem, coef: Float[Array, "p ..."]) -> Float[Array, "n ..."]:
    """X coef + offset, for free where most solves start: at zero."""
    nonzero = largest(jnp.any(coef != 0))
    return jax.lax.cond(
        nonzero, lambda: predict_sparse(problem, coef), lambda: problem.predict_zero()
    )


def relative_gap(
    problem: Problem,
    coef: Float[Array, "p ..."],
    predictions: Float[Array, "n ..."],
    pull: Float[Array, "p ..."],
    dual: Dual | None = None,
    settled: tuple[Any, Float[Array, "n ..."]] | None = None,
) -> Float[Array, ""]:
    """Duality gap over the objective at zero, from the better of two rescaled dual points.

    The dual of min f(Xw) + g(w) is max −f*(u) − g*(−Xᵀu). (An offset is part of f.) With
    u = s∇f(Xw) the gap splits into two Fenchel–Young terms, each a sum of nonnegative numbers, so
    it keeps its digits down to rounding. s = 1 is tried beside the largest s that is sure to be
    feasible, because a g* that is finite everywhere (elastic net, box) needs no rescaling.

    A loss without a gradient takes u from ``dual``, feasible but for its size. The gap of an
    ``Analysis`` penalty has another term, ‖Xᵀu + Dᵀζ‖ (rounding) times a radius: no point within
    2‖w‖ + ‖y‖/max_j‖X_j‖ of w is better than w by more than the gap. Likewise what is left of the
    pull in directions without a penalty, where u must not leave the ray through the gradient.
    """
    if dual is not None:
        return _gap_of_dual(problem, coef, predictions, pull, dual)
    loss, at = problem.loss.settled(predictions, problem.y) if settled is None else settled
    gradient = loss.gradient(at, problem.y)
    null_space = problem.penalty.null_space(problem.X.shape[1])
    left_over = 0.0
    if null_space is None:
        pull = _without_rounding(problem, pull)
    elif problem.loss.has_dual_on_ray:
        constant = null_space @ (null_space.T @ pull)
        pull, left_over = pull - constant, jnp.linalg.norm(constant) * radius(problem, coef)
    else:
        gradient, pull = orthogonal_to(null_space, problem, predictions, gradient)

    def gap(scale: Float[Array, ""]) -> Float[Array, ""]:
        data = loss.fenchel_gap(at, scale * gradient, problem.y)
        return data + problem.penalty.scaled_gap(coef, pull, scale)

    best = smaller_gap(gap, problem.penalty.dual_scale(pull))
    return jnp.maximum(best + left_over, 0.0) / objective_at_zero(problem)


def smaller_gap(
    gap: Callable[[Float[Array, ""]], Float[Array, ""]], scale: Float[Array, ""]
) -> Float[Array, ""]:
    """That of a dual point as it is or scaled, as one computation: it stands in many places."""
    return jnp.min(jax.vmap(gap)(jnp.stack([jnp.ones_like(scale), scale])))


def _gap_of_dual(
    problem: Problem,
    coef: Float[Array, "p ..."],
    predictions: Float[Array, "n ..."],
    pull: Float[Array, "p ..."],
    dual: Dual,
) -> Float[Array, ""]:
    loss, penalty = problem.loss, problem.penalty
    if isinstance(penalty, Analysis):
        assert dual.penalty is not None
        forces, scale = dual.penalty, penalty.force_scale(dual.penalty)
        left_over = residual_of(problem, coef, dual)
        regularity = lambda scale: penalty.force_gap(coef, scale * forces)  # noqa: E731
    else:
        if isinstance(penalty, AbstractGroupSeparablePenalty):
            norms = jnp.sqrt(problem.X.square_norms(jnp.ones(problem.X.shape[0], pull.dtype)))
            pull = penalty.without_rounding(pull, norms * jnp.linalg.norm(dual.loss))
        left_over, scale = 0.0, penalty.dual_scale(pull)
        regularity = lambda scale: penalty.scaled_gap(coef, pull, scale)  # noqa: E731

    def gap(scale: Float[Array, ""]) -> Float[Array, ""]:
        data = loss.fenchel_gap(predictions, scale * dual.loss, problem.y)
        return data + regularity(scale)

    best = smaller_gap(gap, scale) + left_over
    own = loss.value(predictions, problem.y) + penalty.value(coef)
    return jnp.maximum(best, 0.0) / unit_of_gaps(problem, own)


def unit_of_gaps(problem: Problem, objective: Float[Array, ""]) -> Float[Array, ""]:
    """What relative gaps are relative to, for a problem without intercept: that at zero.

    Zero is no solution where targets must be met: then the objective of the point itself.
    """
    unit, own = objective_at_zero(problem), jnp.abs(objective)
    own = jnp.where((own > 0) & jnp.isfinite(own), own, 1.0)
    return jnp.where(jnp.isfinite(unit), unit, own)


def objective_at_zero(problem: Problem) -> Float[Array, ""]:
    """The loss of the zero vector, or one where that is zero: the unit of relative gaps.

    Losses are counted from their infimum, −f*(0), because some (Poisson) may be negative.
    """
    loss, zero = _settled_at_zero(problem)
    value = loss.excess(zero, problem.y)
    return jnp.where(value > 0, value, 1.0)


def _settled_at_zero(problem: Problem) -> tuple[Any, Float[Array, "n ..."]]:
    """The loss, not tilted, and the predictions of the zero vector, with the best intercept."""
    loss, zero = untilted(problem.loss), problem.predict_zero()
    if isinstance(loss, Profiled) and loss.at_zero is not None:
        return loss.loss, zero + loss.at_zero
    return loss.settled(zero, problem.y)


def objective_at(
    problem: Problem, coef: Float[Array, "p ..."], predictions: Float[Array, "n ..."]
) -> Float[Array, ""]:
    """The objective where the predictions are known."""
    return problem.loss.value(predictions, problem.y) + problem.penalty.value(coef)


def has_fallen(now: Float[Array, ""], before: Float[Array, ""]) -> Bool[Array, ""]:
    """Whether an objective is lower than before, by more than rounding.

    Progress that an error need not show for many steps: it is what the worst of all features says,
    and these come and go.
    """
    return now < before - 64 * jnp.finfo(before.dtype).eps * jnp.abs(before)


def _without_rounding(problem: Problem, pull: Float[Array, "p ..."]) -> Float[Array, "p ..."]:
    """The pull without what is only rounding; the column norms are computed only if needed."""
    penalty = problem.penalty
    if not isinstance(penalty, AbstractGroupSeparablePenalty):
        return pull
    size = data_norm(problem)  # here, since inside of the branch it would be compiled once more

    def clean() -> Float[Array, "p ..."]:
        loss, zero = _settled_at_zero(problem)
        curvature = loss.curvature(zero, problem.y)
        norm = problem.X.square_norms
        norm = norm if curvature.ndim == 1 else jax.vmap(norm, in_axes=1, out_axes=1)
        norms = jnp.sqrt(norm(curvature))
        return penalty.without_rounding(pull, norms * size)

    suspicious = largest(jnp.any(per_row(penalty.is_free(), pull) & (pull != 0)))
    return jax.lax.cond(suspicious, clean, lambda: pull)


def data_norm(problem: Problem) -> Float[Array, ""]:
    """‖y‖ in the metric of the loss."""
    return jnp.sqrt(2 * objective_at_zero(problem))


def reachable(problem: Problem, tol: Float[Array, ""]) -> Float[Array, ""]:
    """The tolerance or, of a KKT violation, what the rounding of the pull allows if that is more.

    The pull is a difference of terms of the size that it has at zero.
    """
    penalty = problem.penalty
    counted = isinstance(penalty, AbstractStrengthPenalty) and not penalty.is_convex
    if needs_dual(problem) or not counted:
        return tol
    strength = penalty.strength
    rounding = jnp.finfo(tol.dtype).resolution * _largest_pull_at_zero(problem)
    floor = jnp.where(strength > 0, rounding / jnp.where(strength > 0, strength, 1.0), 0.0)
    return jax.lax.stop_gradient(jnp.maximum(tol, floor))


def _largest_pull_at_zero(problem: Problem) -> Float[Array, ""]:
    gradient = problem.loss.gradient(problem.predict_zero(), problem.y)
    return jnp.max(jnp.abs(rmatvec(problem.X, gradient)))


def kkt_of(problem: Problem, iterate: Iterate) -> Float[Array, ""]:
    """Largest distance to the subdifferential, relative to the strength.

    Where there is no strength, or it is zero, the unit is the largest pull on the zero vector.
    """
    if iterate.kkt is not None:
        return iterate.kkt
    if isinstance(problem.penalty, Analysis):
        assert iterate.dual is not None
        assert iterate.dual.penalty is not None
        distance = problem.penalty.force_distance(iterate.coef, iterate.dual.penalty)
    else:
        distance = jnp.max(problem.penalty.subdiff_distance(iterate.coef, -iterate.pull))

    def pull_at_zero() -> Float[Array, ""]:
        if iterate.dual is not None:
            return jnp.max(jnp.abs(iterate.pull))
        return _largest_pull_at_zero(problem)

    return distance / _unit_of_violations(problem, pull_at_zero)


def _unit_of_violations(
    problem: Problem, pull_at_zero: Callable[[], Float[Array, ""]]
) -> Float[Array, ""]:
    if isinstance(problem.penalty, AbstractStrengthPenalty):
        strength = problem.penalty.strength
        unit = jax.lax.cond(strength > 0, lambda: strength, pull_at_zero)
    else:
        unit = pull_at_zero()
    return jnp.where(unit > 0, unit, 1.0)


def unit_of_error(problem: Problem) -> Float[Array, ""]:
    """What the error of an iterate is relative to, where the loss has a gradient."""
    if not isinstance(problem.penalty, AbstractConcavePenalty):
        return objective_at_zero(problem)
    return _unit_of_violations(problem, lambda: _largest_pull_at_zero(problem))
