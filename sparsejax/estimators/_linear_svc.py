"""Linear support vector machines."""

from collections.abc import Sequence
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils._param_validation import Interval, StrOptions

from ..losses import AbstractLoss, Hinge, SquaredHinge
from ..penalties import AbstractPenalty
from ._base import Data, FixedStrengthModel
from ._classification import LinearClassifierMethods
from ._programs import Fit
from ._responses import OneVersusRest


class LinearSVC(ClassifierMixin, LinearClassifierMethods, FixedStrengthModel):
    """A linear support vector machine, solved to a certified duality gap.

    Minimises ``||w||^2_2 / 2 + C * sum(max(0, 1 - y * z))`` with ``z = Xw + b``, or ``||w||_1``
    in the place of the ridge, or the squares of the losses: the objectives of
    :class:`sklearn.svm.LinearSVC`, but the intercept is not penalised (as in
    :class:`sklearn.svm.SVC`). More than two classes are fitted one against the others.

    Parameters
    ----------
    C : float, default=1.0
        Strength of the loss, positive.
    loss : {"squared_hinge", "hinge"}, default="squared_hinge"
        What a margin below one costs; the hinge goes through its box-constrained dual.
    penalty : {"l2", "l1"}, default="l2"
        The ℓ1 norm makes coefficients zero.
    fit_intercept : bool, default=True
        Whether to fit unpenalised intercepts.
    tol : float, default=1e-10
        Largest duality gap that counts as converged, as a fraction of the objective of the zero
        vector (with the best intercept). Never taken below rounding.
    max_iter : int, default=None
        Largest number of steps; None leaves it to the solver.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels, sorted.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Coefficients of the score of the second of two classes, or of every class.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercepts.
    dual_gap_ : float or ndarray of shape (n_classes,)
        Duality gap: no other coefficients lower the objective by more.
    n_iter_ : int
        Number of steps of the solver, the largest of all classes.
    sparse_coef_, n_features_in_, feature_names_in_
        As in :class:`Lasso`.

    Notes
    -----
    Here the size of sample weights matters, not only their ratios: they multiply C.

    Examples
    --------
    >>> from sparsejax.estimators import LinearSVC
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], ["no", "no", "yes", "yes"]
    >>> model = LinearSVC(10.0, loss="hinge").fit(X, y)
    >>> model.predict([[0.5], [2.5]]).tolist()
    ['no', 'yes']
    >>> model.decision_function([[1.0], [2.0]]).round(3).tolist()
    [-1.0, 1.0]
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **FixedStrengthModel._parameter_constraints,
        "C": [Interval(Real, 0, None, closed="neither")],
        "loss": [StrOptions({"hinge", "squared_hinge"})],
        "penalty": [StrOptions({"l1", "l2"})],
    }

    def __init__(
        self,
        C: float = 1.0,
        *,
        loss: str = "squared_hinge",
        penalty: str = "l2",
        fit_intercept: bool = True,
        tol: float = 1e-10,
        max_iter: int | None = None,
    ):
        self.C = C
        self.loss = loss
        self.penalty = penalty
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter

    def _response(self) -> OneVersusRest:
        return OneVersusRest()

    def _loss(self) -> AbstractLoss:
        return Hinge() if self.loss == "hinge" else SquaredHinge()

    def _strength(self, data: Data) -> float:
        return 1 / (self.C * float(np.sum(data.weights)))

    def _penalty(
        self, alpha: Any, l1_ratio: None, num_features: int, dtype: Any
    ) -> AbstractPenalty:
        l1_share = None if self.penalty == "l1" else 0.0
        return super()._penalty(alpha, l1_share, num_features, dtype)

    def _keep(self, data: Data, fits: Sequence[Fit]) -> None:
        super()._keep(data, fits)
        self.dual_gap_ = self.dual_gap_ / self._strength(data)
        self.n_iter_ = int(np.max(self.n_iter_))
