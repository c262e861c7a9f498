"""The compiled programs behind the estimators."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._path import path
from .._problem import Problem
from .._solution import RESULTS
from .._solve import solve, strength_max
from ..bilevel import Folds, tune
from ..designs import AbstractDesign
from ..losses import Squared
from ..penalties import AbstractPenalty, AbstractStrengthPenalty


class Stopping(NamedTuple):
    """When to stop: scalar arrays where numbers would do, so that other values compile nothing."""

    tol: Any
    max_iter: Any


class Fit(NamedTuple):
    """One solution; ``gap`` is relative to the objective at zero."""

    coef: Float[Array, " p"]
    intercept: Float[Array, ""]
    gap: Float[Array, ""]
    num_steps: Int[Array, ""]
    converged: Bool[Array, ""]


class HeldOut(NamedTuple):
    """Mean squared errors and relative gaps of every fold at every strength."""

    errors: Float[Array, "folds k"]
    gaps: Float[Array, "folds k"]
    converged: Bool[Array, "folds k"]


@eqx.filter_jit
def fit_one(
    design: AbstractDesign,
    y: Float[Array, " n"],
    weights: Float[Array, " n"],
    penalty: AbstractPenalty,
    fit_intercept: bool,
    init: Float[Array, " p"],
    stopping: Stopping,
) -> Fit:
    """Solve for one target."""
    problem = Problem(design, y, Squared(weights), penalty, fit_intercept)
    solution = solve(problem, tol=stopping.tol, max_steps=stopping.max_iter, init=init, throw=False)
    return Fit(
        solution.coef,
        solution.intercept,
        solution.gap,
        solution.stats["num_steps"],
        solution.result == RESULTS.successful,
    )


@eqx.filter_jit
def largest_strength(
    design: AbstractDesign,
    y: Float[Array, " n"],
    weights: Float[Array, " n"],
    penalty: AbstractStrengthPenalty,
    fit_intercept: bool,
) -> Float[Array, ""]:
    """The smallest strength at which every coefficient is zero."""
    return strength_max(Problem(design, y, Squared(weights), penalty, fit_intercept))


@eqx.filter_jit
def held_out_errors(
    design: AbstractDesign,
    y: Float[Array, " n"],
    train: Float[Array, "folds n"],
    test: Float[Array, "folds n"],
    penalty: AbstractStrengthPenalty,
    strengths: Float[Array, " k"],
    fit_intercept: bool,
    stopping: Stopping,
) -> HeldOut:
    """Fit a path on the rows weighted by ``train`` and measure it on those weighted by ``test``.

    Every fold has all rows, with weight zero where it does not use them: one shape, one program,
    and the squared loss averages over the weighted rows alone. Folds run one after the other, and
    only their errors are kept, so that memory holds the coefficients of one path.
    """

    def one_fold(fold: tuple[Array, Array]) -> HeldOut:
        train, test = fold
        problem = Problem(design, y, Squared(train), penalty, fit_intercept)
        solutions = path(
            problem,
            strengths=strengths,
            tol=stopping.tol,
            max_steps=stopping.max_iter,
            throw=False,
        )
        # One at a time: a sparse design would need memory for its entries times the strengths.
        solved = solutions.coefs, solutions.intercepts
        predictions = jax.lax.map(lambda solution: problem.predict(*solution), solved)
        errors = (predictions - y) ** 2 @ (test / jnp.sum(test))
        return HeldOut(errors, solutions.gaps, solutions.results == RESULTS.successful)

    return jax.lax.map(one_fold, (train, test))


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
