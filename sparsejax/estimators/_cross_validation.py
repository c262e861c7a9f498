"""Models that choose their strength on held-out folds."""

import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any, ClassVar, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from sklearn.model_selection import check_cv
from sklearn.utils import check_scalar
from sklearn.utils._param_validation import Interval

from .._solution import RESULTS
from ..losses import AbstractQuadraticLoss
from ..penalties import AbstractPenalty, AbstractStrengthPenalty, ElasticNet
from ..resampling import CrossValidation
from ._base import Data, SparseLinearModel
from ._padding import pad_penalty
from ._programs import held_out_losses, largest_strength
from ._responses import AbstractResponse, Classes, Numbers
from ._table import Table


class Folds(NamedTuple):
    """Weights of all samples in the fit and in the error of every fold."""

    train: Float[np.ndarray, "folds n"]
    test: Float[np.ndarray, "folds n"]


def make_folds(cv: Any, data: Data, stratified: bool = False) -> Folds:
    """Weights for the splits of any scikit-learn splitter; repeated indices count as often.

    A number of folds stands for consecutive ones, stratified if so asked.

    Raises
    ------
    ValueError
        If the samples of a fold, in training or in test, have no weight.
    """
    n = data.weights.shape[0]

    def weigh(indices: Any) -> Float[np.ndarray, " n"]:
        return data.weights * np.bincount(np.arange(n)[indices], minlength=n)

    splitter: Any = check_cv(cv, data.y, classifier=stratified)
    splits = list(splitter.split(data.X, data.y))
    if not splits:
        raise ValueError("`cv` yields no splits.")
    folds = Folds(*(np.stack([weigh(split[side]) for split in splits]) for side in (0, 1)))
    for name, weights in zip(("training", "test"), folds, strict=True):
        empty = np.flatnonzero(weights.sum(axis=1) == 0)
        if empty.size:
            raise ValueError(f"`cv`: the {name} samples of fold {empty[0]} have no weight.")
    return folds


class CrossValidatedModel(SparseLinearModel):
    """A model whose strength has the smallest held-out error on a grid.

    All strengths of all folds are one compiled call. A fold is not a smaller table but the same
    one with weights, so every fold shares it.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **SparseLinearModel._parameter_constraints,
        "eps": [Interval(Real, 0, None, closed="neither")],
        "alphas": [Interval(Integral, 1, None, closed="left"), "array-like"],
        "cv": ["cv_object"],
    }

    eps: float
    l1_ratio: Any = None  # where the penalty has none
    alphas: Any
    cv: Any
    alpha_: float
    alphas_: Float[np.ndarray, "..."]
    mse_path_: Float[np.ndarray, "..."]  # for squared errors
    loss_path_: Float[np.ndarray, "..."]  # for any other loss

    def _response(self) -> AbstractResponse:
        return Numbers(several=False)

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Choose the strength on held-out folds, then fit all samples with it.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training data, computed in its own precision: float32 or else float64.
        y : array-like of shape (n_samples,)
            Target.
        sample_weight : float or array-like of shape (n_samples,), default=None
            Nonnegative weights, for the fit and for the error of each fold; every fold counts
            the same in the mean over folds.

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
            If a duality gap is above ``tol``.
        """
        data = self._validated(X, y, sample_weight)
        ratios = self._l1_ratios()
        response = self._response()
        folds = make_folds(self.cv, data, isinstance(response, Classes))
        response.check_training(folds.train, data.targets)
        dtype = data.X.dtype
        with jax.enable_x64(True):
            given = [self._penalty(1.0, ratio, data.X.shape[1], dtype) for ratio in ratios]
            table = data.table(given[0])
            widths = table.num_features, table.design.shape[1]
            units: list[Any] = [pad_penalty(unit, *widths) for unit in given]
            grids = np.stack([self._grid(table, unit) for unit in units])
            held_out = [
                self._held_out(table, folds, unit, grid)
                for unit, grid in zip(units, grids, strict=True)
            ]
            errors = np.stack([result.losses.T for result in held_out])  # (ratios, alphas, folds)
            self._warn_unless(
                np.stack([result.results == RESULTS.successful for result in held_out]),
                np.stack([result.gaps for result in held_out]),
            )
            ratio, best = np.unravel_index(np.argmin(errors.mean(axis=2)), grids.shape)
            self._keep_errors(errors, data)
            self.alphas_ = grids if len(ratios) > 1 and self._makes_grid() else grids[0]
            if ratios[ratio] is not None:
                self.l1_ratio_ = ratios[ratio]
            self.alpha_ = self._refined(table, folds, units[ratio], float(grids[ratio, best]))
            penalty = self._penalty(self.alpha_, ratios[ratio], data.X.shape[1], dtype)
            self._fit_targets(data, table, penalty)
        return self

    def _keep_errors(self, errors: Float[np.ndarray, "ratios k folds"], data: Data) -> None:
        """Held-out losses as they are, or as mean squared errors over samples and targets."""
        errors = np.squeeze(errors)
        if isinstance(self._loss(), AbstractQuadraticLoss):
            self.mse_path_ = 2 * errors / math.prod(self._outputs(data))
        else:
            self.loss_path_ = errors

    def _refined(self, table: Table, folds: Folds, unit: AbstractPenalty, alpha: float) -> float:
        """The strength to use where ``alpha`` is the best of the grid; ``unit`` is at one."""
        del table, folds, unit
        return alpha

    def _l1_ratios(self) -> list[Any]:
        """The ratios to try; a lone None stands for a penalty without one."""
        if self.l1_ratio is None:
            return [None]
        ratios = self.l1_ratio if np.ndim(self.l1_ratio) else [self.l1_ratio]
        return check_numbers("l1_ratio", ratios, high=1.0).tolist()

    def _makes_grid(self) -> bool:
        return isinstance(self.alphas, Integral)

    def _grid(self, table: Table, unit: AbstractStrengthPenalty) -> Float[np.ndarray, " k"]:
        """Strengths, the largest first."""
        if not self._makes_grid():
            return np.sort(check_numbers("alphas", self.alphas, high=None))[::-1]
        if isinstance(unit, ElasticNet) and unit.l1_ratio == 0:
            raise ValueError("`alphas` must be given for l1_ratio=0, whose path has no beginning.")
        loss = self._loss().reweighted(table.weights)
        program = largest_strength(
            table.design, table.targets[0], loss, unit, bool(self.fit_intercept)
        )
        # A target that no feature explains has the same solution everywhere on the grid.
        largest = max(float(program), float(np.finfo(np.float64).resolution))
        return np.geomspace(largest, largest * self.eps, self.alphas)

    def _held_out(
        self,
        table: Table,
        folds: Folds,
        unit: AbstractStrengthPenalty,
        grid: Float[np.ndarray, " k"],
    ) -> CrossValidation:
        dtype = table.design.dtype
        result = held_out_losses(
            table.design,
            table.targets[0],
            table.rows(folds.train),
            table.rows(folds.test),
            self._loss(),
            unit,
            jnp.asarray(grid, dtype),
            bool(self.fit_intercept),
            self._stopping(dtype),
            self._solver(),
        )
        return jax.tree.map(np.asarray, result)


def check_numbers(name: str, values: Iterable[Any], high: float | None) -> np.ndarray:
    """A vector of numbers in [0, high]; the error says which entry is not."""
    for index, value in enumerate(values):
        check_scalar(value, f"{name}[{index}]", Real, min_val=0.0, max_val=high)
    vector = np.asarray(values, float)
    if vector.ndim != 1 or vector.size == 0:
        raise ValueError(f"`{name}` must hold at least one number; got {values!r}.")
    return vector
