"""DS-TDNN: a local and a global stream."""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from .._sizes import check_sizes
from ._checks import check_ratio, check_scales
from ._layers import Features, GlobalBlock, Head, LocalBlock, Unit

_OWN, _OTHER = 0.8, 0.2  # what each stream takes of itself and of the other


@dataclass(frozen=True)
class DSConfig:
    """Sizes of a DS-TDNN.

    Parameters
    ----------
    channels
        Of both streams together, half for each.
    scales
        Parts of the Res2Conv in each local block; divide half the channels.
    experts
        Filters of each global block, from which the utterance mixes its own; one: no mixing.
    ratios
        The part of filters replaced in each global block where a key is given: the sparse rule.
    frames
        At which filters are as they are stored: best the length of the pieces in training. With
        shorter pieces some of their numbers are never trained, but count in longer recordings.
    bins, aggregate, attention, squeeze, embedding
        As of ``ECAPAConfig``.
    """

    channels: int
    scales: tuple[int, ...] = (4, 4, 8)
    experts: tuple[int, ...] = (4, 8, 8)
    ratios: tuple[float, ...] = (0.3, 0.1, 0.1)
    frames: int = 200
    bins: int = 80
    aggregate: int = 1536
    attention: int = 256
    squeeze: int = 128
    embedding: int = 192

    def __post_init__(self):
        check_sizes(self)
        if self.channels % 2:
            raise ValueError(f"`channels` must be even; got {self.channels}.")
        check_scales(self.channels // 2, self.scales, "channels // 2")
        if not len(self.scales) == len(self.experts) == len(self.ratios):
            raise ValueError("`scales`, `experts` and `ratios` must have an entry for each block.")
        for ratio in self.ratios:
            check_ratio("ratios", ratio)


DS_S = DSConfig(512, scales=(4, 4, 4), experts=(4, 4, 8))
DS_B = DSConfig(1024)
DS_L = DSConfig(1536, scales=(4, 8, 8), experts=(8, 8, 8), ratios=(0.4, 0.2, 0.2))


class DSTDNN(eqx.Module):
    """A DS-TDNN with random weights: ``make`` makes it with its state.

    Called with (bins, frames) features and a state, it returns the embedding and the state; in
    training inside ``jax.vmap(..., axis_name="batch")``. With a key, filters are thinned out by
    the sparse rule, unless ``active`` is false (which may be traced).

    Notes
    -----
    Li, Gan & Lin, DS-TDNN: dual-stream time-delay neural network with global-aware filter for
    speaker verification (2024). mean |W| of the sparse rule is the utterance's own here; the
    authors' code takes that of the whole batch.
    """

    stem: Unit
    local_blocks: list[LocalBlock]
    global_blocks: list[GlobalBlock]
    head: Head

    def __init__(self, config: DSConfig, key: PRNGKeyArray):
        stem, head, local_key, global_key = jax.random.split(key, 4)
        blocks, half = len(config.scales), config.channels // 2
        self.stem = Unit(config.bins, config.channels, stem, kernel=5)
        self.local_blocks = [
            LocalBlock(half, scale, 1, config.squeeze, block)
            for scale, block in zip(config.scales, jax.random.split(local_key, blocks), strict=True)
        ]
        self.global_blocks = [
            GlobalBlock(half, experts, ratio, config.frames, block)
            for experts, ratio, block in zip(
                config.experts, config.ratios, jax.random.split(global_key, blocks), strict=True
            )
        ]
        inputs = config.channels * blocks
        self.head = Head(inputs, config.aggregate, config.attention, config.embedding, head)

    def __call__(
        self,
        x: Features,
        state: eqx.nn.State,
        key: PRNGKeyArray | None = None,
        active: Bool[Array, ""] | bool = True,
    ) -> tuple[Float[Array, " embedding"], eqx.nn.State]:
        blocks = len(self.local_blocks)
        keys = [None] * blocks if key is None else list(jax.random.split(key, blocks))
        x, state = self.stem(x, state)
        near, far = jnp.split(x, 2)
        found = []
        for i, (local, over_all) in enumerate(
            zip(self.local_blocks, self.global_blocks, strict=True)
        ):
            if i:
                near, far = _OWN * near + _OTHER * far, _OWN * far + _OTHER * near
            near, state = local(near, state)
            far, state = over_all(far, state, keys[i], active)
            found += [near, far]
        return self.head(jnp.concatenate(found), state)
