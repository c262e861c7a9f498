"""Products of a design with one target or several."""

import jax
from jaxtyping import Array, Float

from ._base import AbstractDesign


def matvec(X: AbstractDesign, coef: Float[Array, "p ..."]) -> Float[Array, "n ..."]:
    """X·coef for one target or several."""
    if coef.ndim == 1:
        return X.matvec(coef)
    # Target by target in memory too: XLA's product that ends in the other order takes two to three
    # times as long.
    targets = jax.lax.optimization_barrier(coef.T)
    return jax.lax.optimization_barrier(jax.vmap(X.matvec)(targets)).T


def rmatvec(X: AbstractDesign, residual: Float[Array, "n ..."]) -> Float[Array, "p ..."]:
    """Xᵀ·residual for one target or several."""
    if residual.ndim == 1:
        return X.rmatvec(residual)
    return jax.vmap(X.rmatvec, in_axes=1, out_axes=1)(residual)
