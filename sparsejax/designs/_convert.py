"""From whatever users hold to a design."""

from typing import Any

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np

from .._arrays import as_inexact, cast_floats
from ._base import AbstractDesign
from ._dense import Dense
from ._grid import Identity
from ._operator import Operator
from ._sparse import from_bcoo, from_scipy


def as_design(X: Any) -> AbstractDesign:
    """Wrap an array, BCOO, BCSR, SciPy sparse matrix or lineax operator as a design.

    Raises
    ------
    TypeError
        If X holds text or objects.
    ValueError
        If X is not a non-empty matrix, or holds NaN or infinity.

    Examples
    --------
    >>> import numpy as np, sparsejax as sj
    >>> sj.designs.as_design(np.eye(3)).shape
    (3, 3)
    """
    design = _wrap(X)
    if 0 in design.shape:
        raise ValueError(f"`X` must have at least one sample and one feature; got {design.shape}.")
    return design


def _wrap(X: Any) -> AbstractDesign:
    if isinstance(X, AbstractDesign):
        return X
    if isinstance(X, lx.AbstractLinearOperator):
        design = Operator(X)
        square = design.shape[0] == design.shape[1]
        plain = isinstance(X, lx.IdentityLinearOperator) and square
        return Identity(design.shape[0], design.dtype) if plain else design
    if not isinstance(X, np.ndarray | jax.Array):
        sparse = _wrap_sparse(X)
        if sparse is not None:
            return sparse
        X = as_inexact(X, "X")
    # Transposed before JAX copies it: NumPy's strides make that free.
    array = as_inexact(X.T, "X")
    if array.ndim != 2:
        shape = array.shape[::-1]
        raise ValueError(f"`X` must be a matrix (samples, features); got shape {shape}.")
    # In half precision no factorisation is to be had.
    return Dense(array.astype(jnp.promote_types(array.dtype, jnp.float32)))


def _wrap_sparse(X: Any) -> AbstractDesign | None:
    # Importing these takes a sixth of the first call: whoever has an array does not wait for them.
    import scipy.sparse
    from jax.experimental import sparse as jsparse

    if scipy.sparse.issparse(X):
        return from_scipy(X)
    if isinstance(X, jsparse.BCSR):
        X = X.to_bcoo()
    if isinstance(X, jsparse.BCOO):
        return from_bcoo(cast_floats(X, jnp.result_type(X.dtype, jnp.float32)))
    return None
