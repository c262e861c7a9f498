"""Arguments of the functions that prune one linear layer."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._arrays import as_inexact
from .._checks import check_finite, check_length
from ._pattern import AbstractPattern, checked_pattern


def checked_layer(
    weight: Any, pattern: Any, name: str
) -> tuple[Float[Array, "out in"], AbstractPattern]:
    """A finite matrix and a pattern that fits it."""
    weight = checked_weight(weight, name)
    checked_pattern(pattern).check(name, weight.shape)
    return weight, pattern


def checked_weight(weight: Any, name: str) -> Float[Array, "out in"]:
    """A finite matrix."""
    weight = as_inexact(weight, name)
    if weight.ndim != 2:
        raise ValueError(f"`{name}` must be (out, in); got shape {weight.shape}.")
    check_finite(name, weight)
    return weight


def checked_gram(gram: Any, width: int, name: str = "H") -> Float[Array, "in in"]:
    """The finite Gram matrix of that many inputs, in single precision at least."""
    gram = as_inexact(gram, name)
    if gram.shape != (width, width):
        raise ValueError(f"`{name}` must have shape {(width, width)}; got {gram.shape}.")
    check_finite(name, gram)
    return gram.astype(jnp.promote_types(gram.dtype, jnp.float32))


def checked_cross(cross: Any, weight: Float[Array, "out in"]) -> Float[Array, "out in"] | None:
    """Targets times inputs, finite and of the weight's shape, if there are any."""
    if cross is None:
        return None
    cross = checked_weight(cross, "cross")
    if cross.shape != weight.shape:
        raise ValueError(f"`cross` must have shape {weight.shape}; got {cross.shape}.")
    return cross


def checked_norms(norms: Any, width: int) -> Float[Array, " in"]:
    """Finite norms of that many inputs."""
    norms = as_inexact(norms, "norms")
    check_length("norms", norms, width)
    check_finite("norms", norms)
    return norms


def inverse_cholesky(gram: Float[Array, "in in"]) -> Float[Array, "in in"]:
    """Upper triangular U with UᵀU = H⁻¹, without the inverse.

    With its rows and columns in reverse order H = L Lᵀ; in the right order L is upper triangular,
    and U its inverse.
    """
    upper = jnp.linalg.cholesky(gram[::-1, ::-1])[::-1, ::-1]
    identity = jnp.eye(gram.shape[0], dtype=gram.dtype)
    return jax.scipy.linalg.solve_triangular(upper, identity, lower=False)
