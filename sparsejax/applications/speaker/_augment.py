"""Pieces of recordings, and parts of them hidden."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ..._checks import check_integer


def crop(
    features: Float[Array, "bins frames"],
    length: Int[Array, ""] | int,
    size: int,
    key: PRNGKeyArray,
) -> Float[Array, "bins size"]:
    """Some frames in a row, all places within the recording equally likely.

    Parameters
    ----------
    features
        Padded to any number of frames.
    length
        How many frames are the recording's, at least ``size``.
    size
        How many to take.
    key
        Of the place.

    Raises
    ------
    ValueError
        If there are fewer frames than that.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from sparsejax.applications import speaker
    >>> speaker.crop(jnp.ones((80, 300)), 250, 200, jax.random.key(0)).shape
    (80, 200)
    """
    if not 0 < size <= features.shape[-1]:
        raise ValueError(f"`size` must lie in 1 to {features.shape[-1]} frames; got {size}.")
    start = _below(jax.random.uniform(key), length - size + 1)
    return jax.lax.dynamic_slice_in_dim(features, start, size, axis=-1)


def spec_augment(
    features: Float[Array, "bins frames"],
    key: PRNGKeyArray,
    *,
    bins: int = 8,
    frames: int = 10,
) -> Float[Array, "bins frames"]:
    """Hide some adjacent bins and some adjacent frames: they become zero, the mean.

    Parameters
    ----------
    features
        Normalised.
    key
        Of widths and places.
    bins, frames
        The largest widths; all down to zero are equally likely.

    Raises
    ------
    ValueError
        If a width is negative.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from sparsejax.applications import speaker
    >>> hidden = speaker.spec_augment(jnp.ones((80, 200)), jax.random.key(1)) == 0
    >>> 0 < int(hidden.sum()) <= 8 * 200 + 10 * 80
    True

    Notes
    -----
    Park et al., SpecAugment (2019).
    """
    shown, draws = jnp.ones(features.shape, bool), jax.random.uniform(key, (2, 2))
    for axis, most in enumerate((bins, frames)):
        check_integer(("bins", "frames")[axis], most, least=0)
        size = features.shape[axis]
        width = _below(draws[axis, 0], min(most, size) + 1)
        start = _below(draws[axis, 1], size - width + 1)
        place = jnp.arange(size)
        within = (place >= start) & (place < start + width)
        shown &= ~jnp.expand_dims(within, 1 - axis)
    return jnp.where(shown, features, 0)


def _below(uniform: Float[Array, ""], most: Int[Array, ""] | int) -> Int[Array, ""]:
    """A whole number from 0 to ``most`` − 1, made of one between 0 and 1.

    ``jax.random.randint`` is exact for numbers of any size, and takes four times as long to
    compile.
    """
    return jnp.clip((uniform * most).astype(jnp.int32), 0, most - 1)
