"""The square-root Lasso."""

from sklearn.base import RegressorMixin

from ..losses import AbstractLoss, SquareRoot
from ._base import FixedStrengthModel


class SqrtLasso(RegressorMixin, FixedStrengthModel):
    """The square-root Lasso, whose best strength does not depend on the size of the noise.

    Minimises ``||y - Xw||_2 / sqrt(n_samples) + alpha * ||w||_1``, to a certified duality gap.

    Parameters
    ----------
    alpha : float, default=1.0
        Strength of the penalty, in [0, inf). For columns of mean square one, a little more than
        ``sqrt(2 * log(n_features) / n_samples)`` suits noise of any size.
    fit_intercept, positive, warm_start
        As in :class:`Lasso`.
    tol : float, default=1e-10
        Largest duality gap that counts as converged, as a fraction of
        ``||y||_2 / sqrt(n_samples)`` (of the centred y with an intercept). Never taken below
        rounding.
    max_iter : int, default=None
        Largest number of steps of the solver; None leaves it to the solver.

    Attributes
    ----------
    coef_, sparse_coef_, intercept_, dual_gap_, n_features_in_, feature_names_in_
        As in :class:`Lasso`.
    n_iter_ : int or list of int
        Number of steps of the solver.

    Notes
    -----
    Belloni, Chernozhukov & Wang, Square-root lasso, Biometrika 98, 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsejax.estimators import SqrtLasso
    >>> X, y = np.vstack([np.eye(2), -np.eye(2)]), np.array([4.0, 0.1, -4.0, 0.1])
    >>> SqrtLasso(0.1).fit(X, 100 * y).coef_.round(2).tolist()
    [398.99, 0.0]
    """

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        fit_intercept: bool = True,
        positive: bool = False,
        tol: float = 1e-10,
        max_iter: int | None = None,
        warm_start: bool = False,
    ):
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.positive = positive
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start

    def _loss(self) -> AbstractLoss:
        return SquareRoot()
