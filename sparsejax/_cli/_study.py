"""The analysis behind the commands: path, choice of strength, certified fit, timings."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

import sparsejax as sj

from ._errors import SolveError, UserError
from ._folds import stratified_folds
from ._numerics import (
    Settings,
    held_out_errors,
    path_on,
    problem_on,
    scaled,
    splits,
    strength_grid,
)
from ._tables import Table

_TRACE_SECONDS = 10.0  # of one solver's trace; slow solvers show what they reached in it
_BRIEF = 0.1  # seconds; shorter runs are repeated, for other processes disturb them
_STEPS = 20  # of tuning


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
    """Everything that is reported.

    `coef` is in the table's units, `scaled_coef` in those of the standardised features; `visited`
    are the strengths that tuning went through, and their held-out errors.
    """

    table: Table
    settings: Settings
    strength: float
    strength_max: float
    path: Any
    errors: np.ndarray | None
    choices: tuple[Choice, ...]
    visited: tuple[np.ndarray, np.ndarray] | None
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
    errors, choices, visited, strength = None, (), None, settings.alpha
    if strength is None:
        errors, choices, visited = _choose(clock, design.X, table.y, path, settings)
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
        visited=visited,
        fit=fit,
        coef=coef,
        scaled_coef=scaled_coef,
        intercept=float(fit.intercept) - float(design.mean @ coef),
        traces=_traces(problem, settings.tol, {"default": sj.solvers.Auto()} | (rivals or {})),
        timings=tuple(clock.timings),
    )


def _choose(
    clock: _Clock, X: np.ndarray, y: np.ndarray, path: Any, settings: Settings
) -> tuple[np.ndarray, tuple[Choice, ...], Any]:
    """Cross-validate on the path's grid, then descend from its best strength between the points."""
    strengths = np.asarray(path.strengths)
    fold = stratified_folds(y, settings.folds)
    errors = clock(
        f"{settings.folds}-fold cross-validation",
        lambda: held_out_errors(X, y, fold, settings, strengths),
    )
    means = errors.mean(axis=0)
    best = int(np.argmin(means))
    deviation = errors[:, best].std(ddof=1) / np.sqrt(settings.folds)
    sparse = int(np.flatnonzero(means <= means[best] + deviation)[0])

    def on_grid(label: str, i: int) -> Choice:
        size = int(np.count_nonzero(path.coefs[i]))
        return Choice(label, float(strengths[i]), float(means[i]), size)

    start = problem_on(X, y, fold >= 0, settings, strengths[best])
    train, test = map(np.stack, zip(*splits(fold, settings.folds), strict=True))
    criterion = sj.bilevel.Folds(train.astype(X.dtype), test.astype(X.dtype))
    tol = settings.path_tol
    tuned = clock(
        "tuning by hypergradient", lambda: sj.bilevel.tune(start, criterion, _STEPS, tol=tol)
    )
    # The criterion is the loss, which is half the squared error.
    visited = np.asarray(tuned.history.parameters), 2 * np.asarray(tuned.history.values)
    by_gradient = Choice(
        "hypergradient",
        float(tuned.problem.penalty.strength),
        float(visited[1].min()),
        int(np.count_nonzero(tuned.solution.coef)),
    )
    grid_choices = on_grid("cross-validation", best), on_grid("one standard error", sparse)
    return errors, (by_gradient, *grid_choices), visited


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
        elapsed, solution = _timed(partial(solve, target))
        if elapsed < _BRIEF:
            again = [_timed(partial(solve, target))[0] for _ in range(3)]
            elapsed = min(elapsed, *again)
        times.append(elapsed)
        gaps.append(float(solution.gap))
        converged = bool(solution.result == sj.RESULTS.successful)
        if not converged or time.perf_counter() - started > _TRACE_SECONDS:
            break
    # Whoever reached a smaller gap in less time had reached the larger one by then.
    return np.minimum.accumulate(times[::-1])[::-1].tolist(), gaps
