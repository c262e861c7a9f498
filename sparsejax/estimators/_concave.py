"""Linear regression with concave penalties."""

import warnings
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval

from ..penalties import MCP, SCAD, AbstractConcavePenalty, CappedL1
from ._base import FixedStrengthModel


class Concave:
    """What all have in common: they end at a stationary point, since no gap is known."""

    tol: float
    _family: ClassVar[Any]  # the penalty, of a strength and a shape
    _shape: ClassVar[str] = "gamma"  # the name of the latter here

    def _penalty(
        self, alpha: Any, l1_ratio: None, num_features: int, dtype: Any
    ) -> AbstractConcavePenalty:
        del l1_ratio, num_features
        shape = np.asarray(getattr(self, self._shape), dtype)
        return self._family(np.asarray(alpha, dtype), shape)

    def _tol_unit(self) -> float:
        return 1.0  # a violation is relative to the strength already

    def _warn_unless(self, converged: np.ndarray, gaps: np.ndarray) -> None:
        del gaps
        if not np.all(converged):
            warnings.warn(
                f"{type(self).__name__} did not converge: a subgradient of the objective is larger "
                f"than tol={self.tol:g} times alpha. Raise `max_iter` or `tol`, scale the "
                "features, or use float64.",
                ConvergenceWarning,
                stacklevel=2,
            )


class MCPRegression(RegressorMixin, Concave, FixedStrengthModel):
    """Linear regression with the minimax concave penalty, which leaves large coefficients alone.

    Minimises ``(1 / (2 * n_samples)) * ||y - Xw||^2_2 + sum_j h(|w_j|)``, where h has the slope
    ``max(alpha - |w_j| / gamma, 0)``, to a stationary point reached from the Lasso.

    Parameters
    ----------
    alpha : float, default=1.0
        Strength of the penalty: its slope at zero.
    gamma : float, default=3.0
        How slowly the slope fades, above 0; the Lasso as it grows.
    fit_intercept, warm_start
        As in :class:`Lasso`.
    tol : float, default=1e-8
        Largest distance to the subdifferential that counts as converged, as a fraction of alpha.
    max_iter : int or None, default=None
        Largest number of steps of the solver; None leaves it to the solver.

    Attributes
    ----------
    coef_, sparse_coef_, intercept_, n_iter_, n_features_in_, feature_names_in_
        As in :class:`Lasso`.
    dual_gap_ : float or ndarray of shape (n_targets,)
        NaN: the problem is not convex and has no duality gap.

    See Also
    --------
    MCPRegressionCV : Strength by cross-validation.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsejax.estimators import MCPRegression
    >>> X, y = np.vstack([np.eye(3), -np.eye(3)]), np.array([4.0, 0.9, 0.2, -4.0, -0.9, -0.2])
    >>> MCPRegression(0.2, gamma=6.0).fit(X, y).coef_.round(3).tolist()
    [4.0, 0.6, 0.0]
    """

    _family = MCP
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **FixedStrengthModel._parameter_constraints,
        "gamma": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        alpha: float = 1.0,
        gamma: float = 3.0,
        *,
        fit_intercept: bool = True,
        tol: float = 1e-8,
        max_iter: int | None = None,
        warm_start: bool = False,
    ):
        self.alpha = alpha
        self.gamma = gamma
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start


class SCADRegression(RegressorMixin, Concave, FixedStrengthModel):
    """Linear regression with the smoothly clipped absolute deviation.

    As :class:`MCPRegression`, but h keeps the slope alpha up to ``|w_j| = alpha`` before it falls
    to zero at ``gamma * alpha``.

    Parameters
    ----------
    alpha : float, default=1.0
        Strength of the penalty: its slope at zero.
    gamma : float, default=3.7
        How slowly the slope fades, above 1; the Lasso as it grows.
    fit_intercept, tol, max_iter, warm_start
        As in :class:`MCPRegression`.

    Attributes
    ----------
    coef_, sparse_coef_, intercept_, dual_gap_, n_iter_, n_features_in_, feature_names_in_
        As in :class:`MCPRegression`.

    See Also
    --------
    SCADRegressionCV : Strength by cross-validation.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsejax.estimators import SCADRegression
    >>> X, y = np.vstack([np.eye(3), -np.eye(3)]), np.array([4.0, 0.7, 0.2, -4.0, -0.7, -0.2])
    >>> SCADRegression(0.2).fit(X, y).coef_.round(3).tolist()
    [4.0, 0.1, 0.0]
    """

    _family = SCAD
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **FixedStrengthModel._parameter_constraints,
        "gamma": [Interval(Real, 1, None, closed="neither")],
    }

    def __init__(
        self,
        alpha: float = 1.0,
        gamma: float = 3.7,
        *,
        fit_intercept: bool = True,
        tol: float = 1e-8,
        max_iter: int | None = None,
        warm_start: bool = False,
    ):
        self.alpha = alpha
        self.gamma = gamma
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start


class CappedL1Regression(RegressorMixin, Concave, FixedStrengthModel):
    """Linear regression with an absolute value that is cut off at a threshold.

    As :class:`MCPRegression`, but ``h(|w|) = alpha * min(|w|, threshold)``: a coefficient is
    shrunk as by the Lasso, or not at all.

    Parameters
    ----------
    alpha : float, default=1.0
        Strength of the penalty: its slope at zero.
    threshold : float, default=1.0
        The size, above 0, beyond which a coefficient is left alone.
    fit_intercept, tol, max_iter, warm_start
        As in :class:`MCPRegression`.

    Attributes
    ----------
    coef_, sparse_coef_, intercept_, dual_gap_, n_iter_, n_features_in_, feature_names_in_
        As in :class:`MCPRegression`.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsejax.estimators import CappedL1Regression
    >>> X, y = np.eye(3), np.array([4.0, 0.9, 0.2])
    >>> CappedL1Regression(0.2, fit_intercept=False).fit(X, y).coef_.round(3).tolist()
    [4.0, 0.3, 0.0]
    """

    _family = CappedL1
    _shape = "threshold"
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **FixedStrengthModel._parameter_constraints,
        "threshold": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        alpha: float = 1.0,
        threshold: float = 1.0,
        *,
        fit_intercept: bool = True,
        tol: float = 1e-8,
        max_iter: int | None = None,
        warm_start: bool = False,
    ):
        self.alpha = alpha
        self.threshold = threshold
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
