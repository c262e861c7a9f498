"""What problems that are solved together must agree on."""

import jax
import jax.numpy as jnp
from jaxtyping import Array


@jax.custom_batching.custom_vmap
def largest(x: Array) -> Array:
    """x or, under ``vmap``, the largest over the batch: one number that all may branch on."""
    return x


@largest.def_vmap
def _largest_of_batch(axis_size: int, in_batched: list[bool], x: Array) -> tuple[Array, bool]:
    del axis_size
    return largest(jnp.max(x, axis=0) if in_batched[0] else x), False
