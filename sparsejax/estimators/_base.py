"""What all estimators share: validation, prediction, and the way to the compiled programs."""

import abc
import warnings
from collections.abc import Sequence
from numbers import Integral, Number, Real
from typing import Any, ClassVar, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jaxtyping import Float
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import (
    _check_sample_weight,
    check_array,
    check_is_fitted,
    validate_data,
)

from ..penalties import L1, AbstractStrengthPenalty, ElasticNet
from ._programs import Fit, Stopping, fit_one
from ._table import Table, make_table

_FLOATS = (np.float64, np.float32)


class Data(NamedTuple):
    """What the user gave, validated, in one floating-point dtype."""

    X: Any  # dense or SciPy sparse
    y: Float[np.ndarray, "..."]
    weights: Float[np.ndarray, " n"]

    @property
    def targets(self) -> Float[np.ndarray, "t n"]:
        """One target a row."""
        return np.atleast_2d(self.y.T)

    def table(self) -> Table:
        """The same for the solvers; call where 64-bit arrays are enabled."""
        return make_table(self.X, self.targets, self.weights)

    def objectives_at_zero(self, fit_intercept: bool) -> Float[np.ndarray, " t"]:
        """Half the weighted mean square of every target, about its mean if that is fitted."""
        targets = self.targets
        if fit_intercept:
            targets = targets - np.average(targets, axis=1, weights=self.weights)[:, None]
        return np.average(targets**2, axis=1, weights=self.weights) / 2


class SparseLinearModel(RegressorMixin, BaseEstimator, abc.ABC):
    """A linear model with a sparse penalty.

    Data of either precision is computed in that precision, whatever ``jax_enable_x64`` says: the
    flag is set within ``fit`` alone and for the calling thread alone.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "fit_intercept": ["boolean"],
        "positive": ["boolean"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
    }

    fit_intercept: bool
    positive: bool
    tol: float
    max_iter: int
    coef_: Float[np.ndarray, "..."]
    intercept_: Any

    @abc.abstractmethod
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit the model."""

    def predict(self, X: Any) -> Float[np.ndarray, "..."]:
        """Predict the target.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_targets)
            X·coef_ + intercept_.
        """
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse=("csr", "csc", "coo"), dtype=_FLOATS, reset=False)
        return X @ self.coef_.T + self.intercept_

    @property
    def sparse_coef_(self) -> scipy.sparse.csr_array:
        """Sparse matrix of shape (1, n_features) or (n_targets, n_features): ``coef_``."""
        return scipy.sparse.csr_array(np.atleast_2d(self.coef_))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _validated(self, X: Any, y: Any, sample_weight: Any, multi_output: bool = False) -> Data:
        """Check parameters and data, and note the number and names of the features."""
        self._validate_params()
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse="csc",
            dtype=_FLOATS,
            multi_output=multi_output,
            y_numeric=True,
        )
        y = check_array(y, dtype=X.dtype, ensure_2d=False, input_name="y")
        if sample_weight is None or isinstance(sample_weight, Number):
            return Data(X, y, np.ones(X.shape[0], X.dtype))
        weights = _check_sample_weight(sample_weight, X, dtype=X.dtype, ensure_non_negative=True)
        if not np.any(weights > 0):
            raise ValueError("`sample_weight` must have at least one positive entry.")
        return Data(X, y, weights)

    def _penalty(self, alpha: float, l1_ratio: float | None, dtype: Any) -> AbstractStrengthPenalty:
        """ℓ1, or the elastic net where there is a ratio."""
        strength = np.asarray(alpha, dtype)
        if l1_ratio is None:
            return L1(strength, nonnegative=self.positive)
        return ElasticNet(strength, np.asarray(l1_ratio, dtype), nonnegative=self.positive)

    def _stopping(self, dtype: Any) -> Stopping:
        # scikit-learn allows a duality gap of tol·‖y‖²/n, which is twice the objective at zero.
        return Stopping(jnp.asarray(2 * self.tol, dtype), jnp.asarray(self.max_iter))

    def _fit_targets(
        self,
        data: Data,
        table: Table,
        penalty: AbstractStrengthPenalty,
        init: Float[np.ndarray, "t p"] | None = None,
    ) -> None:
        """Solve for every target and set the attributes that describe the solutions."""
        shape = (table.targets.shape[0], table.num_features)
        inits = table.coefs(np.zeros(shape) if init is None else init)
        stopping = self._stopping(data.X.dtype)
        fits = [
            fit_one(
                table.design, y, table.weights, penalty, bool(self.fit_intercept), start, stopping
            )
            for y, start in zip(table.targets, inits, strict=True)
        ]
        self._keep(data, [jax.tree.map(np.asarray, fit) for fit in fits])

    def _keep(self, data: Data, fits: Sequence[Fit]) -> None:
        """Set the fitted attributes: arrays for several targets, scalars for one."""
        coefs = np.stack([fit.coef[: data.X.shape[1]] for fit in fits])
        intercepts = np.stack([fit.intercept for fit in fits])
        if not (np.all(np.isfinite(coefs)) and np.all(np.isfinite(intercepts))):
            raise ValueError(
                "The coefficients are not finite: `X` or `y` holds values too large for "
                f"{data.X.dtype}; scale them down."
            )
        gaps = np.stack([fit.gap for fit in fits])
        self._warn_unless(np.stack([fit.converged for fit in fits]), gaps)
        gaps = gaps * data.objectives_at_zero(self.fit_intercept)
        # As in scikit-learn, looking at the start and finding it optimal counts as an iteration.
        steps = [max(int(fit.num_steps), 1) for fit in fits]
        single = len(fits) == 1
        self.coef_ = coefs[0] if single else coefs
        self.intercept_ = intercepts[0] if data.y.ndim == 1 else intercepts
        self.dual_gap_ = gaps[0] if single else gaps
        self.n_iter_ = steps[0] if single else steps

    def _warn_unless(self, converged: np.ndarray, gaps: np.ndarray) -> None:
        if np.all(converged):
            return
        worst = np.max(np.where(converged, 0.0, gaps))
        warnings.warn(
            f"{type(self).__name__} did not converge: the duality gap is {worst / 2:.1e} times "
            f"‖y‖²/n, which is more than tol={self.tol:g}. Raise `max_iter` or `tol`, scale the "
            "features, or use float64.",
            ConvergenceWarning,
            stacklevel=2,
        )


