"""What the edges that leave a node make of it: functions of signals and images, channels last.

A signal is (length, channels), an image (height, width, channels). Convolutions are products of
shifted copies with matrices: one code serves both, and all edges, samples and networks of a search
go into one matrix product.
"""

import functools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

Node = Float[Array, "*places channels"]
Edges = Float[Array, "*places edges channels"]  # or one edge, where all are alike


class _Free(eqx.Module):
    """An operation without weights."""

    def __init__(self, edges: int, width: int, axes: int, key: PRNGKeyArray):
        del edges, width, axes, key


class Zero(_Free):
    """Nothing."""

    def __call__(self, x: Node, key: PRNGKeyArray) -> Edges:
        return jnp.zeros_like(x)[..., None, :]


class Skip(_Free):
    """The node itself."""

    def __call__(self, x: Node, key: PRNGKeyArray) -> Edges:
        return x[..., None, :]


class Noise(eqx.Module):
    """Standard normal numbers, whatever the node is: no good cell has any of it."""

    edges: int = eqx.field(static=True)

    def __init__(self, edges: int, width: int, axes: int, key: PRNGKeyArray):
        self.edges = edges

    def __call__(self, x: Node, key: PRNGKeyArray) -> Edges:
        return jax.random.normal(key, (*x.shape[:-1], self.edges, x.shape[-1]), x.dtype)


class AvgPool(_Free):
    """The mean over a place and its neighbours, fewer at the borders."""

    def __call__(self, x: Node, key: PRNGKeyArray) -> Edges:
        counts = [np.full(size, 3.0) for size in x.shape[:-1]]
        for count in counts:
            count[0] -= 1
            count[-1] -= 1
        share = 1 / functools.reduce(np.multiply, np.ix_(*counts))[..., None]
        return (functools.reduce(jnp.add, neighbours(x)) * share.astype(x.dtype))[..., None, :]


class MaxPool(_Free):
    """The largest of a place and its neighbours."""

    def __call__(self, x: Node, key: PRNGKeyArray) -> Edges:
        return functools.reduce(jnp.maximum, neighbours(x, outside=-jnp.inf))[..., None, :]


class Conv(eqx.Module):
    """W ∗ relu(x), of one place or of three along each axis."""

    weight: Float[Array, "inner edges outer"]
    taps: int = eqx.field(static=True)

    def __init__(
        self,
        edges: int,
        width: int,
        axes: int,
        key: PRNGKeyArray,
        taps: int = 3,
        outer: int | None = None,
    ):
        self.weight = he_normal(key, (width * taps**axes, edges, outer or width))
        self.taps = taps

    def __call__(self, x: Node, key: PRNGKeyArray) -> Edges:
        x = jax.nn.relu(x)
        if self.taps == 3:
            x = jnp.concatenate(neighbours(x), axis=-1)
        return jnp.tensordot(x, self.weight, 1)


class SepConv(eqx.Module):
    """W(D ∗ relu(x)): three places along each axis for every channel, then across channels.

    DARTS does so twice where the dilation is one; here once.
    """

    depthwise: Float[Array, "taps edges channels"]
    pointwise: Float[Array, "inner edges outer"]
    dilation: int = eqx.field(static=True)

    def __init__(self, edges: int, width: int, axes: int, key: PRNGKeyArray, dilation: int = 1):
        first, second = jax.random.split(key)
        self.depthwise = he_normal(first, (3**axes, edges, width))
        self.pointwise = he_normal(second, (width, edges, width))
        self.dilation = dilation

    def __call__(self, x: Node, key: PRNGKeyArray) -> Edges:
        near = neighbours(jax.nn.relu(x)[..., None, :], self.dilation, axes=x.ndim - 1)
        mixed = functools.reduce(jnp.add, map(jnp.multiply, near, self.depthwise))
        return jnp.einsum("...ei,ieo->...eo", mixed, self.pointwise)


OPERATIONS = {
    "none": Zero,
    "skip": Skip,
    "noise": Noise,
    "avgpool": AvgPool,
    "maxpool": MaxPool,
    "conv1": functools.partial(Conv, taps=1),
    "conv3": Conv,
    "sep3": SepConv,
    "dil3": functools.partial(SepConv, dilation=2),
}
NORMALISED = {"conv1", "conv3", "sep3", "dil3"}  # after it


def neighbours(
    x: Float[Array, "..."], dilation: int = 1, outside: float = 0.0, axes: int | None = None
) -> list[Float[Array, "..."]]:
    """The input shifted by −1, 0 and 1 along every axis of places: three copies, or nine."""
    shifts = [x]
    for axis, size in enumerate(x.shape[: x.ndim - 1 if axes is None else axes]):
        wide = [(0, 0)] * x.ndim
        wide[axis] = (dilation, dilation)
        padded = [jnp.pad(shift, wide, constant_values=outside) for shift in shifts]
        shifts = [
            jax.lax.slice_in_dim(one, start, start + size, axis=axis)
            for one in padded
            for start in (0, dilation, 2 * dilation)
        ]
    return shifts


def normalised(x: Edges) -> Edges:
    """Mean zero and variance one over all places and channels of one sample, for each edge.

    What a network does to a sample then depends on no other one, in training as in testing.
    """
    axes = (*range(x.ndim - 2), x.ndim - 1)
    x = x - jnp.mean(x, axes, keepdims=True)
    return x * jax.lax.rsqrt(jnp.mean(x**2, axes, keepdims=True) + 1e-5)


def he_normal(key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, "inner *outer"]:
    """Normal with variance 2/inner."""
    return math.sqrt(2 / shape[0]) * jax.random.normal(key, shape)
