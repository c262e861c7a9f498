"""Sparse logistic regression."""

from numbers import Real
from typing import Any, ClassVar

from sklearn.base import ClassifierMixin
from sklearn.utils._param_validation import Interval

from ..losses import AbstractLoss, Logistic, Multinomial
from ._base import FixedStrengthModel
from ._classification import LogitMethods
from ._cross_validation import CrossValidatedModel
from ._responses import Classes


class _LogisticMethods(LogitMethods):
    """What both have in common."""

    def _response(self) -> Classes:
        return Classes()

    def _loss(self) -> AbstractLoss:
        return Logistic() if self.classes_.size == 2 else Multinomial()


class SparseLogisticRegression(ClassifierMixin, _LogisticMethods, FixedStrengthModel):
    """Logistic regression with an ℓ1 or elastic-net penalty, solved to a certified duality gap.

    Minimises ``mean(log(1 + exp(-y * z))) + alpha * (l1_ratio * ||w||_1
    + (1 - l1_ratio) / 2 * ||w||^2_2)`` with ``z = Xw + b`` for two classes, and the multinomial
    loss for more: ``alpha`` is ``1 / (C * n_samples)`` of
    :class:`sklearn.linear_model.LogisticRegression`.

    Parameters
    ----------
    alpha : float, default=0.01
        Strength of the penalty, in [0, inf).
    l1_ratio : float, default=1.0
        Share of the ℓ1 norm, in [0, 1].
    fit_intercept : bool, default=True
        Whether to fit unpenalised intercepts.
    tol : float, default=1e-10
        Largest duality gap that counts as converged, as a fraction of the loss of the zero vector
        (with the best intercept). Never taken below rounding.
    max_iter : int, default=None
        Largest number of steps; None leaves it to the solver.
    warm_start : bool, default=False
        Whether ``fit`` starts from the coefficients of the call before.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels, sorted.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Coefficients of the logit of the second of two classes, or of every class.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercepts; those of more than two classes only differ from each other meaningfully.
    n_iter_ : int
        Number of steps of the solver.
    sparse_coef_, dual_gap_, n_features_in_, feature_names_in_
        As in :class:`Lasso`.

    See Also
    --------
    SparseLogisticRegressionCV : Strength by cross-validation.

    Examples
    --------
    >>> from sparsejax.estimators import SparseLogisticRegression
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], ["no", "no", "yes", "yes"]
    >>> model = SparseLogisticRegression(alpha=0.1).fit(X, y)
    >>> model.predict([[0.5], [2.5]]).tolist()
    ['no', 'yes']
    >>> model.predict_proba([[1.5]]).round(2).tolist()
    [[0.5, 0.5]]
    """

    def __init__(
        self,
        alpha: float = 0.01,
        *,
        l1_ratio: float = 1.0,
        fit_intercept: bool = True,
        tol: float = 1e-10,
        max_iter: int | None = None,
        warm_start: bool = False,
    ):
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start


class SparseLogisticRegressionCV(ClassifierMixin, _LogisticMethods, CrossValidatedModel):
    """Sparse logistic regression with its strength chosen by cross-validation.

    Parameters
    ----------
    l1_ratio : float or array-like, default=1.0
        Share of the ℓ1 norm, in [0, 1]; of several, the best is chosen.
    eps : float, default=1e-2
        Smallest strength of the grid, as a fraction of the largest.
    alphas : int or array-like, default=20
        Number of strengths on a geometric grid that starts where every coefficient is zero, or
        the strengths themselves.
    fit_intercept, tol, max_iter
        As in :class:`SparseLogisticRegression`.
    cv : int, cross-validation generator or iterable, default=None
        As in scikit-learn; None stands for 5 stratified folds.

    Attributes
    ----------
    alpha_ : float
        The strength with the smallest mean held-out loss.
    l1_ratio_ : float
        The ratio with the smallest mean held-out loss.
    alphas_ : ndarray of shape (n_alphas,) or (n_l1_ratio, n_alphas)
        The strengths, the largest first.
    loss_path_ : ndarray of shape (n_alphas, n_folds) or (n_l1_ratio, n_alphas, n_folds)
        Held-out losses: half of the mean deviance.
    classes_, coef_, sparse_coef_, intercept_, dual_gap_, n_iter_, n_features_in_
        Of the fit to all samples, as in :class:`SparseLogisticRegression`.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from sparsejax.estimators import SparseLogisticRegressionCV
    >>> X, y = make_classification(n_features=5, random_state=0)
    >>> model = SparseLogisticRegressionCV(alphas=10, cv=3).fit(X, y)
    >>> model.loss_path_.shape
    (10, 3)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **CrossValidatedModel._parameter_constraints,
        "l1_ratio": [Interval(Real, 0, 1, closed="both"), "array-like"],
    }

    def __init__(
        self,
        *,
        l1_ratio: Any = 1.0,
        eps: float = 1e-2,
        alphas: Any = 20,
        fit_intercept: bool = True,
        tol: float = 1e-10,
        max_iter: int | None = None,
        cv: Any = None,
    ):
        self.l1_ratio = l1_ratio
        self.eps = eps
        self.alphas = alphas
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter
        self.cv = cv
