"""Matrices that need no entries: the identity, and differences on a grid."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ._base import AbstractDesign


class Identity(AbstractDesign):
    """X = I: every sample measures one coefficient, as in denoising.

    What Problem makes of a ``lineax.IdentityLinearOperator``.

    Parameters
    ----------
    size
        How many.
    dtype
        Of everything; JAX's default float if None.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> sj.designs.Identity(2).matvec(jnp.array([1.0, 2.0])).tolist()
    [1.0, 2.0]
    """

    size: int = eqx.field(static=True)
    precision: jnp.dtype = eqx.field(static=True)

    def __init__(self, size: int, dtype: jnp.dtype | None = None):
        self.size = size
        self.precision = jnp.result_type(dtype or float)

    @property
    def shape(self) -> tuple[int, int]:
        return self.size, self.size

    @property
    def dtype(self) -> jnp.dtype:
        return self.precision

    def matvec(self, w: Float[Array, " p"]) -> Float[Array, " n"]:
        return w

    def rmatvec(self, r: Float[Array, " n"]) -> Float[Array, " p"]:
        return r

    def columns(self, indices: Int[Array, " k"]) -> Float[Array, "k n"]:
        return jax.nn.one_hot(indices, self.size, dtype=self.dtype)

    def all_columns(self) -> Float[Array, "p n"]:
        return jnp.eye(self.size, dtype=self.dtype)

    def square_norms(self, row_weights: Float[Array, " n"]) -> Float[Array, " p"]:
        return row_weights


class GridDifferences(AbstractDesign):
    """w_j − w_i for all neighbours i, j of a grid, one axis after the other.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> sj.designs.GridDifferences((2, 2)).matvec(jnp.array([0.0, 1.0, 2.0, 4.0])).tolist()
    [2.0, 3.0, 1.0, 2.0]
    """

    grid: tuple[int, ...] = eqx.field(static=True)

    @property
    def shape(self) -> tuple[int, int]:
        rows = sum(math.prod(sides) for sides in self._sides)
        return rows, math.prod(self.grid)

    @property
    def dtype(self) -> jnp.dtype:
        return jnp.result_type(float)

    @property
    def _sides(self) -> list[tuple[int, ...]]:
        """Of the array of differences along every axis."""
        axes = range(len(self.grid))
        return [tuple(n - (i == axis) for i, n in enumerate(self.grid)) for axis in axes]

    def ends(self) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"]]:
        """The cells that each difference is between: i and j of w_j − w_i."""
        cells = np.arange(self.shape[1]).reshape(self.grid)
        begins, ends = (
            [np.take(cells, range(first, n - 1 + first), axis) for axis, n in enumerate(self.grid)]
            for first in (0, 1)
        )
        first, second = (np.concatenate([x.reshape(-1) for x in xs]) for xs in (begins, ends))
        return first, second

    def matvec(self, w: Float[Array, " p"]) -> Float[Array, " m"]:
        cells = w.reshape(self.grid)
        return jnp.concatenate(
            [jnp.diff(cells, axis=axis).reshape(-1) for axis in range(len(self.grid))]
        )

    def rmatvec(self, r: Float[Array, " m"]) -> Float[Array, " p"]:
        return self._gathered(r, -1.0)

    def columns(self, indices: Int[Array, " k"]) -> Float[Array, "k m"]:
        return jax.vmap(self.matvec)(jax.nn.one_hot(indices, self.shape[1]))

    def square_norms(self, row_weights: Float[Array, " m"]) -> Float[Array, " p"]:
        return self._gathered(row_weights, 1.0)

    def _gathered(self, r: Float[Array, " m"], sign: float) -> Float[Array, " p"]:
        """For every cell, the entries of differences that end there and sign times the others."""
        total, first = jnp.zeros(self.grid, r.dtype), 0
        for axis, sides in enumerate(self._sides):
            part = r[first : first + math.prod(sides)].reshape(sides)
            first += part.size
            ends, begins = ([(0, 0)] * len(sides) for _ in range(2))
            ends[axis], begins[axis] = (1, 0), (0, 1)
            total = total + jnp.pad(part, ends) + sign * jnp.pad(part, begins)
        return total.reshape(-1)
