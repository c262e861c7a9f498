"""Linear regression with concave penalties, the strength chosen by cross-validation."""

from numbers import Real
from typing import Any, ClassVar

from sklearn.base import RegressorMixin
from sklearn.utils._param_validation import Interval

from ..penalties import MCP, SCAD
from ._concave import Concave
from ._cross_validation import CrossValidatedModel


class MCPRegressionCV(RegressorMixin, Concave, CrossValidatedModel):
    """Linear regression with the minimax concave penalty, its strength by cross-validation.

    Parameters
    ----------
    gamma : float, default=3.0
        As in :class:`MCPRegression`; the same for all strengths.
    eps : float, default=1e-2
        Smallest strength of the grid, as a fraction of the largest.
    alphas : int or array-like, default=50
        As in :class:`LassoCV`. Each strength starts from the solution of the one before.
    fit_intercept, cv
        As in :class:`LassoCV`.
    tol, max_iter
        As in :class:`MCPRegression`.

    Attributes
    ----------
    alpha_, alphas_, mse_path_
        As in :class:`LassoCV`.
    coef_, sparse_coef_, intercept_, dual_gap_, n_iter_, n_features_in_, feature_names_in_
        Of the fit to all samples with ``alpha_``, as in :class:`MCPRegression`.

    Examples
    --------
    >>> from sklearn.datasets import make_regression
    >>> from sparsejax.estimators import MCPRegressionCV
    >>> X, y = make_regression(n_features=5, noise=4.0, random_state=0)
    >>> MCPRegressionCV(alphas=10, cv=3).fit(X, y).mse_path_.shape
    (10, 3)
    """

    _family = MCP
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **CrossValidatedModel._parameter_constraints,
        "gamma": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        gamma: float = 3.0,
        *,
        eps: float = 1e-2,
        alphas: Any = 50,
        fit_intercept: bool = True,
        tol: float = 1e-8,
        max_iter: int | None = None,
        cv: Any = None,
    ):
        self.gamma = gamma
        self.eps = eps
        self.alphas = alphas
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter
        self.cv = cv


class SCADRegressionCV(RegressorMixin, Concave, CrossValidatedModel):
    """Linear regression with the smoothly clipped absolute deviation, by cross-validation.

    Parameters
    ----------
    gamma : float, default=3.7
        As in :class:`SCADRegression`; the same for all strengths.
    eps, alphas, fit_intercept, tol, max_iter, cv
        As in :class:`MCPRegressionCV`.

    Attributes
    ----------
    alpha_, alphas_, mse_path_
        As in :class:`LassoCV`.
    coef_, sparse_coef_, intercept_, dual_gap_, n_iter_, n_features_in_, feature_names_in_
        Of the fit to all samples with ``alpha_``, as in :class:`SCADRegression`.

    Examples
    --------
    >>> from sklearn.datasets import make_regression
    >>> from sparsejax.estimators import SCADRegressionCV
    >>> X, y = make_regression(n_features=5, noise=4.0, random_state=0)
    >>> SCADRegressionCV(alphas=10, cv=3).fit(X, y).mse_path_.shape
    (10, 3)
    """

    _family = SCAD
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **CrossValidatedModel._parameter_constraints,
        "gamma": [Interval(Real, 1, None, closed="neither")],
    }

    def __init__(
        self,
        gamma: float = 3.7,
        *,
        eps: float = 1e-2,
        alphas: Any = 50,
        fit_intercept: bool = True,
        tol: float = 1e-8,
        max_iter: int | None = None,
        cv: Any = None,
    ):
        self.gamma = gamma
        self.eps = eps
        self.alphas = alphas
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter
        self.cv = cv
