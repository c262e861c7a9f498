"""Problems on folds, their paths and held-out errors."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

import sparsejax as sj

from ._errors import SolveError

_NUM_STRENGTHS = 100


@dataclass(frozen=True)
class Settings:
    """What to fit and how precisely; `alpha` None means: choose the strength."""

    tol: float
    path_tol: float
    penalty: str = "l1"
    l1_ratio: float = 0.5
    alpha: float | None = None
    folds: int = 5
    standardise: bool = True

    @classmethod
    def for_precision(cls, float32: bool) -> "Settings":
        """Ask for what the number format can certify."""
        return cls(tol=1e-6, path_tol=1e-5) if float32 else cls(tol=1e-12, path_tol=1e-6)

    def make_penalty(self, strength: Any) -> sj.penalties.AbstractPenalty:
        """Build the penalty at a strength."""
        if self.penalty == "l1":
            return sj.penalties.L1(strength)
        return sj.penalties.ElasticNet(strength, self.l1_ratio)


class Scaled(NamedTuple):
    """A table's design as it is fitted, X·scale + mean being the original."""

    X: np.ndarray
    mean: np.ndarray
    scale: np.ndarray


def scaled(X: np.ndarray, settings: Settings, rows: np.ndarray | None = None) -> Scaled:
    """Standardise columns, if asked to, by the samples in `rows` (all by default).

    The statistics are the library's, which knows constant columns apart from rounding; the small
    dense result is formed once, because the many solves that follow share it.
    """
    if not settings.standardise:
        return Scaled(X, np.zeros(X.shape[1]), np.ones(X.shape[1]))
    weights = None if rows is None else jnp.asarray(rows, X.dtype)
    design = sj.designs.standardise(X, sample_weight=weights)
    mean, scale = np.asarray(design.mean), np.asarray(design.scale)
    scale = np.where(scale == 0, 1.0, scale)
    return Scaled((X - mean) / scale, mean, scale)


def problem_on(
    X: np.ndarray, y: np.ndarray, rows: np.ndarray, settings: Settings, strength: float = 1.0
) -> sj.Problem:
    """Restrict the problem to the samples in `rows`, by zero weights elsewhere.

    All folds then have the same shapes, and share one compilation.
    """
    loss = sj.losses.Squared(sample_weight=rows.astype(X.dtype))
    return sj.Problem(X, y, loss, settings.make_penalty(strength), fit_intercept=True)


def strength_grid(problem: sj.Problem) -> np.ndarray:
    """Space strengths evenly in the logarithm, from the largest that selects anything down."""
    largest = float(sj.strength_max(problem))
    n, p = problem.X.shape
    return largest * np.geomspace(1.0, 1e-2 if p >= n else 1e-3, _NUM_STRENGTHS)


def path_on(problem: sj.Problem, strengths: np.ndarray, settings: Settings) -> Any:
    """Solve the path, or say in one line where it failed."""
    path = sj.path(problem, strengths=jnp.asarray(strengths), tol=settings.path_tol, throw=False)
    failed = np.flatnonzero(np.asarray(path.results != sj.RESULTS.successful))
    if failed.size:
        raise SolveError(
            f"the path stopped at a relative duality gap of {float(path.gaps[failed[0]]):.1e} at "
            f"strength {float(strengths[failed[0]]):.3g}; try double precision."
        )
    return path


def splits(fold: np.ndarray, folds: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield training and held-out samples, as masks; those of fold −1 take no part."""
    for f in range(folds):
        yield (fold != f) & (fold >= 0), fold == f


def held_out_errors(
    X: np.ndarray, y: np.ndarray, fold: np.ndarray, settings: Settings, strengths: np.ndarray
) -> np.ndarray:
    """Mean squared error of each fold at each strength, shape (folds, k)."""
    errors = []
    for train, test in splits(fold, settings.folds):
        path = path_on(problem_on(X, y, train, settings), strengths, settings)
        predicted = np.asarray(path.coefs) @ X[test].T + np.asarray(path.intercepts)[:, None]
        errors.append(np.mean((predicted - y[test]) ** 2, axis=1))
    return np.stack(errors)
