"""What a problem of this bench is: how to make it, who solves it, and an independent judge."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

import sparsejax as sj

Solver = Callable[[float, float], np.ndarray]  # (strength, tol) -> coefficients


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
    X: np.ndarray,
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
