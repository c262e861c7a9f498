"""Proximal Newton: a smooth loss as a sequence of weighted least squares."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._backtracking import backtracked
from .._certificate import (
    Iterate,
    has_fallen,
    iterate_at,
    objective_at,
    unit_of_error,
)
from .._dual import Dual
from .._problem import Problem
from ..designs._contrasted import Contrasted
from ..losses import AbstractPointwiseLoss, AbstractSmoothLoss
from ..losses._tilted import bare
from ..penalties import AbstractNewtonPenalty, AbstractSeparablePenalty, Analysis, RowL2
from ._base import AbstractSolver, check_convex, is_concave, unfinished_at
from ._coordinate_descent import CoordinateDescent
from ._first_solution import first_solution
from ._fista import FISTA
from ._gram_coordinate_descent import GramCoordinateDescent
from ._gram_fista import GramFISTA
from ._models import has_classes, model_of, shape_of_model
from ._primal_dual import PrimalDual
from ._semismooth_newton import SemismoothNewton
from ._widths import MIDDLE
from ._working_set import WorkingSet

_PATIENCE = 5  # steps without progress that mean rounding has been reached
_HALVINGS = 40
_MOST = 1000  # steps of a model where nothing but their number ends them
_FORCING = 0.01  # gap of a model's solution, relative to that of the point it was made at ...
_EARLY = 1e-3  # the same for the model's own gap, while features are still to come ...
_TIGHTER = 0.01  # ... and smaller by this after every step that was of no use

_DAMPING = 4.0  # by which a model that has misled is bent upwards

_WORKING_SET = WorkingSet()  # making one takes as long as a small solve
# Of models that will change, a few sweeps find most of the support for less than Newton's method.
_OF_MODELS = WorkingSet(SemismoothNewton(approach=GramCoordinateDescent(max_iterations=16)))


class _State(eqx.Module):
    iterate: Iterate
    steps: Int[Array, ""]
    inner: Int[Array, ""]
    objective: Float[Array, ""]
    best_error: Float[Array, ""]
    stalled: Int[Array, ""]
    damping: Float[Array, ""]  # factor of the model's curvature, at least one


class ProxNewton(AbstractSolver):
    """Replace the loss by its quadratic model, solve that with the penalty, search along the way.

    The model at the predictions z is Σ h_i (t_i − z'_i)²/2 with h = ∇²f(z) (its diagonal, or a
    diagonal matrix above it) and t = z − ∇f(z)/h: a weighted least-squares problem, which the
    inner solver knows. For Cox z is first seen through contrasts of each sample with the mean of
    those after it, weighted by their hazards: there its Hessian is diagonal. Likewise for
    Multinomial through contrasts of classes, so that the model has a single target. The step is
    halved until the objective decreases. Gaps are those of the problem itself. A step of
    ``max_steps`` is one model.

    Concave penalties whose slope at zero is finite are kept in the model, begun at the Lasso and
    solved to a stationary point. Since the objective need not fall towards that, models of which
    no step was of use are followed by others of larger curvature.

    Parameters
    ----------
    inner
        Solves the models; by default ``WorkingSet()`` where the penalty allows, else, and for
        several targets, ``FISTA()``, and ``PrimalDual()`` for Cox with ``Analysis``.

    Notes
    -----
    Lee, Sun & Saunders (SIAM J. Optim. 2014); as in glmnet (Friedman et al., JSS 2010).
    """

    inner: AbstractSolver | None = None

    default_max_steps: ClassVar[int] = 1000

    def check(self, problem: Problem) -> None:
        if not is_concave(problem) or problem.penalty.steep:
            check_convex(self, problem)
        name = type(problem.loss).__name__
        if not isinstance(problem.loss, AbstractSmoothLoss):
            raise TypeError(
                f"ProxNewton does not support {name}: it has no gradient. Use PrimalDual()."
            )
        model = shape_of_model(problem)
        several = problem.loss.outputs(problem.y) and not has_classes(problem)
        if several and not isinstance(bare(problem.loss), AbstractPointwiseLoss):
            raise TypeError(
                f"ProxNewton does not support {name}, whose outputs depend on each other: "
                "use FISTA()."
            )
        if model.penalty is None:
            raise TypeError(
                f"ProxNewton does not support {name} with {type(problem.penalty).__name__}: use "
                "FISTA()."
            )
        self._solver(problem, model).check(model)

    def _solver(self, problem: Problem, model: Problem) -> AbstractSolver:
        if self.inner is not None:
            return self.inner
        if model.loss.outputs(model.y):
            return FISTA()
        if isinstance(problem.penalty, Analysis) and problem.loss.has_dual_on_ray:
            return PrimalDual()
        solver = quadratic_solver(model)
        single = isinstance(model.penalty, AbstractSeparablePenalty)
        # For few features that is not worth a third of the time to compile.
        many = model.X.shape[1] > MIDDLE
        return _OF_MODELS if many and single and solver is _WORKING_SET else solver

    def run(
        self, problem: Problem, start: Iterate, tol: Float[Array, ""], max_steps: Int[Array, ""]
    ) -> tuple[Iterate, dict[str, Any]]:
        zero = jnp.array(0)

        def unfinished(state: _State) -> Bool[Array, ""]:
            going = unfinished_at(problem, state.iterate, tol, state.steps)
            return going & (state.steps < max_steps) & (state.stalled < patience)

        def step(state: _State) -> _State:
            coef, predictions, forces, inner = self._solve_model(problem, state, tol)
            new, objective = _search(
                problem, state.iterate, state.objective, coef, predictions, forces
            )
            # The gap need not shrink at every step, nor be finite far from the solution.
            fallen = has_fallen(objective, state.objective)
            progress = (new.error < 0.9 * state.best_error) | fallen
            damping = state.damping
            if concave:
                calmer = jnp.maximum(damping / _DAMPING, 1.0)
                damping = jnp.where(progress, calmer, damping * _DAMPING)
            return _State(
                new,
                state.steps + 1,
                state.inner + inner,
                objective,
                # That of the last progress: slow convergence is progress after several steps.
                jnp.where(progress, jnp.minimum(new.error, state.best_error), state.best_error),
                jnp.where(progress, 0, state.stalled + 1),
                damping,
            )

        concave = is_concave(problem)
        patience = 2 * _PATIENCE if concave else _PATIENCE
        objective = objective_at(problem, start.coef, start.predictions)
        first = _State(start, zero, zero, objective, start.error, zero, jnp.ones_like(objective))
        final = jax.lax.while_loop(unfinished, step, first)
        return final.iterate, {"num_steps": final.steps, "num_inner_steps": final.inner}

    def _solve_model(
        self, problem: Problem, state: _State, tol: Float[Array, ""]
    ) -> tuple[Float[Array, " p"], Float[Array, " n"], Float[Array, " m"] | None, Int[Array, ""]]:
        """The minimiser of the model at the iterate, its predictions, and the steps it took.

        With the forces of an ``Analysis`` penalty.
        """
        iterate = state.iterate
        seen = model_of(problem, iterate, state.damping)
        model, start = seen.problem, seen.start(iterate)
        # In the units of the model: no more digits than the next one will throw away.
        unit = unit_of_error(problem) / unit_of_error(model)
        goal = jnp.maximum(_FORCING * iterate.error, 0.3 * tol) * unit
        # A gap may be far above what is left to gain: a point of a smaller one is then no better.
        tighter = _TIGHTER ** state.stalled.astype(goal.dtype)
        goal = goal * tighter
        # But some progress at least: the gap of the problem may be larger than that of its model,
        # or infinite because no dual point is known.
        # Targets far away, where the loss is straight, make the model's own unit large: what is
        # rounding in that may be all that is left to gain in the problem's.
        rounding = jnp.finfo(goal.dtype).resolution * jnp.minimum(unit, 1.0)
        goal = jnp.minimum(goal, 0.1 * start.error)
        blind = goal <= rounding
        goal = jnp.maximum(goal, rounding)
        solver = self._solver(problem, model)
        if isinstance(solver, WorkingSet):
            # Enlarged from one model to the next, not for a model that will change.
            early = _EARLY * tighter
            coef, predictions, count = first_solution(solver, model, start, 0.3 * goal, early)
            return *seen.found(problem, coef, predictions), None, count
        most = jnp.array(solver.default_max_steps)
        if isinstance(model.X, Contrasted) and _counts_what_is_left(problem):
            # Of that the problem's gap counts the size, its model's the square: where that is
            # rounding, there may still be something to gain.
            goal, most = jnp.where(blind, -1.0, goal), jnp.where(blind, _MOST, most)
        found, stats = solver.run(model, start, goal, most)
        forces = None if found.dual is None else found.dual.penalty
        return *seen.found(problem, found.coef, found.predictions), forces, stats["num_steps"]


def _counts_what_is_left(problem: Problem) -> bool:
    """Whether gaps have a term for what the forces of the penalty leave of the pull."""
    if isinstance(problem.penalty, Analysis):
        return True
    return problem.penalty.null_space(problem.X.shape[1]) is not None


def quadratic_solver(problem: Problem) -> AbstractSolver:
    """The solver of choice for least squares with the problem's penalty."""
    penalty, tasks = problem.penalty, problem.loss.outputs(problem.y)
    if is_concave(problem):
        return CoordinateDescent() if penalty.steep else WorkingSet(GramCoordinateDescent())
    if isinstance(penalty, AbstractNewtonPenalty) and not tasks:
        return _WORKING_SET
    if not isinstance(penalty, RowL2):  # of several targets, whole rows must come and go
        return FISTA()
    # One row after the other takes fewer products, but an accelerator only likes large ones.
    on_cpu = jax.default_backend() == "cpu"
    return WorkingSet(GramCoordinateDescent() if on_cpu else GramFISTA())


def _search(
    problem: Problem,
    iterate: Iterate,
    before: Float[Array, ""],
    coef: Float[Array, " p"],
    predictions: Float[Array, " n"],
    forces: Float[Array, " m"] | None,
) -> tuple[Iterate, Float[Array, ""]]:
    """The longest of the steps 1, ½, ¼, … towards ``coef`` that does not raise the objective."""

    def between(length: Float[Array, ""]) -> tuple[Float[Array, " p"], Float[Array, " n"]]:
        # Written so that a full step keeps the zeros of ``coef``.
        return (
            length * coef + (1 - length) * iterate.coef,
            length * predictions + (1 - length) * iterate.predictions,
        )

    slack = 8 * jnp.finfo(before.dtype).eps * jnp.abs(before)

    length, objective, _ = backtracked(
        lambda length: objective_at(problem, *between(length)),
        lambda _, objective: objective <= before + slack,  # NaN is uphill
        _HALVINGS,
        before.dtype,
    )
    coef, predictions = between(length)
    dual = None
    if forces is not None:
        dual = Dual(problem.loss.gradient(predictions, problem.y), forces)
    return iterate_at(problem, coef, predictions, dual), objective
