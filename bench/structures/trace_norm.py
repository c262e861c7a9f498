"""Trace-norm regression: synthetic tasks of low rank, and the Tecator meats."""

import numpy as np

import sparsejax as sj
from bench.structures.case import Case, Solver, fractions, solved, squared_gap


def synthetic(n: int = 300, p: int = 200, tasks: int = 30) -> Case:
    """Rank five, with noise."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, p))
    W = rng.normal(size=(p, 5)) @ rng.normal(size=(5, tasks)) / 5
    return _case(f"trace norm {n}x{p}x{tasks}", X, X @ W + rng.normal(size=(n, tasks)))


def tecator() -> Case:
    """Water, fat and protein from near-infrared spectra, which are nearly collinear."""
    data = sj.datasets.load_tecator()
    X = (data.X - data.X.mean(0)) / data.X.std(0)
    Y = (data.y - data.y.mean(0)) / data.y.std(0)
    return _case("trace norm tecator", np.asarray(X, float), np.asarray(Y, float))


def _case(name: str, X: np.ndarray, Y: np.ndarray) -> Case:
    n = len(Y)

    def singular(c: np.ndarray) -> np.ndarray:
        return np.linalg.svd(c, compute_uv=False)

    def error(coef: np.ndarray, strength: float) -> float:
        return squared_gap(X, Y, coef, strength, singular)

    def ours(solver: object) -> Solver:
        def solve(strength: float, tol: float) -> np.ndarray:
            return solved(sj.Problem(X, Y, penalty=sj.penalties.Nuclear(strength)), tol, solver)

        return solve

    def numpy_fista(strength: float, tol: float) -> np.ndarray:
        """FISTA with restarts in NumPy, until its own gap is small."""
        step = n / np.linalg.norm(X, 2) ** 2
        coef = ahead = np.zeros((X.shape[1], Y.shape[1]))
        momentum = 1.0
        for count in range(1, 100_001):
            v = ahead + step * X.T @ (Y - X @ ahead) / n
            left, sizes, right = np.linalg.svd(v, full_matrices=False)
            new = left * np.maximum(sizes - step * strength, 0) @ right
            momentum = 1.0 if np.vdot(ahead - new, new - coef) > 0 else momentum
            following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
            coef, ahead = new, new + (momentum - 1) / following * (new - coef)
            momentum = following
            if count % 10 == 0 and error(coef, strength) <= tol:
                break
        return coef

    solvers = {
        "sparsejax": ours(None),
        "sparsejax FISTA": ours(sj.solvers.FISTA()),
        "NumPy FISTA": numpy_fista,
    }
    return Case(name, fractions(singular(X.T @ Y).max() / n), 1e-8, error, solvers)
