"""Regression on positive targets through the logarithm of their mean."""

from typing import Any

from sklearn.base import RegressorMixin

from ..losses import AbstractLoss, Gamma, Poisson
from ._base import FixedStrengthModel, SparseLinearModel
from ._responses import Means


class _LogLinkModel(RegressorMixin, FixedStrengthModel):
    """Parameters and scores of both."""

    # The share of the deviance that is explained, instead of R².
    score: Any = SparseLinearModel.score

    def __init__(
        self,
        alpha: float = 0.01,
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


class PoissonLasso(_LogLinkModel):
    """Poisson regression of counts with an ℓ1 penalty, solved to a certified duality gap.

    Minimises ``mean(exp(z) - y * z) + alpha * ||w||_1`` with ``z = Xw + b``: half of the mean
    deviance, as in :class:`sklearn.linear_model.PoissonRegressor`, up to a constant.

    Parameters
    ----------
    alpha : float, default=0.01
        Strength of the penalty, in [0, inf).
    fit_intercept : bool, default=True
        Whether to fit an unpenalised intercept.
    tol : float, default=1e-10
        Largest duality gap that counts as converged, as a fraction of the half deviance of the
        zero vector (with the best intercept). Never taken below rounding.
    max_iter : int, default=None
        Largest number of quadratic models; None leaves it to the solver.
    warm_start : bool, default=False
        Whether ``fit`` starts from the coefficients of the call before.

    Attributes
    ----------
    coef_, sparse_coef_, intercept_, dual_gap_, n_features_in_, feature_names_in_
        As in :class:`Lasso`, for the logarithm of the mean.
    n_iter_ : int
        Number of quadratic models solved.

    Notes
    -----
    ``predict`` returns means; ``score`` is D², the share of the deviance that is explained.

    Examples
    --------
    >>> from sparsejax.estimators import PoissonLasso
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [1, 2, 4, 9]
    >>> model = PoissonLasso(alpha=0.01).fit(X, y)
    >>> model.predict([[1.5]]).round(2).tolist()
    [2.9]
    """

    def _response(self) -> Means:
        return Means(power=1)

    def _loss(self) -> AbstractLoss:
        return Poisson()


class GammaLasso(_LogLinkModel):
    """Gamma regression of positive targets with an ℓ1 penalty, solved to a certified duality gap.

    Minimises ``mean(z + y * exp(-z)) + alpha * ||w||_1`` with ``z = Xw + b``: half of the mean
    deviance, as in :class:`sklearn.linear_model.GammaRegressor`, up to a constant.

    Parameters
    ----------
    alpha : float, default=0.01
        Strength of the penalty, in [0, inf).
    fit_intercept, tol, max_iter, warm_start
        As in :class:`PoissonLasso`.

    Attributes
    ----------
    coef_, sparse_coef_, intercept_, dual_gap_, n_iter_, n_features_in_, feature_names_in_
        As in :class:`PoissonLasso`.

    Notes
    -----
    ``predict`` returns means; ``score`` is D², the share of the deviance that is explained.

    Examples
    --------
    >>> from sparsejax.estimators import GammaLasso
    >>> model = GammaLasso(alpha=0.01).fit([[0.0], [1.0], [2.0]], [1.0, 2.0, 4.0])
    >>> model.predict([[1.0]]).round(2).tolist()
    [2.0]
    """

    def _response(self) -> Means:
        return Means(power=2)

    def _loss(self) -> AbstractLoss:
        return Gamma()
