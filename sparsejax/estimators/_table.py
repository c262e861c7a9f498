"""From validated NumPy data to the arrays that the solvers take."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jaxtyping import Array, Float

from ..designs import AbstractDesign, Dense, Sparse
from ..designs._sparse import order_by_row

_SMALL = 2**16  # entries of a table that is solved in less time than it takes to notice


class Table(NamedTuple):
    """Data in the shapes that are solved: at least those that the user gave.

    A row of padding has weight zero and a column of padding is zero, so neither changes the
    solution.
    """

    design: AbstractDesign
    targets: Float[Array, "t n ..."]
    weights: Float[Array, " n"]
    num_samples: int
    num_features: int

    def rows(self, values: np.ndarray) -> Float[Array, "k n"]:
        """(k, samples) values, with zeros for the rows of padding."""
        padding = self.weights.shape[0] - self.num_samples
        return jnp.asarray(np.pad(values, ((0, 0), (0, padding))), self.design.dtype)

    def coefs(self, coefs: Float[np.ndarray, "t p ..."]) -> Float[Array, "t p ..."]:
        """(t, features, …) coefficients, with zeros for the columns of padding."""
        padding = self.design.shape[1] - self.num_features
        return jnp.asarray(np.pad(coefs, _axes(padding, coefs.ndim)), self.design.dtype)


def _axes(padding: int, ndim: int) -> list[tuple[int, int]]:
    """Padding at the end of the second axis alone."""
    return [(0, padding if axis == 1 else 0) for axis in range(ndim)]


def make_table(
    X: Any, targets: np.ndarray, weights: np.ndarray, pad_features: bool = True
) -> Table:
    """Pad X (n, p), targets (t, n, …) and weights (n,) to a shape likely compiled before.

    Rows of padding repeat the last target, so that each is one that the loss takes.
    """
    n, p = X.shape
    rows, features = _padded_shape(n, p)
    if not pad_features:
        features = p
    design = _sparse(X, rows, features) if scipy.sparse.issparse(X) else _dense(X, rows, features)
    padding = rows - n
    return Table(
        design,
        jnp.asarray(
            np.pad(targets, ((0, 0), (0, padding), *[(0, 0)] * (targets.ndim - 2)), "edge")
        ),
        jnp.asarray(np.pad(weights, (0, padding))),
        n,
        p,
    )


def _padded_shape(n: int, p: int) -> tuple[int, int]:
    """Powers of two for small tables: the folds of a cross-validation then share one program.

    Compiling takes seconds and is paid once a shape. Large tables are left as they are, because
    computing with padding would cost more than compiling.
    """
    rows = max(256, 1 << (n - 1).bit_length())
    features = max(64, 1 << (p - 1).bit_length())
    return (rows, features) if rows * features <= _SMALL else (n, p)


def _dense(X: np.ndarray, rows: int, features: int) -> Dense:
    padding = (0, features - X.shape[1]), (0, rows - X.shape[0])
    padded = np.pad(X.T, padding) if (rows, features) != X.shape else X.T
    return Dense(jnp.asarray(padded))


def _sparse(X: Any, rows: int, features: int) -> Sparse:
    """Triplets sorted by column; explicit zeros at the end make their number a round one."""
    X = scipy.sparse.csc_array(X)
    if not X.has_canonical_format:
        X = X.copy()  # what follows writes in place
        X.sum_duplicates()
    step = max(1024, 1 << max(X.nnz.bit_length() - 4, 0))
    padding = (0, -X.nnz % step if X.nnz else step)
    columns = np.repeat(np.arange(X.shape[1], dtype=np.int32), np.diff(X.indptr))
    order = order_by_row(X)
    zeros = np.arange(X.nnz, X.nnz + padding[1], dtype=np.int32)
    return Sparse(
        jnp.asarray(np.pad(X.data[: X.nnz], padding)),
        # In the last row, so that the order by row is one.
        jnp.asarray(np.pad(X.indices[: X.nnz].astype(np.int32), padding, constant_values=rows - 1)),
        jnp.asarray(np.pad(columns, padding, constant_values=features - 1)),
        (rows, features),
        None if order is None else jnp.asarray(np.append(order, zeros)),
    )
