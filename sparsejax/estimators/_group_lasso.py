"""The group Lasso."""

from typing import Any, ClassVar

import numpy as np
from sklearn.base import RegressorMixin

from ..penalties import GroupL2
from ._base import FixedStrengthModel
from ._cross_validation import CrossValidatedModel
from ._groups import group_labels


class _GroupPenalty:
    """The penalty of both."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "groups": ["array-like", None],
        "weights": ["array-like", None],
    }

    groups: Any
    weights: Any

    def _penalty(self, alpha: Any, l1_ratio: None, num_features: int, dtype: Any) -> GroupL2:
        del l1_ratio
        labels = group_labels(self.groups, num_features)
        weights = None if self.weights is None else np.asarray(self.weights, dtype)
        return GroupL2(np.asarray(alpha, dtype), labels, weights)


class GroupLasso(RegressorMixin, _GroupPenalty, FixedStrengthModel):
    """Linear regression that takes in or leaves out whole groups of features.

    Minimises ``(1 / (2 * n_samples)) * ||y - Xw||^2_2 + alpha * sum_g weights_g * ||w_g||_2``.

    Parameters
    ----------
    alpha : float, default=1.0
        Strength of the penalty, in [0, inf).
    groups : array-like of shape (n_features,), default=None
        A label for each feature, of any kind; those with equal ones are a group. None makes
        every feature a group of its own: the Lasso.
    weights : array-like of shape (n_groups,), default=None
        Nonnegative factors, in the order of the sorted labels; None stands for the square roots of
        the sizes of the groups. Zero leaves a group unpenalised.
    fit_intercept, tol, max_iter, warm_start
        As in :class:`Lasso`.

    Attributes
    ----------
    coef_, sparse_coef_, intercept_, dual_gap_, n_iter_, n_features_in_, feature_names_in_
        As in :class:`Lasso`.

    See Also
    --------
    GroupLassoCV : Strength by cross-validation.
    SparseGroupLasso : Sparse within groups too.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsejax.estimators import GroupLasso
    >>> X, y = np.vstack([np.eye(4), -np.eye(4)]), np.array([3.0, 4, 0.3, 0.4, -3, -4, -0.3, -0.4])
    >>> GroupLasso(0.5, groups=["a", "a", "b", "b"]).fit(X, y).coef_.round(2).tolist()
    [1.3, 1.74, 0.0, 0.0]
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **FixedStrengthModel._parameter_constraints,
        **_GroupPenalty._parameter_constraints,
    }

    def __init__(
        self,
        alpha: float = 1.0,
        groups: Any = None,
        weights: Any = None,
        *,
        fit_intercept: bool = True,
        tol: float = 1e-10,
        max_iter: int | None = 1000,
        warm_start: bool = False,
    ):
        self.alpha = alpha
        self.groups = groups
        self.weights = weights
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start


class GroupLassoCV(RegressorMixin, _GroupPenalty, CrossValidatedModel):
    """The group Lasso with its strength chosen by cross-validation.

    Parameters
    ----------
    groups, weights
        As in :class:`GroupLasso`.
    eps, alphas, fit_intercept, tol, max_iter, cv
        As in :class:`LassoCV`.

    Attributes
    ----------
    alpha_, alphas_, mse_path_
        As in :class:`LassoCV`.
    coef_, sparse_coef_, intercept_, dual_gap_, n_iter_, n_features_in_, feature_names_in_
        Of the fit to all samples with ``alpha_``, as in :class:`Lasso`.

    Examples
    --------
    >>> from sklearn.datasets import make_regression
    >>> from sparsejax.estimators import GroupLassoCV
    >>> X, y = make_regression(n_features=6, n_informative=3, noise=4.0, random_state=0)
    >>> model = GroupLassoCV(groups=list("aabbcc"), alphas=10, cv=3).fit(X, y)
    >>> model.mse_path_.shape
    (10, 3)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **CrossValidatedModel._parameter_constraints,
        **_GroupPenalty._parameter_constraints,
    }

    def __init__(
        self,
        groups: Any = None,
        weights: Any = None,
        *,
        eps: float = 1e-3,
        alphas: Any = 100,
        fit_intercept: bool = True,
        tol: float = 1e-10,
        max_iter: int | None = 1000,
        cv: Any = None,
    ):
        self.groups = groups
        self.weights = weights
        self.eps = eps
        self.alphas = alphas
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter
        self.cv = cv
