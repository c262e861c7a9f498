"""Logistic regression with an ℓ1 penalty: synthetic data, gene expression and text."""

import numpy as np
import scipy.sparse

import sparsejax as sj
from bench import designs
from bench.structures.case import (
    Case,
    Solver,
    adelie,
    fractions,
    regression,
    sklearn_logistic,
    solved,
)


def logistic(n: int = 500, p: int = 5000) -> Case:
    X, y = regression(n, p)
    y = np.where(y > 0, 1.0, -1.0)
    return _logistic_case(f"logistic {n}x{p}", X, y)


def golub() -> Case:
    data = sj.datasets.load_golub()
    X = (data.X - data.X.mean(0)) / data.X.std(0)
    return _logistic_case("logistic golub", np.asfortranarray(X), np.where(data.y > 0, 1.0, -1.0))


def text() -> Case:
    """20 Newsgroups, sci.space against the rest."""
    _, X, y = designs.build("newsgroups")
    return _logistic_case("logistic newsgroups", scipy.sparse.csc_matrix(X), np.sign(y))


def _logistic_case(name: str, X: np.ndarray | scipy.sparse.csc_matrix, y: np.ndarray) -> Case:
    n, design = len(y), sj.designs.as_design(X)

    def error(coef: np.ndarray, strength: float) -> float:
        z = y * (X @ coef)
        u = 1 / (1 + np.exp(z))  # minus the gradient, times n, where y = 1
        pull = X.T @ (y * u) / n
        s = min(1.0, strength / np.abs(pull).max())
        q = s * u
        dual = np.sum(_xlogy(q, u) + _xlogy(1 - q, 1 - u)) / n  # KL(s·u ‖ u)
        return (dual + np.sum(strength * np.abs(coef) - s * coef * pull)) / np.log(2)

    def ours(strength: float, tol: float) -> np.ndarray:
        problem = sj.Problem(design, y, sj.losses.Logistic(), sj.penalties.L1(strength))
        return solved(problem, tol)

    def celer(strength: float, tol: float) -> np.ndarray:
        from celer import LogisticRegression

        model = LogisticRegression(C=1 / (n * strength), tol=tol, max_epochs=10**6)
        return model.fit(X, y).coef_.ravel()

    def skglm(strength: float, tol: float) -> np.ndarray:
        from skglm import GeneralizedLinearEstimator
        from skglm.datafits import Logistic
        from skglm.penalties import L1
        from skglm.solvers import ProxNewton

        solver = ProxNewton(tol=tol, fit_intercept=False, max_iter=1000)
        model = GeneralizedLinearEstimator(Logistic(), L1(strength), solver)
        return model.fit(X, y).coef_.ravel()

    solvers: dict[str, Solver] = {
        "sparsejax": ours,
        "celer": celer,
        "skglm": skglm,
        "sklearn": sklearn_logistic(X, y, "liblinear"),
    }
    solvers |= adelie("adelie-logistic", X, y)
    return Case(name, fractions(np.abs(X.T @ y).max() / (2 * n)), 1e-8, error, solvers)


def _xlogy(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    return np.where(p > 0, p * np.log(np.where(p > 0, p, 1) / q), 0.0)