class FixedStrengthModel(SparseLinearModel):
    """A model whose strength is given."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **SparseLinearModel._parameter_constraints,
        "alpha": [Interval(Real, 0, None, closed="left")],
        "warm_start": ["boolean"],
    }

    alpha: float
    warm_start: bool

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training data, computed in its own precision: float32 or else float64.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets; several are fitted one by one.
        sample_weight : float or array-like of shape (n_samples,), default=None
            Nonnegative weights; only their ratios matter.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        ValueError
            For NaN or infinity in the data, or arguments out of range; the message names them.

        Warns
        -----
        ConvergenceWarning
            If the duality gap is above ``tol``.
        """
        data = self._validated(X, y, sample_weight, multi_output=True)
        l1_ratio = getattr(self, "l1_ratio", None)
        with jax.enable_x64(True):
            penalty = self._penalty(self.alpha, l1_ratio, data.X.dtype)
            self._fit_targets(data, data.table(), penalty, self._start(data))
        return self

    def _start(self, data: Data) -> Float[np.ndarray, "t p"] | None:
        """The previous coefficients, if they are to be reused."""
        if not (self.warm_start and hasattr(self, "coef_")):
            return None
        start = np.atleast_2d(self.coef_)
        expected = (data.targets.shape[0], data.X.shape[1])
        if start.shape != expected:
            raise ValueError(
                f"`warm_start=True` needs data of the same shape: `coef_` is for (targets, "
                f"features) = {start.shape}, the data is {expected}."
            )
        return start

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
