"""A matrix held as its non-zero entries."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jax.experimental import sparse as jsparse
from jaxtyping import Array, Float, Int

from .._checks import check_finite, is_concrete
from ._base import AbstractDesign


class Sparse(AbstractDesign):
    """X as triplets (data, row, column), sorted by column.

    Nothing here ever forms X: products cost O(entries), a block of k columns O(entries + n·k).

    Raises
    ------
    ValueError
        If X holds NaN or infinity, or the columns are known and do not ascend.

    Examples
    --------
    >>> import numpy as np, scipy.sparse, sparsejax as sj
    >>> X = sj.designs.as_design(scipy.sparse.csr_array(np.eye(3)))
    >>> X.matvec(np.ones(3)).tolist()
    [1.0, 1.0, 1.0]
    """

    data: Float[Array, " nnz"]
    rows: Int[Array, " nnz"]
    cols: Int[Array, " nnz"]
    _shape: tuple[int, int] = eqx.field(static=True)

    def __check_init__(self) -> None:
        check_finite("X", self.data)
        if is_concrete(self.cols) and np.any(np.diff(np.asarray(self.cols)) < 0):
            raise ValueError("`cols` must ascend: sort the triplets by column.")

    @property
    def shape(self) -> tuple[int, int]:
        return self._shape

    @property
    def dtype(self) -> jnp.dtype:
        return self.data.dtype

    def matvec(self, w: Float[Array, " p"]) -> Float[Array, " n"]:
        return _sums(self.data * w[self.cols], self.rows, self._shape[0])

    def rmatvec(self, r: Float[Array, " n"]) -> Float[Array, " p"]:
        return _sums(self.data * r[self.rows], self.cols, self._shape[1])

    def columns(self, indices: Int[Array, " k"]) -> Float[Array, "k n"]:
        n, p = self._shape
        k = indices.shape[0]
        # Slot of each feature in the block; k, which the scatter drops, for those not wanted.
        order = jnp.arange(k, dtype=jnp.int32)
        slots = jnp.full(p, k, jnp.int32).at[indices].set(order, mode="drop")
        # Into one axis, which takes half the time of two: entries not wanted land in row k.
        place = slots[self.cols] * n + self.rows
        if k * n + n > jnp.iinfo(place.dtype).max:
            block = jnp.zeros((k, n), self.dtype)
            return block.at[slots[self.cols], self.rows].add(self.data, mode="drop")
        block = jnp.zeros(k * n, self.dtype).at[place].add(self.data, mode="drop")
        return block.reshape(k, n)

    def square_norms(self, row_weights: Float[Array, " n"]) -> Float[Array, " p"]:
        # Duplicate entries would have to be added before squaring: constructors remove them.
        terms = row_weights[self.rows] * self.data**2
        return jax.ops.segment_sum(terms, self.cols, self._shape[1])


def _sums(terms: Float[Array, " nnz"], of: Int[Array, " nnz"], size: int) -> Float[Array, " size"]:
    """What the terms of each row or column add up to.

    In single precision 10⁴ terms added up one by one are off by more than a certificate may be.
    There every term is split into a multiple of a grid, on which sums are exact, and a small rest.
    """
    if terms.dtype.itemsize > 4:
        return jax.ops.segment_sum(terms, of, size)
    fixed = jax.lax.stop_gradient(terms)  # the rest carries the derivative
    _, exponent = jnp.frexp(jax.ops.segment_sum(jnp.abs(fixed), of, size))
    bits = jnp.finfo(terms.dtype).nmant - 1
    lowest = jnp.finfo(terms.dtype).minexp + 2 * bits  # no rest that matters is subnormal
    grid = jnp.ldexp(jnp.ones(size, terms.dtype), jnp.maximum(exponent, lowest) - bits)[of]
    coarse = jnp.round(fixed / grid) * grid
    rest = jax.ops.segment_sum(terms - coarse, of, size)
    return jax.ops.segment_sum(coarse, of, size) + rest


def from_scipy(matrix: scipy.sparse.sparray | scipy.sparse.spmatrix) -> Sparse:
    """Triplets of a SciPy sparse matrix, sorted by column, duplicates added."""
    csc = scipy.sparse.csc_array(matrix)
    csc.sum_duplicates()
    n, p = matrix.shape  # type: ignore[misc]  # SciPy's stubs leave it open
    cols = np.repeat(np.arange(p, dtype=np.int32), np.diff(csc.indptr))
    data = csc.data if np.issubdtype(csc.data.dtype, np.floating) else csc.data.astype(float)
    rows = jnp.asarray(csc.indices, jnp.int32)
    return Sparse(jnp.asarray(data), rows, jnp.asarray(cols), (n, p))


def from_bcoo(matrix: jsparse.BCOO) -> Sparse:
    """Triplets of an unbatched JAX BCOO matrix, sorted by column, duplicates added."""
    if matrix.n_batch or matrix.n_dense:
        raise TypeError("`X` must be a BCOO matrix without batch or dense dimensions.")
    if not matrix.unique_indices:
        matrix = matrix.sum_duplicates(nse=matrix.nse)
    n, p = matrix.shape
    order = jnp.argsort(matrix.indices[:, 1])
    rows, cols = matrix.indices[order, 0], matrix.indices[order, 1]
    # Padding entries point one past the end: they become zeros in the last place.
    data = jnp.where((rows < n) & (cols < p), matrix.data[order], 0.0)
    return Sparse(data, jnp.minimum(rows, n - 1), jnp.minimum(cols, p - 1), (n, p))
