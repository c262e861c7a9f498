"""The Lasso with its strength tuned by gradient descent."""

from numbers import Integral
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from sklearn.base import RegressorMixin
from sklearn.utils._param_validation import Interval

from ._cross_validation import CrossValidatedModel, Folds
from ._programs import tune_strength
from ._table import Table


class LassoTuned(RegressorMixin, CrossValidatedModel):
    """The Lasso with its strength tuned by gradient descent on the held-out error.

    A coarse grid finds where to start; from there the derivative of the solution with respect to
    the strength, by the implicit function theorem, leads to a minimum between its points. The
    result is never worse than the grid's best on the same folds.

    Parameters
    ----------
    eps : float, default=1e-3
        Smallest strength of the grid, as a fraction of the largest.
    alphas : int, default=10
        Number of strengths on the grid.
    n_steps : int, default=20
        Number of steps of the descent.
    fit_intercept, positive, tol, max_iter
        As in :class:`Lasso`.
    cv : int, cross-validation generator or iterable, default=None
        As in scikit-learn; None stands for 5 consecutive folds.

    Attributes
    ----------
    alpha_ : float
        The tuned strength.
    alphas_ : ndarray of shape (n_alphas,)
        The strengths of the grid, the largest first.
    mse_path_ : ndarray of shape (n_alphas, n_folds)
        Held-out mean squared errors on the grid.
    tuned_alphas_ : ndarray of shape (n_steps,)
        The strengths met by the descent, in order.
    tuned_mse_ : ndarray of shape (n_steps,)
        Held-out mean squared errors there, averaged over folds.
    coef_, sparse_coef_, intercept_, dual_gap_, n_iter_, n_features_in_, feature_names_in_
        Of the fit to all samples with ``alpha_``, as in :class:`Lasso`.

    See Also
    --------
    LassoCV : Strength on a fine grid.
    sparsejax.bilevel.tune : Any parameters of a problem, and any criterion.

    Examples
    --------
    >>> from sklearn.datasets import make_regression
    >>> from sparsejax.estimators import LassoTuned
    >>> X, y = make_regression(n_features=20, n_informative=5, noise=4.0, random_state=0)
    >>> model = LassoTuned().fit(X, y)
    >>> bool(model.tuned_mse_.min() <= model.mse_path_.mean(axis=1).min() + 1e-6)
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **CrossValidatedModel._parameter_constraints,
        "alphas": [Interval(Integral, 1, None, closed="left")],
        "n_steps": [Interval(Integral, 1, None, closed="left")],
    }

    tuned_alphas_: Float[np.ndarray, " n_steps"]
    tuned_mse_: Float[np.ndarray, " n_steps"]

    def __init__(
        self,
        *,
        eps: float = 1e-3,
        alphas: int = 10,
        n_steps: int = 20,
        fit_intercept: bool = True,
        positive: bool = False,
        tol: float = 1e-10,
        max_iter: int = 1000,
        cv: Any = None,
    ):
        self.eps = eps
        self.alphas = alphas
        self.n_steps = n_steps
        self.fit_intercept = fit_intercept
        self.positive = positive
        self.tol = tol
        self.max_iter = max_iter
        self.cv = cv

    def _refined(self, table: Table, folds: Folds, unit: Any, alpha: float) -> float:
        dtype = table.design.dtype
        descent = tune_strength(
            table.design,
            table.targets[0],
            table.rows(folds.train),
            table.rows(folds.test),
            unit.with_strength(jnp.asarray(alpha, dtype)),
            bool(self.fit_intercept),
            self._stopping(dtype),
            int(self.n_steps),
        )
        self.tuned_alphas_ = np.asarray(descent.visited)
        self.tuned_mse_ = np.asarray(descent.errors)
        return float(descent.strength)
