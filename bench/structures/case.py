"""What a problem of this bench is: how to make it, who solves it, and an independent judge."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse

import sparsejax as sj
from bench import designs
from bench.environment import adelie_python
from bench.processes import Worker

Solver = Callable[[float, float], np.ndarray]  # (strength, tol) -> coefficients
_LIMIT = 60.0  # seconds for one answer of another process


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


def sklearn_logistic(X: Any, labels: np.ndarray, solver: str) -> Solver:
    """Scikit-learn's logistic regression with an ℓ1 penalty, of two classes or more."""

    def solve(strength: float, tol: float) -> np.ndarray:
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(
            l1_ratio=1.0,
            C=1 / (len(labels) * strength),
            solver=solver,
            fit_intercept=False,
            tol=tol,
            max_iter=10**5,
            random_state=0,
        )
        coef = model.fit(X, labels).coef_
        return coef[0] if len(coef) == 1 else coef.T

    return solve


class Elsewhere:
    """A solver in a process of its own, under a clock of its own."""

    def __init__(self, adapter: str, X: np.ndarray | scipy.sparse.csc_array, y, python: str):
        self.folder = tempfile.TemporaryDirectory()  # as long as this lives
        path = Path(self.folder.name)
        designs.save(designs.Design(adapter, X, y), path)
        self.start = lambda warm_up: Worker(adapter, path, warm_up, python)
        self.worker: Worker | None = None

    def timed(self, strength: float, tol: float) -> tuple[np.ndarray, float]:
        """The coefficients and the seconds they took."""
        if self.worker is None:
            self.worker = self.start({"strength": strength, "tol": tol})
        coef, answer = self.worker.fit(strength, tol, _LIMIT)
        return coef, answer["seconds"]

    def __call__(self, strength: float, tol: float) -> np.ndarray:
        return self.timed(strength, tol)[0]


def adelie(
    adapter: str, X: np.ndarray | scipy.sparse.csc_array, y: np.ndarray
) -> dict[str, Solver]:
    """Adelie as a solver, in a process with another NumPy; none where it cannot be installed."""
    python = adelie_python()
    return {} if python is None else {"adelie": Elsewhere(adapter, X, y, python)}
