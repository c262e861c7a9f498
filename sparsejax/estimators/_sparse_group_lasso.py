"""The sparse group Lasso."""

from typing import Any, ClassVar

import numpy as np
from sklearn.base import RegressorMixin

from ..penalties import SparseGroup
from ._base import FixedStrengthModel
from ._groups import group_labels


class SparseGroupLasso(RegressorMixin, FixedStrengthModel):
    """Linear regression that leaves out groups of features, and features of those it takes in.

    Minimises ``(1 / (2 * n_samples)) * ||y - Xw||^2_2 + alpha * l1_ratio * ||w||_1
    + alpha * (1 - l1_ratio) * sum_g sqrt(|g|) * ||w_g||_2``.

    Parameters
    ----------
    alpha : float, default=1.0
        Strength of the penalty, in [0, inf).
    groups : array-like of shape (n_features,), default=None
        A label for each feature, as in :class:`GroupLasso`.
    l1_ratio : float, default=0.5
        Share of the ℓ1 norm, in [0, 1]: 1 is the Lasso, 0 the group Lasso.
    fit_intercept, tol, max_iter, warm_start
        As in :class:`Lasso`.

    Attributes
    ----------
    coef_, sparse_coef_, intercept_, dual_gap_, n_iter_, n_features_in_, feature_names_in_
        As in :class:`Lasso`.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsejax.estimators import SparseGroupLasso
    >>> X, y = np.eye(4), np.array([4.0, 0.2, 0.3, 0.4])
    >>> model = SparseGroupLasso(0.2, groups=[0, 0, 1, 1], fit_intercept=False).fit(X, y)
    >>> (model.coef_ != 0).tolist()
    [True, False, False, False]
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **FixedStrengthModel._parameter_constraints,
        "groups": ["array-like", None],
    }

    def __init__(
        self,
        alpha: float = 1.0,
        groups: Any = None,
        l1_ratio: float = 0.5,
        *,
        fit_intercept: bool = True,
        tol: float = 1e-10,
        max_iter: int | None = 1000,
        warm_start: bool = False,
    ):
        self.alpha = alpha
        self.groups = groups
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start

    def _penalty(self, alpha: Any, l1_ratio: Any, num_features: int, dtype: Any) -> SparseGroup:
        labels = group_labels(self.groups, num_features)
        return SparseGroup(np.asarray(alpha, dtype), labels, np.asarray(l1_ratio, dtype))
