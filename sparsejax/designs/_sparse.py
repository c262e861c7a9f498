"""A matrix held as its non-zero entries."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._checks import check_finite, is_concrete, values_of
from ._base import AbstractDesign, GramRows, Moments, centred_variance
from ._sparse_gram import lists_of, products

if TYPE_CHECKING:
    import scipy.sparse
    from jax.experimental import sparse as jsparse

_CHUNK = 2**14  # entries that are looked at together
_LANES = 4
_RUN = 2**8  # entries of one column that are looked at together
_DENSEST = 0.01  # share of entries up to which columns need not be formed for their products
_LISTING = 6000  # products of formed columns that take as long as an entry and its pairs


class Sparse(AbstractDesign):
    """X as triplets (data, row, column), sorted by column.

    Nothing here ever forms X: products cost O(entries), a block of k columns O(entries + n·k).
    Products of many columns with each other go by what each sample has in them, if ``by_row``, the
    order that sorts the triplets by row, is known.

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
    by_row: Int[Array, " nnz"] | None = None

    def __check_init__(self) -> None:
        check_finite("X", self.data)
        if is_concrete(self.cols) and np.any(np.diff(values_of(self.cols)) < 0):
            raise ValueError("`cols` must ascend: sort the triplets by column.")

    @property
    def shape(self) -> tuple[int, int]:
        return self._shape

    @property
    def dtype(self) -> jnp.dtype:
        return self.data.dtype

    def matvec(self, w: Float[Array, " p"]) -> Float[Array, " n"]:
        return _product(self, jnp.asarray(w))

    def rmatvec(self, r: Float[Array, " n"]) -> Float[Array, " p"]:
        return _transposed_product(self, jnp.asarray(r))

    def combine(self, indices: Int[Array, " k"], values: Float[Array, " k"]) -> Float[Array, " n"]:
        if self.dtype.itemsize <= 4 or not _few(self, indices):
            return super().combine(indices, values)  # which knows how to add in single precision
        return _combination(self, indices, jnp.asarray(values))

    def columns(self, indices: Int[Array, " k"]) -> Float[Array, "k n"]:
        return _columns(self, indices)

    def square_norms(self, row_weights: Float[Array, " n"]) -> Float[Array, " p"]:
        # Duplicate entries would have to be added before squaring: constructors remove them.
        terms = row_weights[self.rows] * self.data**2
        return jax.ops.segment_sum(terms, self.cols, self._shape[1])

    def mean_and_variance(self, row_weights: Float[Array, " n"]) -> Moments:
        n, p = self._shape
        sums = lambda x: jax.ops.segment_sum(x, self.cols, p)  # noqa: E731
        held = self.data != 0  # the others may be padding
        weights = jnp.where(held, row_weights[self.rows], 0.0)
        mean = self.rmatvec(row_weights)
        off, rest = self.data - mean[self.cols], jnp.sum(row_weights) - sums(weights)
        # What the rows without an entry weigh: exactly nothing, where there is none.
        rest = jnp.where(sums(held.astype(jnp.int32)) == n, 0.0, jnp.maximum(rest, 0.0))
        squares = sums(weights * off**2) + rest * mean**2
        return centred_variance(mean, sums(weights * off) - rest * mean, squares)

    @property
    def gram_from(self) -> float:
        if self.by_row is None:
            return math.inf
        return math.sqrt(_LISTING * self.data.shape[0] / self._shape[0])

    def gram_rows(self, indices: Int[Array, " k"], row_weights: Float[Array, " n"]) -> GramRows:
        lists, p = lists_of(self, indices, row_weights), self._shape[1]

        def rows(at: Int[Array, " b"]) -> Float[Array, "b k"]:
            chosen = indices.at[at].get(mode="fill", fill_value=p)
            return products(self, chosen, lists, indices.shape[0])

        return rows


def _fold(X: Sparse, visit: Callable[..., Any], start: Any, lanes: int = 1) -> Any:
    """``visit(state, data, rows, cols)`` for a chunk of the entries after the other.

    What is computed of a chunk stays in the cache, where memory for all entries would be new to the
    process every time. With ``lanes``, neighbours in a chunk come from that many places: additions
    to one and the same column would have to wait for each other.
    """
    size, entries = X.data.shape[0], (X.data, X.rows, X.cols)

    def chunk(i: Int[Array, ""], state: Any) -> Any:
        pick = lambda x: jax.lax.dynamic_slice_in_dim(x, i * _CHUNK, _CHUNK)  # noqa: E731
        return visit(state, *(pick(x).reshape(lanes, -1).T.reshape(-1) for x in entries))

    whole = size // _CHUNK
    state = jax.lax.fori_loop(0, whole, chunk, start) if whole else start
    return visit(state, *(x[whole * _CHUNK :] for x in entries))


