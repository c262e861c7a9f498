"""What all estimators share: validation, prediction, and the way to the compiled programs."""

import abc
import warnings
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jaxtyping import Float
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from ..losses import AbstractLoss, AbstractQuadraticLoss, Equality, Squared
from ..penalties import L1, AbstractPenalty, ElasticNet
from ..solvers import AbstractSolver
from ._padding import can_pad, pad_penalty
from ._programs import Fit, Stopping, fit_one
from ._responses import FLOATS, AbstractResponse, Numbers
from ._table import Table, make_table


class Data(NamedTuple):
    """What the user gave, validated, in one floating-point dtype, and coded for the loss."""

    X: Any  # dense or SciPy sparse
    y: np.ndarray
    weights: Float[np.ndarray, " n"]
    targets: Float[np.ndarray, "t n ..."]  # one problem a row

    def table(self, penalty: AbstractPenalty) -> Table:
        """The same for the solvers; call where 64-bit arrays are enabled."""
        return make_table(self.X, self.targets, self.weights, can_pad(penalty))


class SparseLinearModel(BaseEstimator, abc.ABC):
    """A linear model with a sparse penalty: a subclass says which, and with which loss.

    Data of either precision is computed in that precision, whatever ``jax_enable_x64`` says: the
    flag is set within ``fit`` alone and for the calling thread alone.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "fit_intercept": ["boolean"],
        "positive": ["boolean"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left"), None],
    }

    fit_intercept: bool = False  # where the model has none
    tol: float
    max_iter: int | None
    coef_: Float[np.ndarray, "..."]
    intercept_: Any

    @abc.abstractmethod
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit the model."""

    def predict(self, X: Any) -> np.ndarray:
        """Predict the target.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_targets)
            X·coef_ + intercept_, or what the model makes of it: a class, a positive mean.
        """
        return self._response().predict(self, self._linear(X))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """How well the model predicts: R² unless the model says otherwise.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Their targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Nonnegative weights.

        Returns
        -------
        float
            At most 1, which is perfect.
        """
        return self._response().score(y, self.predict(X), sample_weight)

    def _linear(self, X: Any) -> Float[np.ndarray, "n ..."]:
        """X·coef_ + intercept_."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse=("csr", "csc", "coo"), dtype=FLOATS, reset=False)
        return X @ self.coef_.T + self.intercept_

    @property
    def sparse_coef_(self) -> scipy.sparse.csr_array:
        """Sparse matrix of shape (1, n_features) or (n_targets, n_features): ``coef_``."""
        return scipy.sparse.csr_array(np.atleast_2d(self.coef_))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        self._response().tag(tags)
        return tags

    def _response(self) -> AbstractResponse:
        """What the target means."""
        return Numbers()

    def _loss(self) -> AbstractLoss:
        """The loss, without sample weights; called after the target was read."""
        return Squared()

    def _solver(self) -> AbstractSolver | None:
        """The solver; None stands for the default."""
        return None

    def _penalty(
        self, alpha: Any, l1_ratio: float | None, num_features: int, dtype: Any
    ) -> AbstractPenalty:
        """The penalty: ℓ1, or the elastic net where there is a ratio."""
        del num_features
        strength = np.asarray(alpha, dtype)
        positive = getattr(self, "positive", False)
        if l1_ratio is None:
            return L1(strength, nonnegative=positive)
        return ElasticNet(strength, np.asarray(l1_ratio, dtype), nonnegative=positive)

    def _validated(self, X: Any, y: Any, sample_weight: Any) -> Data:
        """Check parameters and data, and note the number and names of the features."""
        self._validate_params()
        response = self._response()
        X, y = response.read(self, X, y)
        weights = _check_sample_weight(sample_weight, X, dtype=X.dtype, ensure_non_negative=True)
        if not np.any(weights > 0):
            raise ValueError("`sample_weight` must have at least one positive entry.")
        return Data(X, y, weights, response.encode(self, y, weights))

    def _outputs(self, data: Data) -> tuple[int, ...]:
        """() for problems of one prediction a sample, or (tasks,)."""
        return self._loss().outputs(data.targets[0])  # pyright: ignore[reportArgumentType]

    def _tol_unit(self) -> float:
        # scikit-learn allows a duality gap of tol·‖y‖²/n, which is twice the objective at zero.
        return 2.0 if isinstance(self._loss(), AbstractQuadraticLoss) else 1.0

    def _stopping(self, dtype: Any) -> Stopping:
        tol = jnp.asarray(self._tol_unit() * self.tol, dtype)
        return Stopping(tol, None if self.max_iter is None else jnp.asarray(self.max_iter))

    def _fit_targets(
        self,
        data: Data,
        table: Table,
        penalty: AbstractPenalty,
        init: Float[np.ndarray, "t p ..."] | None = None,
    ) -> None:
        """Solve for every target and set the attributes that describe the solutions."""
        if init is None:
            init = np.zeros((len(data.targets), table.num_features, *self._outputs(data)))
        loss, stopping = self._loss().reweighted(table.weights), self._stopping(data.X.dtype)
        penalty = pad_penalty(penalty, table.num_features, table.design.shape[1])
        fits = [
            fit_one(
                table.design,
                y,
                loss,
                penalty,
                bool(self.fit_intercept),
                start,
                stopping,
                self._solver(),
            )
            for y, start in zip(table.targets, table.coefs(init), strict=True)
        ]
        self._keep(data, [jax.tree.map(np.asarray, fit) for fit in fits])

    def _keep(self, data: Data, fits: Sequence[Fit]) -> None:
        """Set the fitted attributes: arrays for several targets, scalars for one."""
        if any(fit.infeasible for fit in fits):
            raise ValueError(
                "No coefficients fit `y` exactly: it lies outside the range of `X`. Use another "
                "model, such as Lasso or SqrtLasso."
            )
        coefs = np.stack([fit.coef[: data.X.shape[1]].T for fit in fits])
        intercepts = np.stack([fit.intercept for fit in fits])
        if not (np.all(np.isfinite(coefs)) and np.all(np.isfinite(intercepts))):
            raise ValueError(
                "The coefficients are not finite: `X` or `y` holds values too large for "
                f"{data.X.dtype}; scale them down."
            )
        gaps = np.stack([fit.gap for fit in fits])
        self._warn_unless(np.stack([fit.converged for fit in fits]), gaps)
        gaps = gaps * np.stack([fit.unit for fit in fits])
        # As in scikit-learn, looking at the start and finding it optimal counts as an iteration.
        steps = [max(int(fit.num_steps), 1) for fit in fits]
        single = len(fits) == 1
        self.coef_ = coefs[0] if single else coefs
        several = intercepts.ndim == 1 and (data.y.ndim > 1 or not single)
        self.intercept_ = intercepts if several else intercepts[0]
        self.dual_gap_ = gaps[0] if single else gaps
        self.n_iter_ = steps[0] if single else steps

    def _warn_unless(self, converged: np.ndarray, gaps: np.ndarray) -> None:
        if np.all(converged):
            return
        worst = np.max(np.where(converged, 0.0, gaps)) / self._tol_unit()
        unit = "‖y‖²/n" if self._tol_unit() == 2 else "the loss of the zero vector"
        unit = "the objective" if isinstance(self._loss(), Equality) else unit
        warnings.warn(
            f"{type(self).__name__} did not converge: the duality gap is {worst:.1e} times "
            f"{unit}, which is more than tol={self.tol:g}. Raise `max_iter` or `tol`, scale the "
            "features, or use float64.",
            ConvergenceWarning,
            stacklevel=2,
        )


class FixedStrengthModel(SparseLinearModel):
    """A model whose strength is given."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **SparseLinearModel._parameter_constraints,
        "alpha": [Interval(Real, 0, None, closed="left")],
        "l1_ratio": [Interval(Real, 0, 1, closed="both")],
        "warm_start": ["boolean"],
    }

    alpha: Any = None  # where the strength has another name
    l1_ratio: float | None = None  # where the penalty has none
    warm_start: bool = False

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training data, computed in its own precision: float32 or else float64.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets; several are fitted one by one, unless the model is one of several tasks.
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
        data = self._validated(X, y, sample_weight)
        with jax.enable_x64(True):
            strength = self._strength(data)
            penalty = self._penalty(strength, self.l1_ratio, data.X.shape[1], data.X.dtype)
            self._fit_targets(data, data.table(penalty), penalty, self._start(data))
        return self

    def _strength(self, data: Data) -> Any:
        """The strength of the penalty beside a loss that averages over the samples."""
        del data
        return self.alpha

    def _start(self, data: Data) -> Float[np.ndarray, "t p ..."] | None:
        """The previous coefficients, if they are to be reused."""
        if not (self.warm_start and hasattr(self, "coef_")):
            return None
        start = np.atleast_2d(self.coef_)
        outputs = self._outputs(data)
        expected = (*(outputs or (len(data.targets),)), data.X.shape[1])
        if start.shape != expected:
            raise ValueError(
                f"`warm_start=True` needs data of the same shape: `coef_` is for (targets, "
                f"features) = {start.shape}, the data is {expected}."
            )
        return start.T[None] if outputs else start
