"""Blocks of weights."""

import itertools
from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ._pattern import AbstractPattern, checked_sparsity


def _sizes(shape: int | Sequence[int]) -> tuple[int, ...]:
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    if not sizes or not all(isinstance(size, int) and size > 0 for size in sizes):
        raise ValueError(f"`shape` must hold positive integers; got {shape!r}.")
    return sizes


class Block(AbstractPattern):
    """Blocks of neighbouring weights, kept or dropped as one by their mean score.

    Parameters
    ----------
    shape
        The size of a block along the leading axes, (outputs, inputs); it must divide them. Axes
        beyond, such as those of a kernel, lie within the block.
    sparsity
        The part of the blocks that is dropped, in [0, 1].

    Raises
    ------
    ValueError
        If ``shape`` does not hold positive integers, or ``sparsity`` lies outside [0, 1].

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> sj.nn.Block((1, 2), 0.5).mask(jnp.array([[3.0, 1.0, 0.5, 2.0]])).tolist()
    [[True, True, False, False]]
    """

    shape: tuple[int, ...] = eqx.field(static=True, converter=_sizes)
    sparsity: float = eqx.field(static=True, converter=checked_sparsity)

    def check(self, name: str, shape: tuple[int, ...]) -> None:
        fits = len(shape) >= len(self.shape)
        # Axes that a block does not name are not cut.
        if not fits or any(n % b for n, b in zip(shape, self.shape, strict=False)):
            raise ValueError(
                f"`{name}`: blocks of {self.shape} need leading axes that they divide; "
                f"got shape {shape}."
            )

    def _cut(self, shape: tuple[int, ...]) -> list[tuple[int, int]]:
        """Number and size of the blocks along every axis."""
        sizes = [*self.shape, *shape[len(self.shape) :]]
        return [(n // b, b) for n, b in zip(shape, sizes, strict=True)]

    def units(self, scores: Float[Array, "out ..."]) -> Float[Array, "1 units"]:
        cut = self._cut(scores.shape)
        parts = scores.reshape(list(itertools.chain.from_iterable(cut)))
        return jnp.mean(parts, axis=tuple(range(1, 2 * len(cut), 2))).reshape(1, -1)

    def spread(
        self, kept: Bool[Array, "1 units"], shape: tuple[int, ...]
    ) -> Bool[Array, "out ..."]:
        cut = self._cut(shape)
        blocks = kept.reshape(list(itertools.chain.from_iterable((n, 1) for n, _ in cut)))
        return jnp.broadcast_to(blocks, list(itertools.chain.from_iterable(cut))).reshape(shape)
