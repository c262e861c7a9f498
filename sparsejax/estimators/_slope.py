"""SLOPE."""

from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils._param_validation import Interval

from .. import penalties
from ._base import FixedStrengthModel


class SLOPE(RegressorMixin, FixedStrengthModel):
    """Linear regression with a sorted ℓ1 penalty, under which large coefficients pay more.

    Minimises ``(1 / (2 * n_samples)) * ||y - Xw||^2_2 + sum_i alphas_i * |w|_(i)``, where
    |w|_(1) >= |w|_(2) >= ... Correlated features come out with coefficients of one size.

    Parameters
    ----------
    alphas : float or array-like of shape (n_features,), default=0.1
        Nonnegative strengths that do not increase; one number is the Lasso.
    fit_intercept, warm_start
        As in :class:`Lasso`.
    tol, max_iter
        As in :class:`MultiTaskLasso`.

    Attributes
    ----------
    coef_, sparse_coef_, intercept_, dual_gap_, n_iter_, n_features_in_, feature_names_in_
        As in :class:`Lasso`.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsejax.estimators import SLOPE
    >>> X, y = np.eye(3), np.array([4.0, 3.5, 0.2])
    >>> model = SLOPE([0.9, 0.5, 0.1], fit_intercept=False).fit(X, y)
    >>> model.coef_.round(4).tolist()
    [1.65, 1.65, 0.0]
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **FixedStrengthModel._parameter_constraints,
        "alphas": [Interval(Real, 0, None, closed="left"), "array-like"],
    }

    def __init__(
        self,
        alphas: Any = 0.1,
        *,
        fit_intercept: bool = True,
        tol: float = 1e-10,
        max_iter: int | None = None,
        warm_start: bool = False,
    ):
        self.alphas = alphas
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start

    def _penalty(
        self, alpha: None, l1_ratio: None, num_features: int, dtype: Any
    ) -> penalties.SLOPE:
        del alpha, l1_ratio
        strengths = np.asarray(self.alphas, dtype)
        if strengths.ndim and strengths.shape != (num_features,):
            raise ValueError(
                f"`alphas` must be a number, or one for each of the {num_features} features; got "
                f"shape {strengths.shape}."
            )
        return penalties.SLOPE(np.broadcast_to(strengths, num_features).copy())
