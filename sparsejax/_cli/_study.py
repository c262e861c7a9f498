"""The analysis behind the commands: path, choice of strength, certified fit, timings."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

import jax
import numpy as np

import sparsejax as sj

from ._errors import SolveError, UserError
from ._folds import stratified_folds
from ._numerics import (
    Settings,
    held_out_error,
    held_out_errors,
    path_on,
    problem_on,
    scaled,
    strength_grid,
)
from ._tables import Table

_TRACE_SECONDS = 10.0  # of one solver's trace; slow solvers show what they reached by then
_TUNING_STEPS = 30


class Timing(NamedTuple):
    """Seconds of a step's first call, compilation included, and of a second one."""

    label: str
    first: float
    warm: float


class Choice(NamedTuple):
    """A strength and the held-out mean squared error it gives."""

    label: str
    strength: float
    error: float
    num_features: int


@dataclass(frozen=True)
class Study:
    """Everything that is reported; coefficients in original and in standardised units."""

    table: Table
    settings: Settings
    strength: float
    strength_max: float
    path: Any
    errors: np.ndarray | None
    choices: tuple[Choice, ...]
    fit: sj.Solution
    coef: np.ndarray
    scaled_coef: np.ndarray
    intercept: float
    traces: dict[str, tuple[list[float], list[float]]]
    timings: tuple[Timing, ...]

    def selected(self) -> np.ndarray:
        """Indices of the selected features, the largest standardised coefficient first."""
        order = np.argsort(-np.abs(self.scaled_coef), kind="stable")
        return order[self.scaled_coef[order] != 0]


class _Clock:
    """Runs a step twice, with and without its compilation, and keeps both times."""

    def __init__(self) -> None:
        self.timings: list[Timing] = []

    def __call__(self, label: str, step: Callable[[], Any]) -> Any:
        first, _ = _timed(step)
        warm, result = _timed(step)
        self.timings.append(Timing(label, first, warm))
        return result


def _timed(step: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = jax.block_until_ready(step())
    return time.perf_counter() - start, result


def run_study(table: Table, settings: Settings, rivals: dict[str, Any] | None = None) -> Study:
    """Analyse a table.

    Parameters
    ----------
    table
        What `read_table` returned.
    settings
        What to fit; without an `alpha` the strength is chosen by cross-validation and tuned.
    rivals
        Solvers, by label, whose convergence is traced beside the default one's.

    Raises
    ------
    SolveError
        If a solve did not reach its tolerance.
    UserError
        If no feature has anything to do with the target.
    """
    clock = _Clock()
    design = scaled(table.X, settings)
    everyone = np.ones(table.y.size, bool)
    problem = problem_on(design.X, table.y, everyone, settings)
    strengths = strength_grid(problem)
    if not strengths[0] > 0:
        raise UserError("every feature is constant or unrelated to the target; nothing to select.")
    label = f"path of {strengths.size} strengths"
    path = clock(label, lambda: path_on(problem, strengths, settings))
    errors, choices, strength = None, (), settings.alpha
    if strength is None:
        errors, choices = _choose(clock, design.X, table.y, path, settings)
        strength = min(choices, key=lambda choice: choice.error).strength
    problem = problem_on(design.X, table.y, everyone, settings, strength)
    fit = clock("certified fit", lambda: sj.solve(problem, tol=settings.tol, throw=False))
    _require_success(fit)
    scaled_coef = np.asarray(fit.coef)
    coef = scaled_coef / design.scale
    return Study(
        table=table,
        settings=settings,
        strength=float(strength),
        strength_max=float(strengths[0]),
        path=path,
        errors=errors,
        choices=choices,
        fit=fit,
        coef=coef,
        scaled_coef=scaled_coef,
        intercept=float(fit.intercept) - float(design.mean @ coef),
        traces=_traces(problem, settings.tol, {"default": sj.solvers.Auto()} | (rivals or {})),
        timings=tuple(clock.timings),
    )


def _choose(
    clock: _Clock, X: np.ndarray, y: np.ndarray, path: Any, settings: Settings
) -> tuple[np.ndarray, tuple[Choice, ...]]:
    """Cross-validate on the path's grid, then descend from its best strength between the points."""
    strengths = np.asarray(path.strengths)
    fold = stratified_folds(y, settings.folds)
    errors = clock(
        f"{settings.folds}-fold cross-validation",
        lambda: held_out_errors(X, y, fold, settings, strengths),
    )
    best = int(np.argmin(errors.mean(axis=0)))
    start = problem_on(X, y, fold >= 0, settings, strengths[best])
    tuned = clock("tuning by hypergradient", lambda: _tune(start, settings))
    strength = float(tuned.problem.penalty.strength)
    return errors, (
        Choice(
            "hypergradient",
            strength,
            held_out_error(X, y, fold, settings, strength),
            int(np.count_nonzero(tuned.solution.coef)),
        ),
        Choice(
            "cross-validation",
            float(strengths[best]),
            float(errors.mean(axis=0)[best]),
            int(np.count_nonzero(path.coefs[best])),
        ),
    )


def _tune(start: sj.Problem, settings: Settings) -> Any:
    return sj.bilevel.tune(start, sj.bilevel.KFold(settings.folds), steps=_TUNING_STEPS)


def _require_success(fit: sj.Solution) -> None:
    if not bool(fit.result == sj.RESULTS.successful):
        raise SolveError(
            f"the fit stopped at a relative duality gap of {float(fit.gap):.1e}; nothing was "
            "written. Try a larger strength, or double precision."
        )


def _traces(
    problem: sj.Problem, tol: float, solvers: dict[str, Any]
) -> dict[str, tuple[list[float], list[float]]]:
    """Time each solver to ever smaller tolerances, and note the gaps that it certified."""
    return {label: _trace(problem, tol, solver) for label, solver in solvers.items()}


def _trace(problem: sj.Problem, tol: float, solver: Any) -> tuple[list[float], list[float]]:
    def solve(target: float) -> sj.Solution:
        return sj.solve(problem, solver, tol=target, throw=False)

    times, gaps = [], []
    jax.block_until_ready(solve(1.0).coef)  # compiles
    started = time.perf_counter()
    for target in 10.0 ** np.arange(-1, np.log10(tol) - 0.5, -1):
        runs = [_timed(partial(solve, target)) for _ in range(3)]
        elapsed, solution = min(runs, key=itemgetter(0))
        times.append(elapsed)
        gaps.append(float(solution.gap))
        converged = bool(solution.result == sj.RESULTS.successful)
        if not converged or time.perf_counter() - started > _TRACE_SECONDS:
            break
    return times, gaps
