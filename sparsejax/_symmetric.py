"""The product of a matrix with its own transpose."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

_BLOCK = 64  # rows; narrower ones lose more to overhead than the symmetry saves
_CHUNK = 128  # rows whose products are added up at once


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


def lower_inner_gram(rows: Float[Array, "k n"], count: Int[Array, ""]) -> Float[Array, "n n"]:
    """rowsᵀ · rows, of which only the lower triangle is sure to be filled.

    All but the first ``count`` rows are zero; on CPU these are not looked at.
    """
    if rows.shape[0] % _CHUNK:
        return rows.T @ rows
    return jax.lax.platform_dependent(
        rows, count, cpu=_by_chunks, default=lambda rows, _: rows.T @ rows
    )


def _by_chunks(rows: Float[Array, "k n"], count: Int[Array, ""]) -> Float[Array, "n n"]:
    n = rows.shape[1]
    half = n // 2

    def add(i: Int[Array, ""], gram: Float[Array, "n n"]) -> Float[Array, "n n"]:
        chunk = jax.lax.dynamic_slice_in_dim(rows, i * _CHUNK, _CHUNK)
        # As an array of its own: XLA's product with a transpose takes nearly twice as long.
        turned = jax.lax.optimization_barrier(chunk.T)
        upper = jnp.pad(turned[:half] @ chunk[:, :half], ((0, 0), (0, n - half)))
        return gram + jnp.concatenate([upper, turned[half:] @ chunk])

    return jax.lax.fori_loop(0, -(-count // _CHUNK), add, jnp.zeros((n, n), rows.dtype))
