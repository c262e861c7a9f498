"""Convolutions some of whose inputs have become constants."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


class BorderedConv(eqx.nn.Conv):
    """A convolution padded with zeros, and what constant channels would add to its results.

    Inside of an image that is a number for every output, which a bias could hold; along the border
    it is not, since there the constant gives way to zeros. ``slim`` makes these layers.

    Attributes
    ----------
    border
        (out, 1, *kernel): the kernel of one more input channel, which is one everywhere.

    Examples
    --------
    >>> import equinox as eqx, jax, jax.numpy as jnp, sparsejax as sj
    >>> conv = eqx.nn.Conv1d(1, 1, 3, padding=1, use_bias=False, key=jax.random.key(0))
    >>> sj.nn.BorderedConv.of(conv, jnp.ones((1, 1, 3)))(jnp.zeros((1, 4))).tolist()
    [[2.0, 3.0, 3.0, 2.0]]
    """

    border: Float[Array, "out 1 ..."]

    def __init__(self, *args: Any, **kwargs: Any):
        raise TypeError("BorderedConv.of(conv, border) makes one of these.")

    @classmethod
    def of(cls, conv: eqx.nn.Conv, border: Float[Array, "out 1 ..."]) -> "BorderedConv":
        """That convolution with a border."""
        new = object.__new__(cls)
        for name, value in vars(conv).items():
            object.__setattr__(new, name, value)
        object.__setattr__(new, "border", border)
        return new

    def __call__(self, x: Float[Array, "in ..."], *, key: Any = None) -> Float[Array, "out ..."]:
        return super().__call__(x, key=key) + self.added(x)

    def added(self, x: Float[Array, "in ..."]) -> Float[Array, "out ..."]:
        """What the constant channels add, which is the same for all inputs of that shape."""
        ones = jnp.ones((1, 1, *x.shape[1:]), x.dtype)
        # It is computed once under `vmap`.
        return lax.conv_general_dilated(
            ones, self.border, self.stride, self.padding, rhs_dilation=self.dilation
        )[0]
