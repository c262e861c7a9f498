"""Dual points of losses and penalties that have no gradient to make them from."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._modules import select
from ._problem import Problem
from .designs._several import rmatvec
from .losses import AbstractQuadraticLoss, AbstractSmoothLoss, SquareRoot
from .losses._profiled import Profiled, unprofiled
from .losses._profiled_kinks import ProfiledKinks
from .penalties import AbstractGroupSeparablePenalty
from .penalties._analysis import Analysis
from .penalties._groups import ratio

_REFINEMENTS = 3
_MAX_CG_STEPS = 1000


class Dual(eqx.Module):
    """A point of the dual problem max −f*(u) − g*(−Xᵀu): what a primal–dual solver ends with.

    Attributes
    ----------
    loss
        u, of the shape of the predictions.
    penalty
        The forces ζ of an ``Analysis`` penalty, g*(Dᵀζ) = 0 where ‖ζ_g‖ ≤ strength; else None.
    """

    loss: Float[Array, "n ..."]
    penalty: Float[Array, " m"] | None


def needs_dual(problem: Problem) -> bool:
    """Whether a certificate takes more than the coefficients."""
    smooth = isinstance(problem.loss, AbstractSmoothLoss)
    return not smooth or isinstance(problem.penalty, Analysis)


def lacks_prox(problem: Problem) -> bool:
    """Whether an intercept takes from a smooth loss the proximal operator that it has."""
    loss = unprofiled(problem.loss)
    profiled = problem.fit_intercept or loss is not problem.loss
    centred = isinstance(loss, AbstractQuadraticLoss | SquareRoot)
    return profiled and isinstance(loss, AbstractSmoothLoss) and not centred


def generic_solver(problem: Problem) -> str:
    """The name of the solver that takes the most, among those that take the problem's kind."""
    return "PrimalDual" if needs_dual(problem) else "FISTA"


def has_gradient(problem: Problem) -> bool:
    """Whether the loss has a gradient, at least wherever it does not vanish."""
    return hasattr(problem.loss, "gradient")


def check_judged_by_coef(problem: Problem, name: str) -> None:
    """``TypeError`` where a certificate takes more than the coefficients."""
    for part in (problem.loss, problem.penalty):
        unknown = part is problem.loss and not has_gradient(problem)
        if unknown or isinstance(part, Analysis):
            raise TypeError(
                f"{name} does not support {type(part).__name__}: coefficients alone give no dual "
                "point. Take `gap` and `kkt` of the solution, which have the solver's."
            )


def first_dual(problem: Problem, predictions: Float[Array, "n ..."]) -> Dual:
    """The gradient of the loss where it has one, else zero, which is always feasible."""
    if has_gradient(problem):
        u = problem.loss.gradient(predictions, problem.y)
    else:
        u = jnp.zeros_like(predictions)
    penalty = problem.penalty
    if not isinstance(penalty, Analysis):
        return Dual(u, None)
    return Dual(u, jnp.zeros(penalty.operator.shape[0], u.dtype))


def feasible_dual(problem: Problem, coef: Float[Array, "p ..."], dual: Dual) -> Dual:
    """The dual point, moved as little as its domain demands onto the constraints without slack.

    These are the optimality of the intercept (Σu = 0), of unpenalised directions (Nᵀ Xᵀu = 0) and,
    for an ``Analysis`` penalty, Xᵀu + Dᵀζ = 0. The correction is −W Aᵀ(A W Aᵀ)⁻¹ A(u, ζ), by
    conjugate gradients; W keeps entries at the ends of their range where they are. What leaves its
    range is brought back before the next of a few refinements, and by none after the last.
    """
    penalty, dual = problem.penalty, within_range(problem, dual)
    if coef.ndim > 1:
        return dual
    hidden = isinstance(problem.loss, Profiled | ProfiledKinks)
    null_space = penalty.null_space(problem.X.shape[1])
    if isinstance(penalty, Analysis):
        if problem.loss.has_dual_on_ray:
            assert dual.penalty is not None
            return Dual(dual.loss, _balancing(problem, dual.loss, dual.penalty))
        return _corrected(problem, dual, hidden, lambda pull: pull, lambda w: w)
    if null_space is not None:
        N = null_space
        return _corrected(problem, dual, hidden, lambda pull: N.T @ pull, lambda x: N @ x)
    if not isinstance(penalty, AbstractGroupSeparablePenalty):
        return _corrected(problem, dual, hidden) if hidden else dual
    pull = -problem.X.rmatvec(dual.loss)
    # Constraints on one side only (nonnegative coefficients) bind where they are violated.
    binding = penalty.is_free() & ((penalty.saturation(coef, pull) > 1) | (coef != 0))
    mask = lambda x: jnp.where(binding, x, 0.0)  # noqa: E731
    correct = lambda: _corrected(problem, dual, hidden, mask, mask)  # noqa: E731
    return jax.lax.cond(jnp.any(binding) | hidden, correct, lambda: dual)


