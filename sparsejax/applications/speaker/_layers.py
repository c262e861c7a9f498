"""What the networks are built of. Convolutions are over time; ReLU comes before the norm."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ._dynamic_filter import DynamicFilter
from ._global_filter import GlobalFilter

AXIS = "batch"  # over which BatchNorm averages

Features = Float[Array, "channels frames"]


def norm(channels: int) -> eqx.nn.BatchNorm:
    """Of running averages as in PyTorch, where momentum counts what is new."""
    return eqx.nn.BatchNorm(channels, AXIS, momentum=0.9, mode="batch")


class Unit(eqx.Module):
    """norm(relu(conv x))."""

    conv: eqx.nn.Conv1d
    norm: eqx.nn.BatchNorm

    def __init__(
        self, inputs: int, outputs: int, key: PRNGKeyArray, kernel: int = 1, dilation: int = 1
    ):
        padding = kernel // 2 * dilation
        self.conv = eqx.nn.Conv1d(
            inputs, outputs, kernel, padding=padding, dilation=dilation, key=key
        )
        self.norm = norm(outputs)

    def __call__(self, x: Features, state: eqx.nn.State) -> tuple[Features, eqx.nn.State]:
        return self.norm(jax.nn.relu(self.conv(x)), state)


class Res2Conv(eqx.Module):
    """Channels in parts, one after the other convolved with what came out before added.

    The last part passes unchanged.
    """

    units: list[Unit]

    def __init__(self, channels: int, scale: int, dilation: int, key: PRNGKeyArray):
        width, keys = channels // scale, jax.random.split(key, max(scale - 1, 1))
        self.units = [Unit(width, width, keys[i], 3, dilation) for i in range(scale - 1)]

    def __call__(self, x: Features, state: eqx.nn.State) -> tuple[Features, eqx.nn.State]:
        *parts, last = jnp.split(x, len(self.units) + 1)
        done, before = [], jnp.zeros_like(last)
        for unit, part in zip(self.units, parts, strict=True):
            before, state = unit(part + before, state)
            done.append(before)
        return jnp.concatenate([*done, last]), state


class SqueezeExcite(eqx.Module):
    """x times a factor for each channel, from its mean over time."""

    squeeze: eqx.nn.Linear
    excite: eqx.nn.Linear

    def __init__(self, channels: int, width: int, key: PRNGKeyArray):
        keys = jax.random.split(key)
        self.squeeze = eqx.nn.Linear(channels, width, key=keys[0])
        self.excite = eqx.nn.Linear(width, channels, key=keys[1])

    def __call__(self, x: Features) -> Features:
        factors = self.excite(jax.nn.relu(self.squeeze(jnp.mean(x, axis=-1))))
        return x * jax.nn.sigmoid(factors)[:, None]


class LocalBlock(eqx.Module):
    """x + squeeze-excite(1×1, Res2Conv, 1×1): ECAPA's block and the local half of DS-TDNN's."""

    first: Unit
    middle: Res2Conv
    last: Unit
    gate: SqueezeExcite

    def __init__(self, channels: int, scale: int, dilation: int, squeeze: int, key: PRNGKeyArray):
        keys = jax.random.split(key, 4)
        self.first = Unit(channels, channels, keys[0])
        self.middle = Res2Conv(channels, scale, dilation, keys[1])
        self.last = Unit(channels, channels, keys[2])
        self.gate = SqueezeExcite(channels, squeeze, keys[3])

    def __call__(self, x: Features, state: eqx.nn.State) -> tuple[Features, eqx.nn.State]:
        y, state = self.first(x, state)
        y, state = self.middle(y, state)
        y, state = self.last(y, state)
        return x + self.gate(y), state


class GlobalBlock(eqx.Module):
    """x + (1×1, filter, ReLU and norm, 1×1); one expert is a ``GlobalFilter``."""

    first: Unit
    filter: GlobalFilter | DynamicFilter
    norm: eqx.nn.BatchNorm
    last: Unit

    def __init__(self, channels: int, experts: int, ratio: float, frames: int, key: PRNGKeyArray):
        keys = jax.random.split(key, 3)
        self.first = Unit(channels, channels, keys[0])
        if experts == 1:
            self.filter = GlobalFilter(channels, keys[1], frames=frames, ratio=ratio)
        else:
            self.filter = DynamicFilter(channels, experts, keys[1], frames=frames, ratio=ratio)
        self.norm = norm(channels)
        self.last = Unit(channels, channels, keys[2])

    def __call__(
        self,
        x: Features,
        state: eqx.nn.State,
        key: PRNGKeyArray | None,
        active: Bool[Array, ""] | bool,
    ) -> tuple[Features, eqx.nn.State]:
        y, state = self.first(x, state)
        y, state = self.norm(jax.nn.relu(self.filter(y, key, active)), state)
        y, state = self.last(y, state)
        return x + y, state


class Head(eqx.Module):
    """From features to one embedding: 1×1, attentive statistics over time, a linear layer.

    Attention sees each frame beside the mean and deviation over all of them; the statistics are
    the mean and deviation under its weights.
    """

    aggregate: eqx.nn.Conv1d
    attend: Unit
    weigh: eqx.nn.Conv1d
    norm: eqx.nn.BatchNorm
    linear: eqx.nn.Linear
    last_norm: eqx.nn.BatchNorm

    def __init__(
        self, inputs: int, aggregate: int, attention: int, embedding: int, key: PRNGKeyArray
    ):
        keys = jax.random.split(key, 4)
        self.aggregate = eqx.nn.Conv1d(inputs, aggregate, 1, key=keys[0])
        self.attend = Unit(3 * aggregate, attention, keys[1])
        self.weigh = eqx.nn.Conv1d(attention, aggregate, 1, key=keys[2])
        self.norm = norm(2 * aggregate)
        self.linear = eqx.nn.Linear(2 * aggregate, embedding, key=keys[3])
        self.last_norm = norm(embedding)

    def __call__(
        self, x: Features, state: eqx.nn.State
    ) -> tuple[Float[Array, " embedding"], eqx.nn.State]:
        x = jax.nn.relu(self.aggregate(x))
        mean, variance = jnp.mean(x, axis=-1), jnp.var(x, axis=-1, ddof=1)
        context = [jnp.broadcast_to(s[:, None], x.shape) for s in (mean, _deviation(variance))]
        hidden, state = self.attend(jnp.concatenate([x, *context]), state)
        weights = jax.nn.softmax(self.weigh(jnp.tanh(hidden)), axis=-1)
        mean = jnp.sum(weights * x, axis=-1)
        deviation = _deviation(jnp.sum(weights * x**2, axis=-1) - mean**2)
        pooled, state = self.norm(jnp.concatenate([mean, deviation]), state)
        return self.last_norm(self.linear(pooled), state)


def _deviation(variance: Array) -> Array:
    return jnp.sqrt(jnp.maximum(variance, 1e-4))
