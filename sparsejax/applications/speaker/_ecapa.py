"""ECAPA-TDNN, the reference."""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from .._sizes import check_sizes
from ._checks import check_scales
from ._layers import Features, Head, LocalBlock, Unit


@dataclass(frozen=True)
class ECAPAConfig:
    """Sizes of an ECAPA-TDNN.

    Parameters
    ----------
    channels
        Of the stream.
    scale
        Parts of each Res2Conv; divides the channels.
    dilations
        Of each block's.
    bins
        Mel bins that go in.
    aggregate, attention, squeeze, embedding
        Channels after the blocks are joined, of the attention and of the squeeze, and what comes
        out.
    """

    channels: int
    scale: int = 8
    dilations: tuple[int, ...] = (2, 3, 4)
    bins: int = 80
    aggregate: int = 1536
    attention: int = 256
    squeeze: int = 128
    embedding: int = 192

    def __post_init__(self):
        check_sizes(self)
        check_scales(self.channels, (self.scale,), "channels")


ECAPA_512 = ECAPAConfig(512)
ECAPA_1024 = ECAPAConfig(1024)
ECAPA_L = ECAPAConfig(1280)


class ECAPA(eqx.Module):
    """An ECAPA-TDNN with random weights: ``make`` makes it with its state.

    Called with (bins, frames) features and a state, it returns the embedding and the state; in
    training inside ``jax.vmap(..., axis_name="batch")``. A key may be given, as to ``DSTDNN``, and
    changes nothing.

    Notes
    -----
    Desplanques, Thienpondt & Demuynck, ECAPA-TDNN (2020), with the tanh in its attention of the
    reimplementation that the paper of DS-TDNN compares with.
    """

    stem: Unit
    blocks: list[LocalBlock]
    head: Head

    def __init__(self, config: ECAPAConfig, key: PRNGKeyArray):
        stem, head, *keys = jax.random.split(key, 2 + len(config.dilations))
        self.stem = Unit(config.bins, config.channels, stem, kernel=5)
        self.blocks = [
            LocalBlock(config.channels, config.scale, dilation, config.squeeze, block)
            for dilation, block in zip(config.dilations, keys, strict=True)
        ]
        inputs = config.channels * len(self.blocks)
        self.head = Head(inputs, config.aggregate, config.attention, config.embedding, head)

    def __call__(
        self,
        x: Features,
        state: eqx.nn.State,
        key: PRNGKeyArray | None = None,
        active: Bool[Array, ""] | bool = True,
    ) -> tuple[Float[Array, " embedding"], eqx.nn.State]:
        total, state = self.stem(x, state)
        found = []
        for block in self.blocks:
            y, state = block(total, state)
            found.append(y)
            total = total + y
        return self.head(jnp.concatenate(found), state)
