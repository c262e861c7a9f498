"""One filter for each channel."""

import equinox as eqx
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ..._checks import check_integer
from ._checks import check_ratio
from ._filters import filtered, random_filters


class GlobalFilter(eqx.Module):
    """irfft(W ⊙ rfft(x)) over time: a circular convolution as long as the utterance.

    Parameters
    ----------
    channels
        Each has a filter.
    key
        Of the random filters.
    frames
        At which the filters are as they are stored; at others they are interpolated along
        frequency, real and imaginary parts linearly and ends on ends.
    ratio
        The probability that a channel's filter is replaced by mean |W| when a call has
        a key, unless its ``active`` is false (which may be traced).

    Attributes
    ----------
    weight
        (channels, frames // 2 + 1, 2): real and imaginary parts, so that penalties of this
        library take them: ``L1`` makes entries zero, ``RowL2`` whole filters.
    ratio

    Raises
    ------
    ValueError
        If ``ratio`` does not lie in [0, 1), or a size is not positive.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from sparsejax.applications import speaker
    >>> layer = speaker.GlobalFilter(3, jax.random.key(0), frames=20)
    >>> layer(jnp.ones((3, 50))).shape
    (3, 50)

    Notes
    -----
    Li, Gan & Lin, DS-TDNN: dual-stream time-delay neural network with global-aware filter for
    speaker verification (2024).
    """

    weight: Float[Array, "channels frequencies 2"]
    ratio: float = eqx.field(static=True)

    def __init__(self, channels: int, key: PRNGKeyArray, *, frames: int = 200, ratio: float = 0.0):
        check_integer("channels", channels)
        check_integer("frames", frames)
        self.weight = random_filters((channels,), frames, key)
        self.ratio = check_ratio("ratio", ratio)

    def __call__(
        self,
        x: Float[Array, "channels frames"],
        key: PRNGKeyArray | None = None,
        active: Bool[Array, ""] | bool = True,
    ) -> Float[Array, "channels frames"]:
        return filtered(x, self.weight, self.ratio, key, active)
