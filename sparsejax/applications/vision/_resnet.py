"""Residual networks for images: those for CIFAR, and ResNet-50."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

_AXIS = "batch"  # over which BatchNorm averages


class BasicBlock(eqx.Module):
    """relu(x + norm(conv(relu(norm(conv x))))), where x may be thinned out and padded.

    The shortcut has no weights (option A of He et al.): it takes every ``stride``-th pixel, and
    adds channels of zeros on either side. These are arrays, so that ``slim`` can make them fewer.

    Parameters
    ----------
    inputs, outputs
        Channels.
    stride
        Of the first convolution.
    key
        Of the random weights.
    """

    convs: list[eqx.nn.Conv2d]
    norms: list[eqx.nn.BatchNorm]
    sides: list[Bool[Array, " added"]]
    stride: int = eqx.field(static=True)

    def __init__(self, inputs: int, outputs: int, stride: int, key: PRNGKeyArray):
        keys, more = jax.random.split(key), outputs - inputs
        self.convs = [
            _conv(inputs, outputs, 3, stride, keys[0]),
            _conv(outputs, outputs, 3, 1, keys[1]),
        ]
        self.norms = [_norm(outputs), _norm(outputs)]
        # Of a type that is not trained.
        self.sides = [jnp.zeros(n, bool) for n in (more // 2, more - more // 2)] if more else []
        self.stride = stride

    def __call__(
        self, x: Float[Array, "c h w"], state: eqx.nn.State
    ) -> tuple[Float[Array, "d i j"], eqx.nn.State]:
        h, state = _written(x, self.convs, self.norms, state)
        x = x[:, :: self.stride, :: self.stride]
        if self.sides:
            before, after = (
                jnp.broadcast_to(side.astype(x.dtype)[:, None, None], (*side.shape, *x.shape[1:]))
                for side in self.sides
            )
            x = jnp.concatenate([before, x, after])
        return jax.nn.relu(x + h), state


class Bottleneck(eqx.Module):
    """relu(x + h) with h by convolutions of size 1, 3 and 1; x is projected where sizes change.

    Parameters
    ----------
    inputs, width
        Channels of the input, and within; four times the width go out.
    stride
        Of the convolution of size 3.
    key
        Of the random weights.
    """

    convs: list[eqx.nn.Conv2d]
    norms: list[eqx.nn.BatchNorm]
    shortcut: eqx.nn.Conv2d | None
    shortcut_norm: eqx.nn.BatchNorm | None

    def __init__(self, inputs: int, width: int, stride: int, key: PRNGKeyArray):
        keys, outputs = jax.random.split(key, 4), 4 * width
        self.convs = [
            _conv(inputs, width, 1, 1, keys[0]),
            _conv(width, width, 3, stride, keys[1]),
            _conv(width, outputs, 1, 1, keys[2]),
        ]
        self.norms = [_norm(width), _norm(width), _norm(outputs)]
        same = inputs == outputs and stride == 1
        self.shortcut = None if same else _conv(inputs, outputs, 1, stride, keys[3])
        self.shortcut_norm = None if same else _norm(outputs)

    def __call__(
        self, x: Float[Array, "c h w"], state: eqx.nn.State
    ) -> tuple[Float[Array, "d i j"], eqx.nn.State]:
        h, state = _written(x, self.convs, self.norms, state)
        if self.shortcut is not None and self.shortcut_norm is not None:
            x, state = self.shortcut_norm(self.shortcut(x), state)
        return jax.nn.relu(x + h), state


class ResNet(eqx.Module):
    """A residual network with random weights: ``cifar_resnet`` and ``resnet50`` make some.

    Called with one image (channels, height, width) and a state, it returns (classes,) logits and
    the state; in training inside ``jax.vmap(..., axis_name="batch")``.

    Attributes
    ----------
    stem, norm
        The first convolution and its norm.
    pool
        What follows them, if anything.
    blocks
        All blocks in order.
    head
        From the average over pixels to logits.

    Notes
    -----
    He et al., Deep residual learning for image recognition (2016).
    """

    stem: eqx.nn.Conv2d
    norm: eqx.nn.BatchNorm
    pool: eqx.nn.MaxPool2d | None
    blocks: list[Any]
    head: eqx.nn.Linear

    def __call__(
        self, x: Float[Array, "c h w"], state: eqx.nn.State
    ) -> tuple[Float[Array, " classes"], eqx.nn.State]:
        x, state = self.norm(self.stem(x), state)
        x = jax.nn.relu(x)
        x = x if self.pool is None else self.pool(x)
        for block in self.blocks:
            x, state = block(x, state)
        return self.head(jnp.mean(x, axis=(1, 2))), state


def cifar_resnet(
    depth: int,
    key: PRNGKeyArray,
    *,
    classes: int = 10,
    channels: int = 3,
    widths: Sequence[int] = (16, 32, 64),
) -> tuple[ResNet, eqx.nn.State]:
    """ResNet-20, -56, -110 and their like, for small images.

    Parameters
    ----------
    depth
        6n + 2: the number of layers with weights.
    key
        Of the random weights.
    classes, channels
        Of the outputs and inputs.
    widths
        Channels of the three stages.

    Returns
    -------
    model, state

    Raises
    ------
    ValueError
        If ``depth`` is not 6n + 2, or widths shrink.

    Examples
    --------
    >>> import equinox as eqx, jax, jax.numpy as jnp
    >>> from sparsejax.applications import vision
    >>> def train(key, images):
    ...     model, state = vision.cifar_resnet(20, key)
    ...     return jax.vmap(model, (0, None), (0, None), axis_name="batch")(images, state)
    >>> logits, _ = eqx.filter_eval_shape(train, jax.random.key(0), jnp.ones((2, 3, 32, 32)))
    >>> logits.shape
    (2, 10)
    """
    count, rest = divmod(depth - 2, 6)
    if rest or count < 1:
        raise ValueError(f"`depth` must be 8, 14, 20, …, 6n + 2; got {depth}.")
    if list(widths) != sorted(widths) or len(widths) != 3 or widths[0] < 1:
        raise ValueError(f"`widths` must be three that do not shrink; got {widths}.")

    def make() -> ResNet:
        stem, head, *keys = jax.random.split(key, 2 + 3 * count)
        blocks, before = [], widths[0]
        for i, block_key in enumerate(keys):
            stage, place = divmod(i, count)
            stride = 2 if stage and not place else 1
            blocks.append(BasicBlock(before, widths[stage], stride, block_key))
            before = widths[stage]
        linear = eqx.nn.Linear(before, classes, key=head)
        return ResNet(
            _conv(channels, widths[0], 3, 1, stem), _norm(widths[0]), None, blocks, linear
        )

    return eqx.nn.make_with_state(make)()


def resnet50(key: PRNGKeyArray, *, classes: int = 1000) -> tuple[ResNet, eqx.nn.State]:
    """ResNet-50 for images of about 224 pixels, with the stride in the 3×3 convolutions.

    Parameters
    ----------
    key
        Of the random weights.
    classes
        Of the outputs.

    Returns
    -------
    model, state

    Examples
    --------
    >>> import equinox as eqx, jax
    >>> from sparsejax.applications import vision
    >>> model, state = eqx.filter_eval_shape(vision.resnet50, jax.random.key(0))  # shapes alone
    >>> len(model.blocks)
    16
    """

    def make() -> ResNet:
        stem, head, *keys = jax.random.split(key, 2 + 16)
        blocks, before = [], 64
        for stage, count in enumerate((3, 4, 6, 3)):
            width = 64 * 2**stage
            for place in range(count):
                stride = 2 if stage and not place else 1
                blocks.append(Bottleneck(before, width, stride, keys[len(blocks)]))
                before = 4 * width
        pool = eqx.nn.MaxPool2d(3, 2, padding=1)
        linear = eqx.nn.Linear(before, classes, key=head)
        return ResNet(_conv(3, 64, 7, 2, stem), _norm(64), pool, blocks, linear)

    return eqx.nn.make_with_state(make)()


def _written(
    x: Array, convs: list[eqx.nn.Conv2d], norms: list[eqx.nn.BatchNorm], state: eqx.nn.State
) -> tuple[Array, eqx.nn.State]:
    """What a block adds to its stream."""
    for i, (conv, norm) in enumerate(zip(convs, norms, strict=True)):
        x, state = norm(conv(jax.nn.relu(x) if i else x), state)
    return x, state


def _norm(channels: int) -> eqx.nn.BatchNorm:
    return eqx.nn.BatchNorm(channels, _AXIS, momentum=0.9, mode="batch")


def _conv(inputs: int, outputs: int, kernel: int, stride: int, key: PRNGKeyArray) -> eqx.nn.Conv2d:
    """Without bias, since a norm follows; weights of variance 2/fan out (He et al., 2015)."""
    conv = eqx.nn.Conv2d(
        inputs, outputs, kernel, stride, padding=kernel // 2, use_bias=False, key=key
    )
    shape = (outputs, inputs, kernel, kernel)
    weight = jax.random.normal(key, shape) * (2 / (outputs * kernel**2)) ** 0.5
    return eqx.tree_at(lambda c: c.weight, conv, weight)
