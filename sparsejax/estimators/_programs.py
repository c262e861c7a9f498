"""The compiled programs behind the estimators."""

from typing import Any, NamedTuple

import equinox as eqx
from jaxtyping import Array, Bool, Float, Int

from .._certificate import unit_of_gaps
from .._problem import Problem, project_intercept
from .._solution import RESULTS
from .._solve import solve, strength_max
from ..bilevel import Folds, tune
from ..designs import AbstractDesign
from ..losses import AbstractLoss, Squared
from ..penalties import AbstractPenalty, AbstractStrengthPenalty
from ..resampling import CrossValidation, cross_validate
from ..solvers import AbstractSolver


class Stopping(NamedTuple):
    """When to stop: scalar arrays where numbers would do, so that other values compile nothing."""

    tol: Any
    max_iter: Any


class Fit(NamedTuple):
    """One solution; ``gap`` is relative to ``unit``."""

    coef: Float[Array, "p ..."]
    intercept: Float[Array, "..."]
    gap: Float[Array, ""]
    unit: Float[Array, ""]
    num_steps: Int[Array, ""]
    converged: Bool[Array, ""]
    infeasible: Bool[Array, ""]


@eqx.filter_jit
def fit_one(
    design: AbstractDesign,
    y: Float[Array, "n ..."],
    loss: AbstractLoss,
    penalty: AbstractPenalty,
    fit_intercept: bool,
    init: Float[Array, "p ..."],
    stopping: Stopping,
    solver: AbstractSolver | None = None,
) -> Fit:
    """Solve for one target, or for several under one penalty."""
    problem = Problem(design, y, loss, penalty, fit_intercept)
    tol, max_steps = stopping
    solution = solve(problem, solver, tol=tol, max_steps=max_steps, init=init, throw=False)
    return Fit(
        solution.coef,
        solution.intercept,
        solution.gap,
        unit_of_gaps(project_intercept(problem)[0], solution.objective),
        solution.stats["num_steps"],
        solution.result == RESULTS.successful,
        solution.result == RESULTS.infeasible,
    )


@eqx.filter_jit
def largest_strength(
    design: AbstractDesign,
    y: Float[Array, "n ..."],
    loss: AbstractLoss,
    penalty: AbstractStrengthPenalty,
    fit_intercept: bool,
) -> Float[Array, ""]:
    """The smallest strength at which every coefficient is zero."""
    return strength_max(Problem(design, y, loss, penalty, fit_intercept))


@eqx.filter_jit
def held_out_losses(
    design: AbstractDesign,
    y: Float[Array, "n ..."],
    train: Float[Array, "folds n"],
    test: Float[Array, "folds n"],
    loss: AbstractLoss,
    penalty: AbstractStrengthPenalty,
    strengths: Float[Array, " k"],
    fit_intercept: bool,
    stopping: Stopping,
    solver: AbstractSolver | None = None,
) -> CrossValidation:
    """Fit a path on the rows weighted by ``train`` and measure it on those weighted by ``test``."""
    problem = Problem(design, y, loss, penalty, fit_intercept)
    tol, max_steps = stopping
    return cross_validate(
        problem,
        Folds(train, test),
        strengths,
        tol=tol,
        solver=solver,
        max_steps=max_steps,
        throw=False,
    )


class Descent(NamedTuple):
    """The best strength and what was met on the way to it."""

    strength: Float[Array, ""]
    visited: Float[Array, " steps"]
    errors: Float[Array, " steps"]


@eqx.filter_jit
def tune_strength(
    design: AbstractDesign,
    y: Float[Array, " n"],
    train: Float[Array, "folds n"],
    test: Float[Array, "folds n"],
    penalty: AbstractStrengthPenalty,
    fit_intercept: bool,
    stopping: Stopping,
    steps: int,
) -> Descent:
    """Descend along the derivative of the mean held-out error from the penalty's strength."""
    problem = Problem(design, y, Squared(), penalty, fit_intercept)
    tuned = tune(problem, Folds(train, test), steps=steps, where=_strength, tol=stopping.tol)
    history = tuned.history
    # The loss is half the mean square. The solution is not used, so it is not even computed.
    return Descent(_strength(tuned.problem), history.parameters, 2 * history.values)


def _strength(problem: Any) -> Float[Array, ""]:
    return problem.penalty.strength
