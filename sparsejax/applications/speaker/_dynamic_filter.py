"""A mixture of filters that depends on the utterance."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ..._checks import check_integer
from ._checks import check_ratio
from ._filters import filtered, random_filters


class DynamicFilter(eqx.Module):
    """A ``GlobalFilter`` with W = Σ π_k W_k, where π = softmax(FC(ReLU(FC(mean_t x)))/34).

    Parameters
    ----------
    channels, key, frames, ratio
        As of ``GlobalFilter``.
    experts
        Filters that each channel has.

    Attributes
    ----------
    weight
        (experts, channels, frames // 2 + 1, 2). ``RowL2`` removes whole experts.
    hidden, gate
        From the mean over time to ``channels // 4 + 1``, and on to the experts.
    ratio

    Raises
    ------
    ValueError
        As of ``GlobalFilter``.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from sparsejax.applications import speaker
    >>> layer = speaker.DynamicFilter(3, 4, jax.random.key(0), frames=20)
    >>> layer.mixture(jnp.ones((3, 50))).round(2).tolist()
    [0.25, 0.25, 0.25, 0.25]
    """

    weight: Float[Array, "experts channels frequencies 2"]
    hidden: eqx.nn.Linear
    gate: eqx.nn.Linear
    ratio: float = eqx.field(static=True)

    def __init__(
        self,
        channels: int,
        experts: int,
        key: PRNGKeyArray,
        *,
        frames: int = 200,
        ratio: float = 0.0,
    ):
        check_integer("channels", channels)
        check_integer("experts", experts)
        check_integer("frames", frames)
        filters, hidden, gate = jax.random.split(key, 3)
        width = channels // 4 + 1
        self.weight = random_filters((experts, channels), frames, filters)
        self.hidden = eqx.nn.Linear(channels, width, use_bias=False, key=hidden)
        self.gate = eqx.nn.Linear(width, experts, key=gate)
        self.ratio = check_ratio("ratio", ratio)

    def mixture(self, x: Float[Array, "channels frames"]) -> Float[Array, " experts"]:
        """π: how much of each expert; soft, since the temperature is 34."""
        return jax.nn.softmax(self.gate(jax.nn.relu(self.hidden(jnp.mean(x, axis=-1)))) / 34)

    def __call__(
        self,
        x: Float[Array, "channels frames"],
        key: PRNGKeyArray | None = None,
        active: Bool[Array, ""] | bool = True,
    ) -> Float[Array, "channels frames"]:
        # Mixed before they are interpolated, which is linear: once, and not for every expert.
        weight = jnp.tensordot(self.mixture(x), self.weight, 1)
        return filtered(x, weight, self.ratio, key, active)
