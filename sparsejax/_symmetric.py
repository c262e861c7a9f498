"""The product of a matrix with its own transpose."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_BLOCK = 64  # rows; narrower ones lose more to overhead than the symmetry saves


def outer_gram(rows: Float[Array, "k n"]) -> Float[Array, "k k"]:
    """rows · rowsᵀ; on CPU, where XLA has no such routine, from its lower half."""
    if rows.shape[0] < 2 * _BLOCK:
        return rows @ rows.T
    return jax.lax.platform_dependent(rows, cpu=_by_blocks, default=lambda rows: rows @ rows.T)


def _by_blocks(rows: Float[Array, "k n"]) -> Float[Array, "k k"]:
    k = rows.shape[0]
    pairs = np.tril_indices(-(-k // _BLOCK))
    # The last block overlaps the one before it, rather than being padded.
    starts = jnp.minimum(jnp.array(pairs) * _BLOCK, k - _BLOCK)

    def fill(t: Array, gram: Float[Array, "k k"]) -> Float[Array, "k k"]:
        i, j = starts[0, t], starts[1, t]
        left, right = (jax.lax.dynamic_slice_in_dim(rows, at, _BLOCK) for at in (i, j))
        block = left @ right.T
        gram = jax.lax.dynamic_update_slice(gram, block, (i, j))
        return jax.lax.dynamic_update_slice(gram, block.T, (j, i))

    return jax.lax.fori_loop(0, starts.shape[1], fill, jnp.zeros((k, k), rows.dtype))
