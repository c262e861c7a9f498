"""Regression with coefficients of low rank."""

from typing import Any

import numpy as np
from sklearn.base import RegressorMixin

from ..penalties import Nuclear
from ._base import FixedStrengthModel
from ._responses import Tasks


class TraceNormRegression(RegressorMixin, FixedStrengthModel):
    """Linear regression of several targets on few combinations of the features.

    Minimises ``(1 / (2 * n_samples)) * ||Y - XW||^2_F + alpha * ||W||_*``: the sum of the singular
    values of W, many of which become zero.

    Parameters
    ----------
    alpha : float, default=1.0
        Strength of the penalty, in [0, inf).
    fit_intercept, tol, max_iter, warm_start
        As in :class:`MultiTaskLasso`.

    Attributes
    ----------
    coef_ : ndarray of shape (n_targets, n_features)
        Coefficients, of low rank.
    intercept_, dual_gap_, n_iter_, sparse_coef_, n_features_in_, feature_names_in_
        As in :class:`MultiTaskLasso`.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsejax.estimators import TraceNormRegression
    >>> X, Y = np.eye(3), np.diag([3.0, 2.0, 0.1])
    >>> model = TraceNormRegression(alpha=0.3, fit_intercept=False).fit(X, Y)
    >>> int(np.linalg.matrix_rank(model.coef_, tol=1e-6))
    2
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

    def _response(self) -> Tasks:
        return Tasks()

    def _penalty(self, alpha: Any, l1_ratio: None, num_features: int, dtype: Any) -> Nuclear:
        del l1_ratio, num_features
        return Nuclear(np.asarray(alpha, dtype))
