"""The Lasso."""

from typing import Any

from sklearn.base import RegressorMixin

from ._base import FixedStrengthModel
from ._cross_validation import CrossValidatedModel


class Lasso(RegressorMixin, FixedStrengthModel):
    """Linear regression with an ℓ1 penalty, solved to a certified duality gap.

    Minimises ``(1 / (2 * n_samples)) * ||y - Xw||^2_2 + alpha * ||w||_1``.

    Parameters
    ----------
    alpha : float, default=1.0
        Strength of the penalty, in [0, inf); 0 is least squares.
    fit_intercept : bool, default=True
        Whether to fit an unpenalised intercept.
    positive : bool, default=False
        Whether to forbid negative coefficients.
    tol : float, default=1e-10
        Largest duality gap that counts as converged, as a fraction of ``||y||^2 / n_samples``
        (of the centred y with an intercept): scikit-learn's measure with a smaller default,
        because the last digits cost the solver little. Never taken below rounding.
    max_iter : int, default=1000
        Largest number of working sets; a handful is usual.
    warm_start : bool, default=False
        Whether ``fit`` starts from the coefficients of the call before.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        Coefficients, with exact zeros.
    sparse_coef_ : sparse array of shape (1, n_features) or (n_targets, n_features)
        The same as a SciPy sparse array.
    intercept_ : float or ndarray of shape (n_targets,)
        Intercept.
    dual_gap_ : float or ndarray of shape (n_targets,)
        Duality gap: no other coefficients lower the objective by more.
    n_iter_ : int or list of int
        Number of working sets solved.
    n_features_in_ : int
        Number of features seen by ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where X had names that are all strings.

    See Also
    --------
    LassoCV : Strength by cross-validation on a grid.
    LassoTuned : Strength by gradient descent on the held-out error.
    ElasticNet : With a squared penalty beside the ℓ1 norm.

    Examples
    --------
    >>> from sparsejax.estimators import Lasso
    >>> model = Lasso(alpha=0.1).fit([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]], [0.0, 1.0, 2.0])
    >>> float(model.coef_.sum())
    0.85
    >>> float(model.intercept_)
    0.15
    """

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        fit_intercept: bool = True,
        positive: bool = False,
        tol: float = 1e-10,
        max_iter: int = 1000,
        warm_start: bool = False,
    ):
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.positive = positive
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start


class LassoCV(RegressorMixin, CrossValidatedModel):
    """The Lasso with its strength chosen by cross-validation.

    Every strength of every fold is solved to a certified duality gap, in one compiled call.

    Parameters
    ----------
    eps : float, default=1e-3
        Smallest strength of the grid, as a fraction of the largest.
    alphas : int or array-like, default=100
        Number of strengths on a geometric grid that starts where every coefficient is zero, or
        the strengths themselves.
    fit_intercept, positive, tol, max_iter
        As in :class:`Lasso`.
    cv : int, cross-validation generator or iterable, default=None
        As in scikit-learn; None stands for 5 consecutive folds.

    Attributes
    ----------
    alpha_ : float
        The strength with the smallest mean held-out error.
    alphas_ : ndarray of shape (n_alphas,)
        The strengths, the largest first.
    mse_path_ : ndarray of shape (n_alphas, n_folds)
        Held-out mean squared errors.
    coef_, sparse_coef_, intercept_, dual_gap_, n_iter_, n_features_in_, feature_names_in_
        Of the fit to all samples with ``alpha_``, as in :class:`Lasso`.

    See Also
    --------
    LassoTuned : Strength between the points of a grid.

    Examples
    --------
    >>> from sklearn.datasets import make_regression
    >>> from sparsejax.estimators import LassoCV
    >>> X, y = make_regression(n_features=40, n_informative=5, noise=4.0, random_state=0)
    >>> model = LassoCV(alphas=20, cv=4).fit(X, y)
    >>> round(model.score(X, y), 2)
    1.0
    """

    def __init__(
        self,
        *,
        eps: float = 1e-3,
        alphas: Any = 100,
        fit_intercept: bool = True,
        positive: bool = False,
        tol: float = 1e-10,
        max_iter: int = 1000,
        cv: Any = None,
    ):
        self.eps = eps
        self.alphas = alphas
        self.fit_intercept = fit_intercept
        self.positive = positive
        self.tol = tol
        self.max_iter = max_iter
        self.cv = cv
