"""Least squares on a fixed mask: the best weights that a mask allows."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._arrays import as_inexact
from .._checks import check_nonnegative, is_concrete
from ._layer import checked_cross, checked_gram, checked_weight

_ENTRIES = 2**24  # of the matrices that are factorised at a time


def refit(
    W0: Float[Array, "out in"],
    mask: Bool[Array, "out in"],
    H: Float[Array, "in in"],
    damping: Float[Array, ""] | float = 0.0,
    *,
    cross: Float[Array, "out in"] | None = None,
) -> Float[Array, "out in"]:
    """The weight on the mask whose outputs are nearest to those of ``W0``.

    Minimises tr((W − W0) (H + damping·mean(diag H)·I) (W − W0)ᵀ) over W that is zero off the
    mask: a least-squares problem for each output, solved exactly (by Cholesky and refinement).

    Parameters
    ----------
    W0
        (out, in): the dense weight.
    mask
        (out, in): True where the weight may be other than zero.
    H
        (in, in) Gram matrix of the inputs over the calibration data, on any scale.
    damping
        Pulls the weights towards those of ``W0``; zero for plain least squares.
    cross
        (out, in) W0 Xd Xᵀ, on the scale of H, for targets W0 Xd instead of W0 X: what the dense
        model makes of its own inputs.

    Returns
    -------
    weight
        (out, in). Where H leaves it open (fewer data than inputs), one of small norm.

    Raises
    ------
    ValueError
        For NaN, infinity or shapes that do not fit; the message names the argument.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> H = jnp.array([[2.0, 1.0], [1.0, 2.0]])
    >>> mask = jnp.array([[False, True]])
    >>> sj.nn.refit(jnp.array([[1.0, 2.0]]), mask, H).round(3).tolist()
    [[0.0, 2.5]]
    """
    W0 = checked_weight(W0, "W0")
    H = checked_gram(H, W0.shape[1])
    mask = jnp.asarray(mask)
    if mask.shape != W0.shape or mask.dtype != jnp.bool_:
        raise ValueError(
            f"`mask` must be boolean of shape {W0.shape}; got {mask.dtype} of shape {mask.shape}."
        )
    damping = as_inexact(damping, "damping")
    check_nonnegative("damping", damping, ndim=0, finite=True)
    return _refit(W0, mask, H, damping, checked_cross(cross, W0), _largest(mask))


def _largest(mask: Bool[Array, "out in"]) -> int:
    """What systems must have room for; rounded, so that masks alike share a program."""
    width = mask.shape[1]
    if not is_concrete(mask):
        return width
    return min(-(-int(jnp.max(jnp.sum(mask, axis=1), initial=1)) // 32) * 32, width)


@functools.partial(jax.jit, static_argnums=5)
def _refit(
    W0: Any, mask: Any, H: Any, damping: Any, cross: Any, size: int
) -> Float[Array, "out in"]:
    width = H.shape[0]
    dense, ridge = W0.astype(H.dtype), damping.astype(H.dtype) * jnp.mean(jnp.diagonal(H))
    target = (dense @ H if cross is None else cross.astype(H.dtype)) + ridge * dense
    H = H + ridge * jnp.eye(width, dtype=H.dtype)
    diagonal = jnp.diagonal(H)
    # In units in which H has a unit diagonal, inputs decades apart are alike.
    scale = jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1.0))
    unit = H / (scale[:, None] * scale)
    target = target / scale
    rounding = size * jnp.finfo(H.dtype).eps

    def row(data: tuple[Array, Array]) -> Float[Array, " in"]:
        target, kept = data
        (index,) = jnp.nonzero(kept, size=size, fill_value=width)
        used = index < width
        matrix = unit.at[index[:, None], index].get(mode="fill", fill_value=0.0)
        matrix = matrix + jnp.diag(jnp.where(used, 0.0, 1.0).astype(H.dtype))
        rhs = target.at[index].get(mode="fill", fill_value=0.0)
        # The factorisation needs a little more than a singular matrix; refinement undoes it.
        factor = jax.scipy.linalg.cho_factor(matrix + rounding * jnp.eye(size, dtype=H.dtype))
        solution = jnp.zeros_like(rhs)
        for _ in range(3):
            solution += jax.scipy.linalg.cho_solve(factor, rhs - matrix @ solution)
        return jnp.zeros(width, H.dtype).at[index].set(solution, mode="drop")

    chunk = max(min(_ENTRIES // size**2, W0.shape[0]), 1)
    weight = jax.lax.map(row, (target, mask), batch_size=chunk) / scale
    return weight.astype(W0.dtype)