def _few(X: Sparse, indices: Int[Array, " k"]) -> bool:
    """Whether to look at these columns only: each costs a run at least."""
    return indices.shape[0] * _RUN <= X.data.shape[0]


def _fold_columns(
    X: Sparse, indices: Int[Array, " k"], visit: Callable[..., Any], start: Any
) -> Any:
    """``visit(state, k, data, rows)`` for runs of the entries of the k-th chosen column."""
    begins, ends = (jnp.searchsorted(X.cols, indices, side=side) for side in ("left", "right"))
    runs = (ends - begins + _RUN - 1) // _RUN
    until = jnp.cumsum(runs)

    def run(i: Int[Array, ""], state: Any) -> Any:
        k = jnp.searchsorted(until, i, side="right")
        begin = begins[k] + (i - until[k] + runs[k]) * _RUN
        first = jnp.minimum(begin, X.data.shape[0] - _RUN)  # as slices are clamped
        data, rows = (jax.lax.dynamic_slice_in_dim(x, first, _RUN) for x in (X.data, X.rows))
        place = first + jnp.arange(_RUN)
        return visit(state, k, jnp.where((place >= begin) & (place < ends[k]), data, 0.0), rows)

    return jax.lax.fori_loop(0, until[-1], run, start)


def _sums(X: Sparse, terms: Callable[..., Array], of: int, lanes: int = 1) -> Float[Array, " size"]:
    """What the terms of each row (``of`` 0) or column (1) add up to.

    In single precision 10⁴ terms added up one by one are off by more than a certificate may be.
    There every term is split into a multiple of a grid, on which sums are exact, and a small rest.
    """
    zeros = jnp.zeros(X.shape[of], X.dtype)

    def plain(state: Array, data: Array, *at: Array) -> Array:
        return state.at[at[of]].add(terms(data, *at))

    if X.dtype.itemsize > 4:
        return _fold(X, plain, zeros, lanes)

    def absolute(state: Array, data: Array, *at: Array) -> Array:
        return state.at[at[of]].add(jnp.abs(terms(data, *at)))

    _, exponent = jnp.frexp(_fold(X, absolute, zeros, lanes))
    bits = jnp.finfo(X.dtype).nmant - 1
    lowest = jnp.finfo(X.dtype).minexp + 2 * bits  # no rest that matters is subnormal
    grid = jnp.ldexp(jnp.ones_like(zeros), jnp.maximum(exponent, lowest) - bits)

    def split(state: tuple[Array, Array], data: Array, *at: Array) -> tuple[Array, Array]:
        term, unit = terms(data, *at), grid[at[of]]
        coarse = jnp.round(term / unit) * unit
        return state[0].at[at[of]].add(coarse), state[1].at[at[of]].add(term - coarse)

    coarse, rest = _fold(X, split, (zeros, zeros), lanes)
    return coarse + rest


@eqx.filter_custom_jvp
def _product(X: Sparse, w: Float[Array, " p"]) -> Float[Array, " n"]:
    return _sums(X, lambda data, rows, cols: data * w[cols], 0)


@eqx.filter_custom_jvp
def _transposed_product(X: Sparse, r: Float[Array, " n"]) -> Float[Array, " p"]:
    return _sums(X, lambda data, rows, cols: data * r[rows], 1, _LANES)


@eqx.filter_custom_jvp
def _combination(
    X: Sparse, indices: Int[Array, " k"], values: Float[Array, " k"]
) -> Float[Array, " n"]:
    def add(state: Array, k: Array, data: Array, rows: Array) -> Array:
        return state.at[rows].add(data * values[k])

    return _fold_columns(X, indices, add, jnp.zeros(X.shape[0], X.dtype))


