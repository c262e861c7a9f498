"""Sums of products in single precision that are right to the last digit."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

_HIGH = -4096  # all but the last twelve bits


def compensated_dot(
    a: Float[Array, "..."], b: Float[Array, "..."], axis: int
) -> Float[Array, "..."]:
    """Σ a·b along an axis, as if computed in twice the precision of float32 and then rounded.

    Every product and every sum comes with its own rounding error, and these are added up beside
    the sum: pairwise, so that all of a level is one operation.

    Notes
    -----
    Dekker (1971) for products, Knuth for sums; Ogita, Rump & Oishi (SIAM J. Sci. Comput. 2005).
    """
    total, error = _product(a, b)
    while total.shape[axis] > 1:
        total, error = _halved(total, error, axis)
    return (total + error).squeeze(axis)


def _halved(
    total: Float[Array, "..."], error: Float[Array, "..."], axis: int
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """The sums of each entry of the first half and its like of the second, and their errors."""
    size = total.shape[axis]
    if size % 2:
        end = [(0, int(i == axis)) for i in range(total.ndim)]
        total, error, size = jnp.pad(total, end), jnp.pad(error, end), size + 1
    (a, b), (c, d) = (jnp.split(x, 2, axis) for x in (total, error))
    pair = a + b
    shift = pair - a
    return pair, ((a - (pair - shift)) + (b - shift)) + (c + d)


def _product(
    a: Float[Array, "..."], b: Float[Array, "..."]
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """The product as it is rounded, and what that leaves out."""
    product = a * b
    (high, low), (upper, lower) = _parts(a), _parts(b)
    return product, ((high * upper - product) + high * lower + low * upper) + low * lower


def _parts(x: Float[Array, "..."]) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Two numbers of half the digits whose sum is x."""
    bits = jax.lax.bitcast_convert_type(x, jnp.int32) & _HIGH
    high = jax.lax.bitcast_convert_type(bits, x.dtype)
    return high, x - high
