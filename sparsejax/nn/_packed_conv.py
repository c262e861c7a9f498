"""Convolutions of few channels that compute several columns of an image at a time."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ._bordered_conv import BorderedConv
from ._rebuild import map_layers

_TOGETHER = 16  # results that a processor computes in the time of one
_COLUMNS = 4  # more of them, and most of the wider kernel is zeros


class PackedConv2d(eqx.Module):
    """A convolution of images that has several neighbouring columns as its channels.

    The columns share a kernel that is as much wider, and moves on by as many columns. That costs
    (width + columns − 1)/width times as many multiplications, and yet less time where channels are
    so few that a processor would compute eight numbers in the time of sixteen. ``pack_columns``
    makes these layers.

    Attributes
    ----------
    conv
        The convolution, of at most eight channels, with the weights that it had.

    Examples
    --------
    >>> import equinox as eqx, jax, jax.numpy as jnp, sparsejax as sj
    >>> conv = eqx.nn.Conv2d(3, 8, 3, padding=1, key=jax.random.key(0))
    >>> packed, image = sj.nn.PackedConv2d(conv), jnp.ones((3, 5, 7))
    >>> bool(jnp.allclose(packed(image), conv(image), atol=1e-6))
    True
    """

    conv: eqx.nn.Conv

    def __check_init__(self) -> None:
        if not _is_narrow(self.conv):
            raise ValueError(
                "`conv` must be a convolution of images into at most eight channels, in one group, "
                "padded with zeros, whose kernel has several columns and takes each column in turn."
            )

    def __call__(self, x: Float[Array, "in h w"], *, key: Any = None) -> Float[Array, "out h2 w2"]:
        del key  # layers of a Sequential take one
        conv = self.conv
        if x.ndim != 3:
            raise ValueError(f"`x` must have shape (channels, height, width); got {x.shape}.")
        columns = min(_COLUMNS, _TOGETHER // conv.out_channels)
        (above, below), (left, right) = _padding(conv, x)
        width = max(left + x.shape[2] + right - conv.kernel_size[1] + 1, 0)
        moved = [_shifted(conv.weight, j, columns - 1 - j) for j in range(columns)]
        results = lax.conv_general_dilated(
            x[None],
            jnp.concatenate(moved),
            (conv.stride[0], columns),
            ((above, below), (left, right + -width % columns)),
            rhs_dilation=conv.dilation,
            # Channels come last: then columns and channels need only be told apart.
            dimension_numbers=("NCHW", "OIHW", "NHWC"),
        )[0]
        height, blocks, _ = results.shape
        results = results.reshape(height, columns * blocks, conv.out_channels)[:, :width]
        results = jnp.moveaxis(results, -1, 0)
        if conv.bias is not None:
            results += conv.bias
        return results + conv.added(x) if isinstance(conv, BorderedConv) else results


def pack_columns(model: Any) -> Any:
    """The same function with a :class:`PackedConv2d` for every convolution that gains from it.

    Those of images into at most eight channels, in one group, padded with zeros, whose kernel has
    several columns and takes each in turn; all others are faster as they are and stay. Worth it on
    CPUs, for what ``slim`` has left of small networks: a ResNet-20 with half of its channels takes
    .8 of the time (``python -m bench.pruning.slim``).

    Parameters
    ----------
    model
        Any pytree that holds layers of Equinox. Weights stay as they are, and can be trained.

    Returns
    -------
    model
        With other layers. ``count_macs`` counts the multiplications with zeros that these do.

    Examples
    --------
    >>> import equinox as eqx, jax, sparsejax as sj
    >>> narrow, wide = (eqx.nn.Conv2d(8, n, 3, key=jax.random.key(0)) for n in (8, 64))
    >>> [type(layer).__name__ for layer in sj.nn.pack_columns([narrow, wide])]
    ['PackedConv2d', 'Conv2d']
    """
    packed = lambda _, layer: PackedConv2d(layer) if _is_narrow(layer) else layer  # noqa: E731
    return map_layers(packed, model, (PackedConv2d, eqx.nn.Conv))


def _is_narrow(conv: Any) -> bool:
    return (
        isinstance(conv, eqx.nn.Conv)
        and conv.num_spatial_dims == 2
        and conv.weight is not None  # as it is where the layer shares its weights with another
        and conv.out_channels <= _TOGETHER // 2
        and conv.groups == 1
        and conv.kernel_size[1] > 1
        and conv.stride[1] == conv.dilation[1] == 1
        and conv.padding_mode == "ZEROS"
    )


def _padding(conv: eqx.nn.Conv, x: Array) -> tuple[tuple[int, int], ...]:
    """Rows and columns of zeros before and after the image."""
    if not isinstance(conv.padding, str):
        return tuple(conv.padding)
    reach = [1 + (k - 1) * d for k, d in zip(conv.kernel_size, conv.dilation, strict=True)]
    return tuple(lax.padtype_to_pads(x.shape[1:], reach, conv.stride, conv.padding))


def _shifted(kernel: Float[Array, "out in h w"], before: int, after: int) -> Array:
    return jnp.pad(kernel, ((0, 0), (0, 0), (0, 0), (before, after)))
