"""The multi-task Lasso."""

from typing import Any

import numpy as np
from sklearn.base import RegressorMixin

from ..penalties import RowL2
from ._base import FixedStrengthModel
from ._cross_validation import CrossValidatedModel
from ._responses import Tasks


class _RowPenalty:
    """What both have in common."""

    def _response(self) -> Tasks:
        return Tasks()

    def _penalty(self, alpha: Any, l1_ratio: None, num_features: int, dtype: Any) -> RowL2:
        del l1_ratio, num_features
        return RowL2(np.asarray(alpha, dtype))


class MultiTaskLasso(RegressorMixin, _RowPenalty, FixedStrengthModel):
    """Linear regression of several targets on one set of features.

    Minimises ``(1 / (2 * n_samples)) * ||Y - XW||^2_F + alpha * sum_j ||W_j||_2``, where W_j holds
    the coefficients of feature j for all targets.

    Parameters
    ----------
    alpha : float, default=1.0
        Strength of the penalty, in [0, inf).
    fit_intercept, warm_start
        As in :class:`Lasso`.
    tol : float, default=1e-10
        Largest duality gap that counts as converged, as a fraction of ``||Y||^2_F / n_samples``.
    max_iter : int, default=None
        Largest number of steps of the solver; None leaves it to the solver.

    Attributes
    ----------
    coef_ : ndarray of shape (n_targets, n_features)
        Coefficients; a feature has none that is zero or only such.
    intercept_ : ndarray of shape (n_targets,)
        Intercepts.
    dual_gap_ : float
        Duality gap: no other coefficients lower the objective by more.
    n_iter_ : int
        Number of steps of the solver.
    sparse_coef_, n_features_in_, feature_names_in_
        As in :class:`Lasso`.

    See Also
    --------
    MultiTaskLassoCV : Strength by cross-validation.
    TraceNormRegression : Coefficients of low rank instead.

    Examples
    --------
    >>> from sparsejax.estimators import MultiTaskLasso
    >>> model = MultiTaskLasso(alpha=0.1).fit([[0, 1], [1, 2], [2, 4]], [[0, 0], [1, 1], [2, 3]])
    >>> model.coef_.shape
    (2, 2)
    """

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        fit_intercept: bool = True,
        tol: float = 1e-10,
        max_iter: int | None = None,
        warm_start: bool = False,
    ):
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start


class MultiTaskLassoCV(RegressorMixin, _RowPenalty, CrossValidatedModel):
    """The multi-task Lasso with its strength chosen by cross-validation.

    Parameters
    ----------
    eps, alphas, fit_intercept, cv
        As in :class:`LassoCV`.
    tol, max_iter
        As in :class:`MultiTaskLasso`.

    Attributes
    ----------
    alpha_, alphas_
        As in :class:`LassoCV`.
    mse_path_ : ndarray of shape (n_alphas, n_folds)
        Held-out mean squared errors, averaged over targets.
    coef_, sparse_coef_, intercept_, dual_gap_, n_iter_, n_features_in_, feature_names_in_
        Of the fit to all samples with ``alpha_``, as in :class:`MultiTaskLasso`.

    Examples
    --------
    >>> from sklearn.datasets import make_regression
    >>> from sparsejax.estimators import MultiTaskLassoCV
    >>> X, Y = make_regression(n_features=5, n_targets=2, noise=4.0, random_state=0)
    >>> MultiTaskLassoCV(alphas=10, cv=3).fit(X, Y).coef_.shape
    (2, 5)
    """

    def __init__(
        self,
        *,
        eps: float = 1e-3,
        alphas: Any = 100,
        fit_intercept: bool = True,
        tol: float = 1e-10,
        max_iter: int | None = None,
        cv: Any = None,
    ):
        self.eps = eps
        self.alphas = alphas
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter
        self.cv = cv