def _corrected(
    problem: Problem,
    dual: Dual,
    hidden: bool,
    project: Callable[[Array], Array] | None = None,
    lift: Callable[[Array], Array] | None = None,
) -> Dual:
    """The dual moved, where its entries may, until nothing is left of ``project``(Xᵀu + Dᵀζ).

    ``lift`` is the transpose of ``project``. With a hidden intercept, nothing is left of Σu either.
    """
    penalty = problem.penalty

    def apply(dual: Dual) -> tuple[Array, Array]:
        total = jnp.sum(dual.loss) if hidden else jnp.zeros((), dual.loss.dtype)
        if project is None:
            return jnp.zeros(0, total.dtype), total
        pull = problem.X.rmatvec(dual.loss)
        if dual.penalty is not None:
            pull = pull + penalty.operator.rmatvec(dual.penalty)
        return project(pull), total

    def transpose(x: tuple[Array, Array]) -> Dual:
        if lift is None:
            return Dual(jnp.broadcast_to(x[1], dual.loss.shape), None)
        w = lift(x[0])
        forces = None if dual.penalty is None else penalty.operator.matvec(w)
        return Dual(problem.X.matvec(w) + (x[1] if hidden else 0.0), forces)

    def refine(_: Any, dual: Dual) -> Dual:
        dual = within_range(problem, dual)
        room = _loss_room(problem, dual.loss)

        def move(x: tuple[Array, Array]) -> Dual:
            step = transpose(x)
            if dual.penalty is None:
                return Dual(room * step.loss, None)
            return Dual(room * step.loss, penalty.force_room(dual.penalty, step.penalty))

        left = residual = apply(dual)
        M = None
        if dual.penalty is not None:
            # Next to nothing is left of a row where all forces are close to their limit. Where they
            # are at it, nothing can be done.
            diagonal = _diagonal(problem, dual, room)
            residual = (jnp.where(diagonal > 0, residual[0], 0.0), residual[1])
            M = lambda x: (ratio(x[0], diagonal), ratio(x[1], jnp.sum(room)))  # noqa: E731
        steps = min(2 * (residual[0].size + hidden) + 10, _MAX_CG_STEPS)
        tol = float(jnp.finfo(residual[0].dtype).eps) ** (1 / _REFINEMENTS)
        x, _ = jax.scipy.sparse.linalg.cg(
            lambda x: apply(move(x)), residual, tol=tol, maxiter=steps, M=M
        )
        finite = jnp.all(jnp.isfinite(x[0])) & jnp.isfinite(x[1])
        x = jax.tree.map(lambda part: jnp.where(finite, part, 0.0), x)
        moved = jax.tree.map(jnp.subtract, dual, move(x))
        if dual.penalty is None:
            return moved
        # Where too little may move for what is left, conjugate gradients end anywhere.
        before, after = (jnp.hypot(*map(jnp.linalg.norm, x)) for x in (left, apply(moved)))
        return select(after <= before, moved, dual)

    return jax.lax.fori_loop(0, _REFINEMENTS, refine, dual)


def _balancing(
    problem: Problem, u: Float[Array, " n"], forces: Float[Array, " m"]
) -> Float[Array, " m"]:
    """The forces ζ moved as little as Xᵀu + Dᵀζ = 0 demands, wherever that takes them.

    For a u that must not move. Scaling both brings the forces back into their range.
    """
    D = problem.penalty.operator
    diagonal = D.square_norms(jnp.ones_like(forces))

    def refine(_: Any, forces: Float[Array, " m"]) -> Float[Array, " m"]:
        left = problem.X.rmatvec(u) + D.rmatvec(forces)
        w, _ = jax.scipy.sparse.linalg.cg(
            lambda w: D.rmatvec(D.matvec(w)),
            jnp.where(diagonal > 0, left, 0.0),
            tol=float(jnp.finfo(u.dtype).eps) ** (1 / _REFINEMENTS),
            maxiter=min(2 * left.size + 10, _MAX_CG_STEPS),
            M=lambda w: ratio(w, diagonal),
        )
        moved = forces - D.matvec(w)
        after = problem.X.rmatvec(u) + D.rmatvec(moved)
        # Without forces against some direction, conjugate gradients end anywhere.
        return jnp.where(jnp.linalg.norm(after) <= jnp.linalg.norm(left), moved, forces)

    return jax.lax.fori_loop(0, _REFINEMENTS, refine, forces)


def within_range(problem: Problem, dual: Dual) -> Dual:
    """The dual without what rounding or a correction put outside the ranges of its entries."""
    loss: Any = unprofiled(problem.loss)
    penalty, u = problem.penalty, dual.loss
    if hasattr(loss, "nearest_dual"):
        u = loss.nearest_dual(u, problem.y)
    return Dual(u, None if dual.penalty is None else penalty.nearest_force(dual.penalty))


def _loss_room(problem: Problem, u: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
    """How freely each entry of u may be corrected."""
    loss: Any = unprofiled(problem.loss)
    if hasattr(loss, "dual_room"):
        return loss.dual_room(u, problem.y)
    return jnp.broadcast_to(loss._row_factors(problem.y) ** 2, u.shape)


def _diagonal(problem: Problem, dual: Dual, room: Float[Array, "n ..."]) -> Float[Array, " p"]:
    """That of the system of an ``Analysis`` penalty: zero where all forces are at their limit."""
    penalty = problem.penalty
    forces = penalty.operator.square_norms(penalty.room_diagonal(dual.penalty))
    return problem.X.square_norms(room) + forces


def residual_of(problem: Problem, coef: Float[Array, " p"], dual: Dual) -> Float[Array, ""]:
    """‖Xᵀu + Dᵀζ‖ times the radius within which an ``Analysis`` certificate holds."""
    assert dual.penalty is not None
    left = rmatvec(problem.X, dual.loss) + problem.penalty.operator.rmatvec(dual.penalty)
    return jnp.linalg.norm(left) * radius(problem, coef)


def radius(problem: Problem, coef: Float[Array, " p"]) -> Float[Array, ""]:
    """2‖w‖ + ‖y‖/max_j‖X_j‖: how far away a better point is looked for at the most."""
    ones = jnp.ones(problem.X.shape[0], coef.dtype)
    column = jnp.sqrt(jnp.max(problem.X.square_norms(ones)))
    # Times and events have not the size of predictions, which are of the order of one.
    y = ones if problem.loss.has_dual_on_ray else problem.y
    natural = jnp.linalg.norm(y) / jnp.where(column > 0, column, 1.0)
    return 2 * jnp.linalg.norm(coef) + natural
