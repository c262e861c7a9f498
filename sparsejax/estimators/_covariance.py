"""What estimators of sparse inverse covariance share."""

import warnings
from numbers import Integral, Real
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from sklearn.covariance import EmpiricalCovariance
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import validate_data

from .._graphical_lasso import SparsePrecision, graphical_lasso
from ._responses import FLOATS

Matrix = Float[np.ndarray, "p p"]


class SparseCovariance(EmpiricalCovariance):
    """Parameters, data and results: a subclass says with which weights it solves."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "alpha": [Interval(Real, 0, None, closed="left")],
        "covariance": [StrOptions({"precomputed"}), None],
        "assume_centered": ["boolean"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
    }

    # scikit-learn's scores and distances ask for it.
    store_precision = True

    alpha: float
    covariance: Any
    tol: float
    max_iter: int

    def _second_moments(self, X: Any) -> Matrix:
        """Check parameters and data; S, and ``location_``.

        Raises
        ------
        ValueError
            For a feature without variance, or a precomputed S that is not symmetric.
        """
        self._validate_params()
        X = validate_data(self, X, dtype=FLOATS, ensure_min_features=2, ensure_min_samples=2)
        self.location_ = np.zeros(X.shape[1], X.dtype)
        if self.covariance == "precomputed":
            S = symmetric("X", X, X.shape[1])
            constant = np.diagonal(S) <= 0
        else:
            constant = ~X.any(axis=0) if self.assume_centered else np.ptp(X, axis=0) == 0
            if not self.assume_centered:
                self.location_ = X.mean(axis=0)
            centred = X - self.location_
            S = symmetric("X", centred.T @ centred / X.shape[0], X.shape[1])
        if constant.any():
            raise ValueError(
                f"Feature {np.flatnonzero(constant)[0]} of `X` has no variance, so that no finite "
                "precision is best: remove constant features."
            )
        return S

    def _solve(self, S: Matrix, weights: Matrix) -> int:
        """Solve with those weights off the diagonal; set the fitted attributes but ``n_iter_``.

        Returns the number of steps.
        """
        # An infinite weight is an exact zero whatever the strength.
        finite = np.where(np.isinf(weights), 0.0, weights)
        slopes = np.where(np.isinf(weights), np.inf, self.alpha * finite).astype(S.dtype)
        np.fill_diagonal(slopes, 0.0)
        with jax.enable_x64(True):
            fit: SparsePrecision = jax.tree.map(
                np.asarray,
                graphical_lasso(
                    jnp.asarray(S),
                    jnp.asarray(slopes),
                    jnp.asarray(self.tol, S.dtype),
                    jnp.asarray(self.max_iter),
                ),
            )
        if not np.isfinite(fit.gap):
            raise ValueError(
                f"No positive definite precision matrix was found in {fit.num_steps} steps: the "
                "empirical covariance is (nearly) singular. Raise `alpha`, those weights that are "
                "zero, or `max_iter`."
            )
        rounding = len(S) * np.finfo(S.dtype).resolution
        if fit.gap > max(self.tol, rounding):
            warnings.warn(
                f"{type(self).__name__} did not converge: the duality gap is {fit.gap:.1e}, which "
                f"is more than tol={self.tol:g}. Raise `max_iter`, `tol` or `alpha`, or use "
                "float64.",
                ConvergenceWarning,
                stacklevel=3,
            )
        self.precision_, self.covariance_ = fit.precision, fit.covariance
        self.dual_gap_ = fit.gap
        return int(fit.num_steps)


def symmetric(name: str, matrix: np.ndarray, num_features: int) -> Matrix:
    """The matrix without the rounding that makes it asymmetric.

    Raises
    ------
    ValueError
        If it is not symmetric, with a row for each feature.
    """
    size = np.abs(matrix[np.isfinite(matrix)]).max(initial=0.0)
    slack = 64 * np.finfo(np.float32).eps * size
    if matrix.shape != (num_features, num_features) or not np.allclose(
        matrix, matrix.T, rtol=0, atol=slack
    ):
        raise ValueError(
            f"`{name}` must be a symmetric matrix, with a row for each of the {num_features} "
            f"features; got shape {matrix.shape}."
        )
    return (matrix + matrix.T) / 2
