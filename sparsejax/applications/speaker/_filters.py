"""Filters over the whole time axis: products of spectra."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float, PRNGKeyArray


def random_filters(shape: tuple[int, ...], frames: int, key: PRNGKeyArray) -> Array:
    """(shape…, frames // 2 + 1, 2): real and imaginary parts, normal and small."""
    return 0.02 * jax.random.normal(key, (*shape, frames // 2 + 1, 2))


def filtered(
    x: Float[Array, "channels frames"],
    weight: Float[Array, "channels frequencies 2"],
    ratio: float,
    key: PRNGKeyArray | None,
    active: Bool[Array, ""] | bool,
) -> Float[Array, "channels frames"]:
    """Multiply each channel's spectrum by its filter, at any number of frames.

    The filters are first interpolated to as many frequencies as there are, ends on ends, and with
    a key and where ``active`` thinned out.
    """
    frames = x.shape[-1]
    parts = _interpolated(weight, frames // 2 + 1)
    W = jax.lax.complex(parts[..., 0], parts[..., 1])
    if key is not None and ratio:
        W = thinned(W, ratio * jnp.asarray(active), key)
    spectrum = jnp.fft.rfft(x, norm="ortho")
    return jnp.fft.irfft(spectrum * W, n=frames, norm="ortho")


def thinned(
    W: Complex[Array, "channels frequencies"], ratio: Float[Array, ""] | float, key: PRNGKeyArray
) -> Complex[Array, "channels frequencies"]:
    """Replace the filters of some channels, drawn with a probability, by mean |W|.

    B⊙W + (1 − B)·mean|W| as in the paper; the authors' last commit returns B in place of B⊙W.
    """
    kept = jax.random.bernoulli(key, 1 - ratio, W.shape[:1])
    return jnp.where(kept[:, None], W, jnp.mean(jnp.abs(W)))


def _interpolated(weight: Array, num: int) -> Array:
    """Linearly along frequencies, the first and last staying where they are."""
    last = weight.shape[-2] - 1
    if num == last + 1:
        return weight
    at = jnp.linspace(0.0, last, num, dtype=weight.dtype)
    below = jnp.clip(jnp.floor(at).astype(jnp.int32), 0, max(last - 1, 0))
    part = (at - below)[:, None]
    return weight[:, below] * (1 - part) + weight[:, jnp.minimum(below + 1, last)] * part
