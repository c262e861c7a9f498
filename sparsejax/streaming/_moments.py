"""Everything that least squares knows of a table."""

from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Float

from .._problem import Problem
from ..losses import AbstractLoss, AbstractQuadraticLoss, Equality, SquareRoot
from ..penalties import AbstractPenalty


class Moments(eqx.Module):
    """The triangle R with RᵀR = [1 X y]ᵀ[1 X y]: all means and products of a table.

    Made by ``accumulate``. Because ‖y − Xw − b‖ = ‖R (−b, −w, 1)ᵀ‖, a problem of 1 + p + tasks
    rows stands in for that of all n: ``problem`` makes it, and every solver, path, certificate and
    derivative of it is that of the whole table, up to rounding.

    Parameters
    ----------
    factor
        (k, k) upper triangular in float64, k = 1 + p + tasks.
    num_samples
        n, the number of rows that were accumulated.
    num_tasks
        Columns of y; None where y is a vector.

    Examples
    --------
    >>> import numpy as np, sparsejax as sj
    >>> X, y = np.arange(20.0).reshape(10, 2) % 7, np.arange(10.0) % 3
    >>> moments = sj.streaming.accumulate([(X[:6], y[:6]), (X[6:], y[6:])])
    >>> moments.shape
    (10, 2)
    >>> bool(np.allclose(moments.mean, X.mean(axis=0)))
    True
    >>> lasso = moments.problem(sj.penalties.L1(0.1), fit_intercept=True)
    >>> whole = sj.Problem(X, y, penalty=sj.penalties.L1(0.1), fit_intercept=True)
    >>> [round(float(sj.objective(one, np.ones(2), 0.5)), 2) for one in (lasso, whole)]
    [19.83, 19.83]
    """

    factor: np.ndarray
    num_samples: int = eqx.field(static=True)
    num_tasks: int | None = eqx.field(default=None, static=True)

    @property
    def shape(self) -> tuple[int, int]:
        """(n, p) of the table."""
        return self.num_samples, self.factor.shape[0] - 1 - (self.num_tasks or 1)

    @property
    def mean(self) -> Float[np.ndarray, " p"]:
        """The means of the features."""
        return self.factor[0, 1 : 1 + self.shape[1]] / self.factor[0, 0]

    @property
    def scale(self) -> Float[np.ndarray, " p"]:
        """The standard deviations of the features, those of n (not n − 1) degrees of freedom."""
        centred = self.factor[1:, 1 : 1 + self.shape[1]]
        return np.linalg.norm(centred, axis=0) / np.sqrt(self.num_samples)

    def samples(self) -> tuple[Float[np.ndarray, "k p"], Float[np.ndarray, "k ..."]]:
        """X (k, p) and y (k,) or (k, tasks) of k = 1 + p + tasks rows with the table's moments.

        Means, and averages of products of any two columns, are those of the table: for
        ``designs.standardise`` and for estimators. They mean nothing to losses that are not
        functions of ‖y − z‖, nor to folds.

        Notes
        -----
        √(k/n)·Q·R, for the reflection Q that takes the first unit vector to (1, …, 1)/√k: its
        first column, which stands for the intercept, is one everywhere.
        """
        size = self.factor.shape[0]
        rows = self.factor * np.sqrt(size / self.num_samples)
        normal = np.full(size, -1 / np.sqrt(size))
        normal[0] += 1
        rows[0] *= np.sign(rows[0, 0])
        if size > 1:
            rows -= np.outer(normal, normal @ rows) * (2 / (normal @ normal))
        p = self.shape[1]
        X, y = rows[:, 1 : 1 + p], rows[:, 1 + p :]
        return X, y[:, 0] if self.num_tasks is None else y

    def problem(
        self,
        penalty: AbstractPenalty,
        loss: AbstractLoss | None = None,
        fit_intercept: bool = False,
    ) -> Problem:
        """The problem of the whole table, for ``solve``, ``path`` and all else.

        Parameters
        ----------
        penalty, fit_intercept
            As in ``Problem``.
        loss
            ``Squared()`` (the default), ``SquareRoot()`` or ``Equality()``, without sample weights.

        Raises
        ------
        TypeError
            For a loss that is more than a function of ‖y − z‖.
        ValueError
            For sample weights: the samples are gone.
        """
        if loss is not None:
            _check_loss(loss)
        X, y = self.samples()
        return Problem(X, y, loss, penalty, fit_intercept)


def _check_loss(loss: Any) -> None:
    if not isinstance(loss, AbstractQuadraticLoss | SquareRoot | Equality):
        raise TypeError(
            f"`loss` must be Squared, SquareRoot or Equality, which the moments of a table "
            f"determine; got {type(loss).__name__}."
        )
    if loss.sample_weight is not None:
        raise ValueError("`loss` must have no sample weights: the samples are not kept.")
