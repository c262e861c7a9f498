"""The protocol: scan each solver's tolerance for a target, then time the cheapest setting.

Two criteria. "gap": the residual's duality gap, which certifies the result without knowing the
solution; the one that counts. "objective": the distance to the best lower bound that any solver
of the cell provided, kinder to solvers that build no dual point, since near the solution the
residual's gap is first order in the error and the objective second order.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from bench.processes import OutOfTime, SolverError, Worker

TARGETS = (1e-4, 1e-6, 1e-10)
CRITERIA = ("gap", "objective")
TOLERANCES = tuple(10.0**-k for k in range(2, 15))


class Trial(NamedTuple):
    """One run: its setting, its seconds in the worker and the judge's verdict on the result."""

    tol: float
    seconds: float
    gap: float
    objective: float
    nnz: int
    claimed: Mapping | None


class Timing(NamedTuple):
    """Median seconds of the cheapest setting that reaches the target; NaN if none does."""

    seconds: float
    gap: float
    tol: float
    repeats: int


Key = tuple[str, float, str]  # solver, target, criterion
Run = Callable[[float, float], Trial]  # (tol, budget) -> Trial, or raises


def scan(
    run: Run, budget: float, tolerances=TOLERANCES, target: float = TARGETS[-1]
) -> tuple[list[Trial], str]:
    """Tighten the tolerance until the target is reached; why it ended, if it was not."""
    trials: list[Trial] = []
    end = time.monotonic() + budget
    for tol in tolerances:
        try:
            trials.append(run(tol, end - time.monotonic()))
        except (OutOfTime, SolverError) as error:
            return trials, str(error)
        if trials[-1].gap <= target:
            return trials, ""
        if time.monotonic() > end:
            return trials, f"budget of {budget:.0f} s spent"
    return trials, "tolerances exhausted"


def settings(scans: Mapping[str, list[Trial]], targets, criteria=CRITERIA) -> dict[Key, Trial]:
    """The fastest trial of each solver that reached each target by each criterion."""
    trials = [trial for trials in scans.values() for trial in trials]
    bound = max((trial.objective - trial.gap for trial in trials), default=-np.inf)
    chosen = {}
    for solver, trials in scans.items():
        for target in targets:
            for criterion in criteria:
                good = [t for t in trials if _error(t, criterion, bound) <= target]
                if good:
                    fastest = min(good, key=lambda trial: trial.seconds)
                    chosen[solver, target, criterion] = fastest
    return chosen


def _error(trial: Trial, criterion: str, bound: float) -> float:
    return trial.gap if criterion == "gap" else min(trial.gap, trial.objective - bound)


def repeat_interleaved(
    runs: Mapping[str, Run], settings: Mapping[Key, Trial], repeats: int, budget: float
) -> dict[Key, Timing]:
    """Median seconds per key, round by round so that noise hits everyone alike.

    A setting that has used up the budget keeps the repeats it has; one whose result got worse
    than in the scan (by more than a factor of two) has an infinite time in that round.
    """
    samples: dict[Key, list[float]] = {key: [] for key in settings}
    for _ in range(repeats):
        done: dict[tuple[str, float], float] = {}
        for key, trial in settings.items():
            if sum(samples[key]) > budget:
                continue
            setting = (key[0], trial.tol)
            if setting not in done:  # two targets may share a setting
                done[setting] = _run_again(runs[key[0]], trial, budget)
            samples[key].append(done[setting])
    return {
        key: Timing(statistics.median(samples[key]), trial.gap, trial.tol, len(samples[key]))
        for key, trial in settings.items()
    }


def _run_again(run: Run, trial: Trial, budget: float) -> float:
    try:
        again = run(trial.tol, 3 * budget)
    except (OutOfTime, SolverError):
        return np.inf
    return again.seconds if again.gap <= 2 * trial.gap + 1e-15 else np.inf


def fit_run(worker: Worker, strength: float, judge: Callable) -> Run:
    """Runs of ``worker`` at one strength, judged by ``judge(coef)``."""

    def run(tol: float, budget: float) -> Trial:
        coef, answer = worker.fit(strength, tol, budget)
        verdict = judge(coef)
        return Trial(tol, answer["seconds"], *verdict, answer["claimed"])

    return run


def path_run(worker: Worker, strengths: np.ndarray, judge: Callable) -> Run:
    """Runs of ``worker`` over a path, judged by the worst gap on it."""

    def run(tol: float, budget: float) -> Trial:
        coefs, answer = worker.path(strengths, tol, budget)
        verdicts = [judge(coef, strength) for coef, strength in zip(coefs, strengths, strict=True)]
        worst = max(verdicts, key=lambda verdict: verdict.gap)
        return Trial(tol, answer["seconds"], *worst, None)

    return run
