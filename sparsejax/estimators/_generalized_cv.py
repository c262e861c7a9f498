"""Any loss with any penalty, the strength chosen by cross-validation."""

from typing import Any, ClassVar

import numpy as np

from .._arrays import cast_floats
from ..losses import AbstractLoss, Equality
from ..penalties import L1, AbstractPenalty, AbstractStrengthPenalty
from ..solvers import AbstractSolver
from ._cross_validation import CrossValidatedModel
from ._generalized import GeneralMethods
from ._responses import AbstractResponse, Numbers


class GeneralizedLinearEstimatorCV(GeneralMethods, CrossValidatedModel):
    """Any loss with any penalty of one strength, which cross-validation chooses.

    Parameters
    ----------
    loss, solver
        As in :class:`GeneralizedLinearEstimator`.
    penalty : sparsejax.penalties.AbstractStrengthPenalty, default=None
        None stands for ``penalties.L1``; its own strength is not used.
    eps : float, default=1e-2
        Smallest strength of the grid, as a fraction of the largest.
    alphas : int or array-like, default=20
        Number of strengths on a geometric grid that starts where every penalised coefficient is
        zero, or the strengths themselves: needed for ridge regression.
    fit_intercept, tol, max_iter
        As in :class:`GeneralizedLinearEstimator`.
    cv : int, cross-validation generator or iterable, default=None
        As in scikit-learn; None stands for 5 folds, stratified for classes, else consecutive.

    Attributes
    ----------
    alpha_ : float
        The strength with the smallest mean held-out error.
    alphas_ : ndarray of shape (n_alphas,)
        The strengths, the largest first.
    mse_path_ : ndarray of shape (n_alphas, n_folds)
        Held-out mean squared errors, for ``Squared``.
    loss_path_ : ndarray of shape (n_alphas, n_folds)
        Held-out losses, for others.
    classes_, coef_, sparse_coef_, intercept_, dual_gap_, n_iter_, n_features_in_
        Of the fit to all samples with ``alpha_``, as in :class:`GeneralizedLinearEstimator`.

    Examples
    --------
    >>> import sparsejax as sj
    >>> from sklearn.datasets import make_regression
    >>> from sparsejax.estimators import GeneralizedLinearEstimatorCV
    >>> X, y = make_regression(n_features=5, noise=4.0, random_state=0)
    >>> loss, solver = sj.losses.Huber(5.0), sj.solvers.FISTA()
    >>> model = GeneralizedLinearEstimatorCV(loss, solver=solver, alphas=10, cv=3, tol=1e-6)
    >>> model.fit(X, y).loss_path_.shape
    (10, 3)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **CrossValidatedModel._parameter_constraints,
        **GeneralMethods._parameter_constraints,
        "penalty": [AbstractStrengthPenalty, None],
    }

    def __init__(
        self,
        loss: AbstractLoss | None = None,
        penalty: AbstractStrengthPenalty | None = None,
        solver: AbstractSolver | None = None,
        *,
        eps: float = 1e-2,
        alphas: Any = 20,
        fit_intercept: bool = True,
        tol: float = 1e-10,
        max_iter: int | None = None,
        cv: Any = None,
    ):
        self.loss = loss
        self.penalty = penalty
        self.solver = solver
        self.eps = eps
        self.alphas = alphas
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter
        self.cv = cv

    def _response(self) -> AbstractResponse:
        response = super()._response()
        # One strength for one problem: several targets only where they are one problem.
        apart = type(response) is Numbers
        return Numbers(several=False) if apart else response

    def _loss(self) -> AbstractLoss:
        loss = super()._loss()
        if isinstance(loss, Equality):
            raise ValueError("`loss` must not be Equality: held-out targets are not met exactly.")
        return loss

    def _penalty(
        self, alpha: Any, l1_ratio: None, num_features: int, dtype: Any
    ) -> AbstractPenalty:
        del l1_ratio
        penalty = L1(1.0) if self.penalty is None else self.penalty
        penalty = cast_floats(penalty, dtype).with_strength(np.asarray(alpha, dtype))
        penalty.check(num_features)
        return penalty
