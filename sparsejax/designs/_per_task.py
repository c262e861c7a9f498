"""A design for each task."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._arrays import as_inexact
from .._checks import check_finite
from ._base import AbstractDesign


class PerTask(AbstractDesign):
    """Every sample belongs to one task t, and measures Σ_j X_ij W_jt: each task has its own design.

    The coefficients are the entries of W (p, tasks) row by row, ``coef.reshape(p, tasks)``, so
    penalties of matrices need to know: ``Nuclear(strength, shape=(p, tasks))``.

    Parameters
    ----------
    X
        (n, p): the samples of all tasks, in any order.
    tasks
        (n,) integer labels 0, 1, …, known when the design is built, each of them used.

    Raises
    ------
    ValueError
        If ``X`` is no finite matrix, or ``tasks`` is no vector of a label for each sample.

    Examples
    --------
    >>> import numpy as np, sparsejax as sj
    >>> X = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    >>> design = sj.designs.PerTask(X, [0, 1, 0])
    >>> W = np.array([[1.0, 0.0], [0.0, 1.0]])  # the first task looks at the first feature only
    >>> design.matvec(W.reshape(-1)).tolist()
    [1.0, 4.0, 5.0]
    """

    X: Float[Array, "n p"]
    tasks: Int[Array, " n"]
    members: Int[Array, "tasks most"]  # the samples of every task, then n
    num_tasks: int = eqx.field(static=True)

    def __init__(self, X: Any, tasks: Any):
        self.X = as_inexact(X, "X")
        if self.X.ndim != 2:
            raise ValueError(f"`X` must be a matrix; got shape {self.X.shape}.")
        check_finite("X", self.X)
        labels = np.asarray(tasks)
        if labels.shape != self.X.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
            raise ValueError(
                f"`tasks` must be {self.X.shape[0]} integer labels, one a sample; got shape "
                f"{labels.shape} of {labels.dtype}."
            )
        counts = np.bincount(labels) if labels.size and labels.min() >= 0 else np.zeros(1, int)
        if not counts.all():
            raise ValueError("`tasks` must name every label from 0 to the largest.")
        self.tasks, self.num_tasks = jnp.asarray(labels, jnp.int32), counts.size
        order = np.argsort(labels, kind="stable")
        places = np.arange(labels.size) - np.repeat(np.cumsum(counts) - counts, counts)
        members = np.full((counts.size, int(counts.max())), labels.size, np.int32)
        members[labels[order], places] = order
        self.members = jnp.asarray(members)

    @property
    def shape(self) -> tuple[int, int]:
        return self.X.shape[0], self.X.shape[1] * self.num_tasks

    @property
    def dtype(self) -> jnp.dtype:
        return self.X.dtype

    def matvec(self, w: Float[Array, " p*tasks"]) -> Float[Array, " n"]:
        return jnp.sum(self.X * w.reshape(-1, self.num_tasks).T[self.tasks], axis=1)

    def rmatvec(self, r: Float[Array, " n"]) -> Float[Array, " p*tasks"]:
        return self._sums(self.X * r[:, None])

    def columns(self, indices: Int[Array, " k"]) -> Float[Array, "k n"]:
        feature, task = indices // self.num_tasks, indices % self.num_tasks
        column = self.X.T.at[feature].get(mode="fill", fill_value=0.0)
        return jnp.where(self.tasks == task[:, None], column, 0.0)

    def square_norms(self, row_weights: Float[Array, " n"]) -> Float[Array, " p*tasks"]:
        return self._sums(self.X**2 * row_weights[:, None])

    def by_task(self, rows: Float[Array, "n ..."]) -> Float[Array, "tasks most ..."]:
        """The rows of every task, then zeros."""
        return rows.at[self.members].get(mode="fill", fill_value=0.0)

    def _sums(self, rows: Float[Array, "n p"]) -> Float[Array, " p*tasks"]:
        return jax.ops.segment_sum(rows, self.tasks, self.num_tasks).T.reshape(-1)
