"""Cox's proportional hazards with an ℓ1 penalty."""

from typing import Any, ClassVar

from sklearn.utils._param_validation import StrOptions

from ..losses import AbstractLoss, Cox
from ._base import FixedStrengthModel
from ._responses import Survival


class CoxLasso(FixedStrengthModel):
    """Cox regression of survival times with an ℓ1 penalty, solved to a certified duality gap.

    Minimises ``-log(partial likelihood) / n_samples + alpha * ||w||_1``.

    Parameters
    ----------
    alpha : float, default=0.01
        Strength of the penalty, in [0, inf).
    ties : {"efron", "breslow"}, default="efron"
        How events at the same time share their risk set.
    tol, max_iter, warm_start
        As in :class:`PoissonLasso`.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Coefficients of the logarithm of the hazard, with exact zeros.
    intercept_ : float
        Zero: the baseline hazard takes its place.
    sparse_coef_, dual_gap_, n_iter_, n_features_in_, feature_names_in_
        As in :class:`PoissonLasso`.

    Notes
    -----
    y has two columns, time and event (1, or 0 if censored), or is a structured array with a field
    for the time and a Boolean one for the event, as in scikit-survival. ``predict`` returns
    relative risks on the scale of the logarithm; ``score`` is Harrell's concordance index.

    Examples
    --------
    >>> from sparsejax.estimators import CoxLasso
    >>> X, y = [[3.0], [1.0], [2.0], [0.0]], [[1.0, 1], [3.0, 1], [4.0, 0], [5.0, 1]]
    >>> model = CoxLasso(alpha=0.05).fit(X, y)
    >>> model.score(X, y)
    0.8
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **FixedStrengthModel._parameter_constraints,
        "ties": [StrOptions({"efron", "breslow"})],
    }

    def __init__(
        self,
        alpha: float = 0.01,
        *,
        ties: Any = "efron",
        tol: float = 1e-10,
        max_iter: int | None = None,
        warm_start: bool = False,
    ):
        self.alpha = alpha
        self.ties = ties
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start

    def _response(self) -> Survival:
        return Survival()

    def _loss(self) -> AbstractLoss:
        return Cox(self.ties)
