"""The elastic net."""

from numbers import Real
from typing import Any, ClassVar

from sklearn.base import RegressorMixin
from sklearn.utils._param_validation import Interval

from ._base import FixedStrengthModel
from ._cross_validation import CrossValidatedModel


class ElasticNet(RegressorMixin, FixedStrengthModel):
    """Linear regression with ℓ1 and squared penalties, solved to a certified duality gap.

    Minimises ``(1 / (2 * n_samples)) * ||y - Xw||^2_2 + alpha * l1_ratio * ||w||_1
    + 0.5 * alpha * (1 - l1_ratio) * ||w||^2_2``.

    Parameters
    ----------
    alpha : float, default=1.0
        Strength of the penalty, in [0, inf).
    l1_ratio : float, default=0.5
        Share of the ℓ1 norm, in [0, 1]: 1 is the Lasso, 0 ridge regression.
    fit_intercept, positive, tol, max_iter, warm_start
        As in :class:`Lasso`.

    Attributes
    ----------
    coef_, sparse_coef_, intercept_, dual_gap_, n_iter_, n_features_in_, feature_names_in_
        As in :class:`Lasso`.

    See Also
    --------
    ElasticNetCV : Strength and ratio by cross-validation.

    Examples
    --------
    >>> from sparsejax.estimators import ElasticNet
    >>> model = ElasticNet(alpha=0.1).fit([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]], [0.0, 1.0, 2.0])
    >>> [round(float(coef), 4) for coef in model.coef_]
    [0.4458, 0.4458]
    """

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        l1_ratio: float = 0.5,
        fit_intercept: bool = True,
        positive: bool = False,
        tol: float = 1e-10,
        max_iter: int = 1000,
        warm_start: bool = False,
    ):
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.positive = positive
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start


class ElasticNetCV(RegressorMixin, CrossValidatedModel):
    """The elastic net with its strength, and if asked its ratio, chosen by cross-validation.

    Every strength of every fold is solved to a certified duality gap, in one compiled call that
    all ratios share.

    Parameters
    ----------
    l1_ratio : float or array-like, default=0.5
        Share of the ℓ1 norm, in [0, 1]; of several, the best is chosen.
    eps, alphas, fit_intercept, positive, tol, max_iter, cv
        As in :class:`LassoCV`; a ratio of zero needs explicit ``alphas``.

    Attributes
    ----------
    alpha_ : float
        The strength with the smallest mean held-out error.
    l1_ratio_ : float
        The ratio with the smallest mean held-out error.
    alphas_ : ndarray of shape (n_alphas,) or (n_l1_ratio, n_alphas)
        The strengths, the largest first.
    mse_path_ : ndarray of shape (n_alphas, n_folds) or (n_l1_ratio, n_alphas, n_folds)
        Held-out mean squared errors.
    coef_, sparse_coef_, intercept_, dual_gap_, n_iter_, n_features_in_, feature_names_in_
        Of the fit to all samples with ``alpha_`` and ``l1_ratio_``, as in :class:`Lasso`.

    Examples
    --------
    >>> from sklearn.datasets import make_regression
    >>> from sparsejax.estimators import ElasticNetCV
    >>> X, y = make_regression(n_features=5, noise=4.0, random_state=0)
    >>> model = ElasticNetCV(l1_ratio=[0.5, 0.9, 1.0], alphas=20, cv=4).fit(X, y)
    >>> model.mse_path_.shape
    (3, 20, 4)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **CrossValidatedModel._parameter_constraints,
        "l1_ratio": [Interval(Real, 0, 1, closed="both"), "array-like"],
    }

    def __init__(
        self,
        *,
        l1_ratio: Any = 0.5,
        eps: float = 1e-3,
        alphas: Any = 100,
        fit_intercept: bool = True,
        positive: bool = False,
        tol: float = 1e-10,
        max_iter: int = 1000,
        cv: Any = None,
    ):
        self.l1_ratio = l1_ratio
        self.eps = eps
        self.alphas = alphas
        self.fit_intercept = fit_intercept
        self.positive = positive
        self.tol = tol
        self.max_iter = max_iter
        self.cv = cv
