"""Trace-norm regression: synthetic tasks of low rank, the Tecator meats, London's schools."""

import csv
import gzip
from pathlib import Path

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

import sparsejax as sj
from bench.designs import DesignUnavailable
from bench.structures.case import Case, Solver, fractions, solved, squared_gap

# Exam.csv of the R package mlmRev (GPL), which is not ours to ship.
EXAM = Path(__file__).parents[2].parent / "shared" / "data" / "gpl_schools_exam.csv.gz"


def synthetic(n: int = 300, p: int = 200, tasks: int = 30) -> Case:
    """Rank five, with noise."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, p))
    W = rng.normal(size=(p, 5)) @ rng.normal(size=(5, tasks)) / 5
    Y = X @ W + rng.normal(size=(n, tasks))
    return _case(f"trace norm {n}x{p}x{tasks}", X, Y, (p, tasks), sj.designs.as_design(X))


def tecator() -> Case:
    """Water, fat and protein from near-infrared spectra, which are nearly collinear."""
    data = sj.datasets.load_tecator()
    X = np.asarray((data.X - data.X.mean(0)) / data.X.std(0), float)
    Y = np.asarray((data.y - data.y.mean(0)) / data.y.std(0), float)
    return _case("trace norm tecator", X, Y, (X.shape[1], 3), sj.designs.as_design(X))


def schools() -> Case:
    """Exam scores of 4059 pupils; each of 65 schools is a task with a design of its own."""
    if not EXAM.exists():
        raise DesignUnavailable(f"schools: {EXAM} does not exist")
    with gzip.open(EXAM, "rt", newline="") as file:
        pupils = list(csv.DictReader(file))
    labels = [int(pupil["school"]) - 1 for pupil in pupils]
    score = np.array([float(pupil["standLRT"]) for pupil in pupils])
    y = np.array([float(pupil["normexam"]) for pupil in pupils])

    def is_(column: str, value: str) -> np.ndarray:
        return np.array([float(pupil[column] == value) for pupil in pupils])

    bands = [
        is_(column, f"{band} 25%") for column in ("vr", "intake") for band in ("top", "bottom")
    ]
    X = np.stack([np.ones_like(y), score, score**2, score**3, is_("sex", "F"), *bands], 1)
    X = X / np.sqrt(np.mean(X**2, 0))
    n, (p, tasks) = len(y), (X.shape[1], max(labels) + 1)
    places = np.arange(p) * tasks + np.array(labels)[:, None]
    rows = np.repeat(np.arange(n), p)
    sparse = scipy.sparse.csr_array((X.ravel(), (rows, places.ravel())), shape=(n, p * tasks))
    name = f"trace norm schools, {tasks} designs of {p} features"
    return _case(name, sparse, y - y.mean(), (p, tasks), sj.designs.PerTask(X, labels))


def _case(
    name: str,
    X: np.ndarray | scipy.sparse.csr_array,
    Y: np.ndarray,
    shape: tuple[int, int],
    design: sj.designs.AbstractDesign,
) -> Case:
    """Coefficients are a matrix or, for a design per task, its entries row by row."""
    n, start = len(Y), np.zeros((X.shape[1], *Y.shape[1:]))
    penalty_shape = shape if Y.ndim == 1 else None
    largest = scipy.sparse.linalg.svds(X, 1, return_singular_vectors=False)
    step = n / float(np.max(largest)) ** 2

    def singular(c: np.ndarray) -> np.ndarray:
        return np.linalg.svd(c.reshape(shape), compute_uv=False)

    def error(coef: np.ndarray, strength: float) -> float:
        return squared_gap(X, Y, coef, strength, singular)

    def ours(solver: object) -> Solver:
        def solve(strength: float, tol: float) -> np.ndarray:
            penalty = sj.penalties.Nuclear(strength, penalty_shape)
            return solved(sj.Problem(design, Y, penalty=penalty), tol, solver)

        return solve

    def numpy_fista(strength: float, tol: float) -> np.ndarray:
        """FISTA with restarts in NumPy, until its own gap is small."""
        coef = ahead = start
        momentum = 1.0
        for count in range(1, 100_001):
            v = ahead + step * X.T @ (Y - X @ ahead) / n
            left, sizes, right = np.linalg.svd(v.reshape(shape), full_matrices=False)
            shrunk = left * np.maximum(sizes - step * strength, 0) @ right
            new = shrunk.reshape(start.shape)
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
