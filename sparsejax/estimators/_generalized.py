"""Any loss with any penalty."""

from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float
from sklearn.utils.metaestimators import available_if

from .._arrays import cast_floats
from ..losses import (
    AbstractLoss,
    AbstractTwoClassLoss,
    Cox,
    Gamma,
    Logistic,
    Multinomial,
    Poisson,
    Squared,
)
from ..penalties import L1, AbstractPenalty, RowL2, Rows
from ..penalties._spectral import AbstractSpectral
from ..solvers import AbstractSolver
from ._base import FixedStrengthModel
from ._classification import LogitMethods
from ._responses import AbstractResponse, Classes, Means, Numbers, Survival, Tasks


def _classifies(model: Any) -> bool:
    return isinstance(model._response(), Classes)


def _knows_probabilities(model: Any) -> bool:
    return isinstance(model.loss, Logistic | Multinomial)


class GeneralMethods(LogitMethods):
    """What any loss, penalty and solver mean to scikit-learn."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "loss": [AbstractLoss, None],
        "penalty": [AbstractPenalty, None],
        "solver": [AbstractSolver, None],
    }

    loss: AbstractLoss | None
    penalty: AbstractPenalty | None
    solver: AbstractSolver | None

    @available_if(_classifies)
    def decision_function(self, X: Any) -> Float[np.ndarray, "n ..."]:
        """X·coef_ + intercept_: how much samples are like each class, or like the second of two."""
        return super().decision_function(X)

    @available_if(_knows_probabilities)
    def predict_proba(self, X: Any) -> Float[np.ndarray, "n k"]:
        """Probabilities of the classes, in the order of ``classes_``."""
        return super().predict_proba(X)

    @available_if(_knows_probabilities)
    def predict_log_proba(self, X: Any) -> Float[np.ndarray, "n k"]:
        """Logarithms of ``predict_proba``."""
        return super().predict_log_proba(X)

    def _response(self) -> AbstractResponse:
        if isinstance(self.loss, Multinomial):
            return Classes(two=False)
        if isinstance(self.loss, AbstractTwoClassLoss):
            return Classes(many=False)
        if isinstance(self.loss, Poisson | Gamma):
            return Means(power=1 if isinstance(self.loss, Poisson) else 2)
        if isinstance(self.loss, Cox):
            return Survival()
        return Tasks() if isinstance(self.penalty, RowL2 | Rows | AbstractSpectral) else Numbers()

    def _loss(self) -> AbstractLoss:
        if self.loss is None:
            return Squared()
        if self.loss.sample_weight is not None:
            raise ValueError("`loss` must not hold sample weights: give them to `fit`.")
        return self.loss

    def _solver(self) -> AbstractSolver | None:
        return self.solver


class GeneralizedLinearEstimator(GeneralMethods, FixedStrengthModel):
    """Any loss with any penalty and any solver, to a certified duality gap.

    Minimises ``loss(Xw + b, y) + penalty(w)``. Classifies for losses of classes (``Logistic``,
    ``SquaredHinge``, ``Multinomial``), orders survival times for ``Cox``, and is a regressor for
    all others.

    Parameters
    ----------
    loss : sparsejax.losses.AbstractLoss, default=None
        None stands for ``losses.Squared()``. Sample weights are given to ``fit`` instead.
    penalty : sparsejax.penalties.AbstractPenalty, default=None
        None stands for ``penalties.L1(0.1)``. ``RowL2``, ``Rows``, ``Nuclear``, ``Schatten``
        and ``Spectral`` are for several targets (n_samples, n_targets) together; with others each
        target is a problem of its own.
    solver : sparsejax.solvers.AbstractSolver, default=None
        None stands for ``solvers.Auto()``.
    fit_intercept : bool, default=True
        Whether to fit an unpenalised intercept; not for ``Cox``.
    tol : float, default=1e-10
        Largest duality gap that counts as converged, as a fraction of the loss of the zero vector
        (with the best intercept); of twice that for ``Squared``, as in :class:`Lasso`.
    max_iter : int, default=None
        Largest number of steps of the solver; None leaves it to the solver.
    warm_start : bool, default=False
        Whether ``fit`` starts from the coefficients of the call before.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        Coefficients; (1, n_features) or (n_classes, n_features) for classes.
    intercept_ : float or ndarray
        Intercept, one for each row of ``coef_``.
    classes_ : ndarray of shape (n_classes,)
        Labels, where the loss is one of classes.
    n_iter_ : int
        Number of steps of the solver.
    dual_gap_, sparse_coef_, n_features_in_, feature_names_in_
        As in :class:`Lasso`.

    Notes
    -----
    Penalties and losses hold their numbers in JAX's default precision: single, unless they are
    made where 64-bit arrays are enabled (``jax.enable_x64``).

    See Also
    --------
    GeneralizedLinearEstimatorCV : Strength by cross-validation.

    Examples
    --------
    >>> import sparsejax as sj
    >>> from sparsejax.estimators import GeneralizedLinearEstimator
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [0.1, 0.9, 2.1, 40.0]
    >>> model = GeneralizedLinearEstimator(
    ...     sj.losses.Huber(0.5), sj.penalties.L1(0.01), sj.solvers.FISTA()
    ... )
    >>> model.fit(X, y).coef_.round(2).tolist()
    [1.72]
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **FixedStrengthModel._parameter_constraints,
        **GeneralMethods._parameter_constraints,
    }

    def __init__(
        self,
        loss: AbstractLoss | None = None,
        penalty: AbstractPenalty | None = None,
        solver: AbstractSolver | None = None,
        *,
        fit_intercept: bool = True,
        tol: float = 1e-10,
        max_iter: int | None = None,
        warm_start: bool = False,
    ):
        self.loss = loss
        self.penalty = penalty
        self.solver = solver
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start

    def _penalty(
        self, alpha: None, l1_ratio: None, num_features: int, dtype: Any
    ) -> AbstractPenalty:
        del alpha, l1_ratio
        penalty = L1(np.asarray(0.1, dtype)) if self.penalty is None else self.penalty
        penalty.check(num_features)
        return cast_floats(penalty, dtype)
