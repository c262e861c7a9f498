"""Gram matrices of designs that have them without forming their columns."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ._base import AbstractDesign


@eqx.filter_custom_jvp
def gram(
    X: AbstractDesign, indices: Int[Array, " k"], row_weights: Float[Array, " n"]
) -> Float[Array, "k k"]:
    """Σ_i row_weights_i X_ij X_il for distinct indices j and l (but for padding)."""
    return X.gram_rows(indices, row_weights)(jnp.arange(indices.shape[0]))


@gram.def_jvp
def _gram_jvp(primals: Any, tangents: Any) -> Any:
    # Loops over entries could not be transposed.
    def formed(X: AbstractDesign, indices: Array, row_weights: Array) -> Array:
        columns = X.columns(indices)
        return (columns * row_weights) @ columns.T

    return gram(*primals), eqx.filter_jvp(formed, primals, tangents)[1]
