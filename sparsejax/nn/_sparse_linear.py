"""A linear layer that holds the non-zero weights alone."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap
from jax.experimental import sparse as jsparse
from jaxtyping import Array, Float, Int

from .._checks import is_concrete


class SparseLinear(eqx.Module):
    """W x + b by the non-zero entries of W, for inference and for training what is left.

    Worth it where few are left (``python -m bench.pruning.sparse_linear``): at 50 % and at 2:4 a
    dense product is faster. A batch under ``vmap`` is one product with a matrix of all its inputs.

    Attributes
    ----------
    data, columns, starts
        The entries row by row, their columns, and where each row begins (compressed rows).
    bias
        (out,), or None.

    Examples
    --------
    >>> import equinox as eqx, jax, jax.numpy as jnp, sparsejax as sj
    >>> linear = eqx.nn.Linear(64, 32, key=jax.random.key(0))
    >>> masks = sj.nn.magnitude_masks(linear, sj.nn.Unstructured(0.9))
    >>> pruned = sj.nn.apply_masks(linear, masks)
    >>> sparse, x = sj.nn.SparseLinear.of(pruned), jnp.ones((5, 64))
    >>> sparse.data.size, linear.weight.size
    (205, 2048)
    >>> bool(jnp.allclose(jax.vmap(sparse)(x), jax.vmap(pruned)(x), atol=1e-6))
    True
    """

    data: Float[Array, " nnz"]
    columns: Int[Array, " nnz"]
    starts: Int[Array, " rows"]
    bias: Float[Array, " out"] | None
    in_features: int = eqx.field(static=True)
    out_features: int = eqx.field(static=True)

    @classmethod
    def of(cls, linear: eqx.nn.Linear) -> "SparseLinear":
        """The layer with the entries of ``linear.weight`` that are not zero.

        Raises
        ------
        TypeError
            If it is not a linear layer with known weights.
        """
        if not isinstance(linear, eqx.nn.Linear):
            raise TypeError(f"`linear` must be an equinox.nn.Linear; got {type(linear).__name__}.")
        if not is_concrete(linear.weight):
            raise TypeError("`linear` is traced: which of its weights are zero must be known.")
        weight = np.asarray(linear.weight)
        rows, columns = np.nonzero(weight)
        starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=weight.shape[0]))])
        return cls(
            jnp.asarray(weight[rows, columns]),
            jnp.asarray(columns, jnp.int32),
            jnp.asarray(starts, jnp.int32),
            linear.bias,
            weight.shape[1],
            weight.shape[0],
        )

    def __call__(self, x: Float[Array, " in"], *, key: Any = None) -> Float[Array, " out"]:
        del key  # layers of a Sequential take one
        if x.shape != (self.in_features,):
            raise ValueError(f"`x` must have shape {(self.in_features,)}; got {x.shape}.")
        out = _product(self.data, self.columns, self.starts, x[None])[0]
        return out if self.bias is None else out + self.bias


@jax.custom_vjp
def _product(
    data: Float[Array, " nnz"],
    columns: Int[Array, " nnz"],
    starts: Int[Array, " rows"],
    x: Float[Array, "batch in"],
) -> Float[Array, "batch out"]:
    return _batched(data, columns, starts, x)


@custom_vmap
def _batched(data: Array, columns: Array, starts: Array, x: Array) -> Array:
    weight = jsparse.BCSR(
        (data, columns, starts),
        shape=(starts.shape[0] - 1, x.shape[1]),
        indices_sorted=True,
        unique_indices=True,
    )
    return (weight @ x.T).T


@_batched.def_vmap
def _more_inputs(size: int, mapped: list[bool], *operands: Array) -> tuple[Array, bool]:
    *weight, x = operands
    if any(mapped[:-1]):  # different weights: one after the other
        each = (
            a if is_mapped else jnp.broadcast_to(a, (size, *a.shape))
            for a, is_mapped in zip(operands, mapped, strict=True)
        )
        return jax.lax.map(lambda one: _batched(*one), tuple(each)), True
    return _batched(*weight, x.reshape(-1, x.shape[-1])).reshape(*x.shape[:2], -1), True


def _forward(data: Array, columns: Array, starts: Array, x: Array) -> tuple[Array, Any]:
    return _product(data, columns, starts, x), (data, columns, starts, x)


def _backward(saved: Any, slope: Array) -> tuple[Array, None, None, Array]:
    data, columns, starts, x = saved
    rows = jnp.searchsorted(starts, jnp.arange(data.shape[0]), side="right") - 1
    of_rows = slope[:, rows]
    data_slope = jnp.sum(of_rows * x[:, columns], axis=0)
    return data_slope, None, None, jnp.zeros_like(x).at[:, columns].add(of_rows * data)


_product.defvjp(_forward, _backward)