@eqx.filter_custom_jvp
def _columns(X: Sparse, indices: Int[Array, " k"]) -> Float[Array, "k n"]:
    n, p = X.shape
    k = indices.shape[0]
    if _few(X, indices):

        def add(block: Array, k: Array, data: Array, rows: Array) -> Array:
            return block.at[k * n + rows].add(data)

        return _fold_columns(X, indices, add, jnp.zeros(k * n, X.dtype)).reshape(k, n)
    # Slot of each feature in the block; k, which the scatter drops, for those not wanted.
    slots = jnp.full(p, k, jnp.int32).at[indices].set(jnp.arange(k, dtype=jnp.int32), mode="drop")

    def in_two_axes(block: Array, data: Array, rows: Array, cols: Array) -> Array:
        return block.at[slots[cols], rows].add(data, mode="drop")

    def in_one_axis(block: Array, data: Array, rows: Array, cols: Array) -> Array:
        return block.at[slots[cols] * n + rows].add(data, mode="drop")

    # One axis takes half the time of two: entries not wanted land in row k.
    if k * n + n > jnp.iinfo(jnp.int32).max:
        return _fold(X, in_two_axes, jnp.zeros((k, n), X.dtype))
    return _fold(X, in_one_axis, jnp.zeros(k * n, X.dtype)).reshape(k, n)


# Loops over chunks would be slow to transpose: tangents are sums over all entries at once.


@_product.def_jvp
def _product_jvp(primals: Any, tangents: Any) -> Any:
    def plain(X: Sparse, w: Array) -> Array:
        return jax.ops.segment_sum(X.data * w[X.cols], X.rows, X.shape[0])

    return _product(*primals), eqx.filter_jvp(plain, primals, tangents)[1]


@_transposed_product.def_jvp
def _transposed_product_jvp(primals: Any, tangents: Any) -> Any:
    def plain(X: Sparse, r: Array) -> Array:
        return jax.ops.segment_sum(X.data * r[X.rows], X.cols, X.shape[1])

    return _transposed_product(*primals), eqx.filter_jvp(plain, primals, tangents)[1]


@_combination.def_jvp
def _combination_jvp(primals: Any, tangents: Any) -> Any:
    indices = primals[1]

    def plain(X: Sparse, values: Array) -> Array:
        return AbstractDesign.combine(X, indices, values)

    inputs, directions = primals[::2], tangents[::2]
    return _combination(*primals), eqx.filter_jvp(plain, inputs, directions)[1]


@_columns.def_jvp
def _columns_jvp(primals: Any, tangents: Any) -> Any:
    indices = primals[1]

    def plain(X: Sparse) -> Array:
        k = indices.shape[0]
        slots = jnp.full(X.shape[1], k).at[indices].set(jnp.arange(k), mode="drop")
        block = jnp.zeros((k, X.shape[0]), X.dtype)
        return block.at[slots[X.cols], X.rows].add(X.data, mode="drop")

    return _columns(*primals), eqx.filter_jvp(plain, primals[:1], tangents[:1])[1]


def from_scipy(matrix: "scipy.sparse.sparray | scipy.sparse.spmatrix") -> Sparse:
    """Triplets of a SciPy sparse matrix, sorted by column, duplicates added."""
    import scipy.sparse  # not before somebody has such a matrix

    csc = scipy.sparse.csc_array(matrix)
    csc.sum_duplicates()
    n, p = matrix.shape  # type: ignore[misc]  # SciPy's stubs leave it open
    cols = np.repeat(np.arange(p, dtype=np.int32), np.diff(csc.indptr))
    data = csc.data if np.issubdtype(csc.data.dtype, np.floating) else csc.data.astype(float)
    rows = jnp.asarray(csc.indices, jnp.int32)
    order = order_by_row(csc)
    by_row = None if order is None else jnp.asarray(order)
    return Sparse(jnp.asarray(data), rows, jnp.asarray(cols), (n, p), by_row)


def order_by_row(csc: "scipy.sparse.csc_array") -> Int[np.ndarray, " nnz"] | None:
    """What sorts the entries of a canonical matrix by row, if that is of use."""
    import scipy.sparse

    n, p = csc.shape  # type: ignore[misc]  # SciPy's stubs leave it open
    if not _is_sparse(csc.nnz, n, p):
        return None
    entries = np.arange(csc.nnz, dtype=np.int32), csc.indices[: csc.nnz], csc.indptr
    # A change of format, because sorting takes longer.
    return scipy.sparse.csc_array(entries, shape=(n, p)).tocsr().data


def _is_sparse(entries: int, n: int, p: int) -> bool:
    """Whether forming columns takes longer for their products than listing their entries."""
    return entries <= _DENSEST * n * p


def from_bcoo(matrix: "jsparse.BCOO") -> Sparse:
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
    rows, cols = jnp.minimum(rows, n - 1), jnp.minimum(cols, p - 1)
    by_row = jnp.argsort(rows).astype(rows.dtype) if _is_sparse(rows.size, n, p) else None
    return Sparse(data, rows, cols, (n, p), by_row)
