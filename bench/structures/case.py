"""What a problem of this bench is: how to make it, who solves it, and an independent judge."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.sparse

import sparsejax as sj
from bench import designs
from bench.environment import adelie_python
from bench.processes import Worker

Solver = Callable[[float, float], "np.ndarray | Timed"]  # (strength, tol) -> coefficients
_LIMIT = 60.0  # seconds for one answer of another process


class Timed(NamedTuple):
    """Coefficients of a solver that runs elsewhere, under a clock of its own."""

    coef: np.ndarray
    seconds: float


class Case(NamedTuple):
    """A problem at several strengths."""

    name: str
    strengths: Mapping[str, float]  # by what they are called
    target: float
    error: Callable[[np.ndarray, float], float]  # (coefficients, strength), 0 at a solution
    solvers: Mapping[str, Solver]


RATIOS = (2, 10, 20, 50, 100)


def fractions(strength_max: float, ratios: tuple[int, ...] = RATIOS) -> dict[str, float]:
    """λmax/ratio for every ratio."""
    return {f"λmax/{ratio}": strength_max / ratio for ratio in ratios}


def regression(n: int, p: int) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian features of which fifty matter."""
    rng = np.random.default_rng(0)
    X = np.asfortranarray(rng.normal(size=(n, p)))
    w = np.zeros(p)
    w[:50] = rng.normal(size=50)
    return X, X @ w + 0.5 * rng.normal(size=n)


def squared_gap(
    X: np.ndarray | scipy.sparse.csr_array,
    y: np.ndarray,
    coef: np.ndarray,
    strength: float,
    norms: Callable[[np.ndarray], np.ndarray],
    dual_norms: Callable[[np.ndarray], np.ndarray] | None = None,
) -> float:
    """The relative gap for ‖y − Xw‖²/(2n) + strength·Σ‖w_g‖, as a sum of small terms."""
    n = len(y)
    residual = y - X @ coef
    pull = X.T @ residual / n
    s = min(1.0, strength / (dual_norms or norms)(pull).max())
    fit = np.sum(residual**2) / (2 * n)
    terms = strength * norms(coef).sum() - s * np.sum(coef * pull)
    return ((1 - s) ** 2 * fit + terms) / (np.sum(y**2) / (2 * n))


def solved(problem: sj.Problem, tol: float, solver: object = None) -> np.ndarray:
    """Our coefficients, whether converged or not: the judge decides."""
    return np.asarray(sj.solve(problem, solver or sj.solvers.Auto(), tol=tol, throw=False).coef)


def adelie(
    adapter: str, X: np.ndarray | scipy.sparse.csc_array, y: np.ndarray
) -> dict[str, Solver]:
    """Adelie as a solver, in a process with another NumPy; none where it cannot be installed."""
    python = adelie_python()
    if python is None:
        return {}
    folder = tempfile.TemporaryDirectory()
    designs.save(designs.Design(adapter, X, y), Path(folder.name))
    workers: list[Worker] = []

    def solve(strength: float, tol: float) -> Timed:
        if not workers:
            warm_up = {"strength": strength, "tol": tol}
            workers.append(Worker(adapter, Path(folder.name), warm_up, python))
        coef, answer = workers[0].fit(strength, tol, _LIMIT)
        return Timed(coef, answer["seconds"])

    return {"adelie": solve}
