"""Pruning a column at a time, the columns to come making up for each."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ._block import Block
from ._layer import checked_gram, checked_layer, inverse_cholesky
from ._nm import NM
from ._pattern import AbstractPattern
from ._scores import obs_scores
from ._unstructured import Unstructured

_WIDTH = 128  # columns that are worked on before the ones to come hear of it
_DAMPING = 0.01  # of the mean of the diagonal


def sparsegpt(
    W: Float[Array, "out in"], H: Float[Array, "in in"], pattern: AbstractPattern
) -> tuple[Float[Array, "out in"], Bool[Array, "out in"]]:
    """Drop weights and let later inputs make up for them, by the inverse of the Gram matrix.

    Parameters
    ----------
    W
        (out, in).
    H
        (in, in) Gram matrix of the inputs over the calibration data, on any scale. Inputs that
        were always zero lose their weights.
    pattern
        ``Unstructured`` weights compete over all outputs within a block of 128 inputs; ``NM``;
        ``Block``. Channels, which nothing can make up for, are not supported.

    Returns
    -------
    weight, mask
        (out, in): exact zeros where the mask is False.

    Raises
    ------
    ValueError
        For NaN, infinity or shapes that do not fit; the message names the argument.
    TypeError
        For ``Channel``.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> H = jnp.array([[1.0, 1.0], [1.0, 1.0]])  # two inputs that are always equal
    >>> weight, mask = sj.nn.sparsegpt(jnp.array([[1.0, 2.0]]), H, sj.nn.NM(1, 2))
    >>> weight.round(1).tolist()
    [[0.0, 3.0]]

    Notes
    -----
    Frantar & Alistarh, SparseGPT (ICML 2023), algorithm 1, with damping 0.01·mean(diag H).
    """
    W, pattern = checked_layer(W, pattern, "W")
    return _sparsegpt(W, checked_gram(H, W.shape[1]), pattern)


@functools.partial(jax.jit, static_argnums=2)
def _sparsegpt(W: Any, H: Any, pattern: AbstractPattern) -> tuple[Array, Array]:
    stripe = _stripe(pattern)
    width = max(_WIDTH // stripe, 1) * stripe
    H, alive = prepared_gram(H)
    upper = inverse_cholesky(H)
    columns = jnp.where(alive, W, 0.0).astype(H.dtype).T  # one input a row, next to each other
    state = (columns, jnp.zeros(columns.shape, bool))
    full, rest = divmod(columns.shape[0], width)

    def visit(i: Int[Array, ""], state: tuple[Array, Array]) -> tuple[Array, Array]:
        columns, mask = state
        return _block_step(columns, mask, upper, i * width, width, pattern, stripe)

    if full:
        state = jax.lax.fori_loop(0, full, visit, state)
    if rest:
        start = jnp.array(full * width)
        state = _block_step(state[0], state[1], upper, start, rest, pattern, stripe)
    columns, mask = state
    return columns.T.astype(W.dtype), mask.T


def prepared_gram(H: Float[Array, "in in"]) -> tuple[Float[Array, "in in"], Bool[Array, " in"]]:
    """Damped, with ones for inputs that were always zero; and which were not."""
    alive = jnp.diagonal(H) != 0
    H = H + jnp.diag(jnp.where(alive, 0.0, 1.0).astype(H.dtype))
    damping = _DAMPING * jnp.mean(jnp.diagonal(H))
    return H + damping * jnp.eye(H.shape[0], dtype=H.dtype), alive


def _stripe(pattern: AbstractPattern) -> int:
    """How many inputs are chosen from together."""
    if isinstance(pattern, NM):
        return pattern.of
    if isinstance(pattern, Block):
        return pattern.shape[1] if len(pattern.shape) > 1 else 1
    if isinstance(pattern, Unstructured):
        return 1
    raise TypeError(f"sparsegpt does not support {type(pattern).__name__}: use wanda.")


def _block_step(
    columns: Float[Array, "in out"],
    mask: Bool[Array, "in out"],
    upper: Float[Array, "in in"],
    start: Int[Array, ""],
    width: int,
    pattern: AbstractPattern,
    stripe: int,
) -> tuple[Float[Array, "in out"], Bool[Array, "in out"]]:
    """Prune ``width`` inputs from ``start`` on, and tell those to come."""
    rows = jax.lax.dynamic_slice_in_dim(upper, start, width)
    corner = jax.lax.dynamic_slice_in_dim(rows, start, width, axis=1)
    pivots = jnp.diagonal(corner)
    block = jax.lax.dynamic_slice_in_dim(columns, start, width)
    # N:M chooses from weights as they are when their turn comes, the others once a block.
    together = stripe if isinstance(pattern, NM) else width

    def choose(g: Int[Array, ""], state: tuple[Array, ...]) -> tuple[Array, ...]:
        block, kept, errors = state
        first = g * together
        now = jax.lax.dynamic_slice_in_dim(block, first, together)
        scores = obs_scores(now.T, jax.lax.dynamic_slice_in_dim(pivots, first, together) ** 2)
        kept = jax.lax.dynamic_update_slice_in_dim(kept, pattern.mask(scores).T, first, 0)

        def drop(j: Int[Array, ""], state: tuple[Array, Array]) -> tuple[Array, Array]:
            block, errors = state
            new = jnp.where(kept[j], block[j], 0.0)
            error = (block[j] - new) / pivots[j]
            # The row of U is zero before the pivot: what has had its turn stays.
            block = block - corner[j][:, None] * error
            return block.at[j].set(new), errors.at[j].set(error)

        block, errors = jax.lax.fori_loop(first, first + together, drop, (block, errors))
        return block, kept, errors

    first = (block, jnp.zeros(block.shape, bool), jnp.zeros_like(block))
    block, kept, errors = jax.lax.fori_loop(0, width // together, choose, first)
    to_come = jnp.arange(columns.shape[0]) >= start + width
    columns = columns - jnp.where(to_come, rows, 0.0).T @ errors
    columns = jax.lax.dynamic_update_slice_in_dim(columns, block, start, 0)
    return columns, jax.lax.dynamic_update_slice_in_dim(mask, kept, start, 0)
