"""What first-order methods share: the size of a step, and momentum."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def largest_eigenvalue(
    multiply: Callable[[Array], Array], start: Array, num_iterations: int = 60
) -> Float[Array, ""]:
    """Of a positive semidefinite matrix, by power iteration: from below, and one for zero."""

    def normalised(v: Array) -> Array:
        norm = jnp.linalg.norm(v)
        return v / jnp.where(norm > 0, norm, 1.0)

    def step(_: int, v: Array) -> Array:
        return normalised(multiply(v))

    vector = jax.lax.fori_loop(0, num_iterations, step, normalised(start))
    largest = jnp.linalg.norm(multiply(vector))
    return jnp.where(largest > 0, largest, 1.0)


def wave(shape: tuple[int, ...], dtype: jnp.dtype) -> Float[Array, "..."]:
    """A start with no symmetry, so that no eigenvector is missed, and the same every time."""
    order = jnp.arange(math.prod(shape), dtype=dtype)
    return jnp.sin(1.0 + order**2).reshape(shape)


def restarted_momentum(
    momentum: Float[Array, ""], uphill: Bool[Array, ""]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The weight of Nesterov's extrapolation, zero where it points uphill, and what follows."""
    momentum = jnp.where(uphill, 1.0, momentum)
    following = (1 + jnp.sqrt(1 + 4 * momentum**2)) / 2
    return jnp.where(uphill, 0.0, (momentum - 1) / following), following
