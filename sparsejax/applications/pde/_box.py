"""Boxes, their faces, and points in them."""

from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..._checks import check_integer


def _edge(x: Any) -> tuple[float, ...]:
    return tuple(map(float, x))


class Box(eqx.Module):
    """All points between two corners; a face of a box is one too.

    Parameters
    ----------
    lower, upper
        A number for each axis. Where they are equal, the box is flat.

    Raises
    ------
    ValueError
        If they differ in length, or a lower end lies above the upper one or is not finite.

    Examples
    --------
    >>> import jax
    >>> from sparsejax.applications import pde
    >>> box = pde.Box((0, -1), (1, 1))
    >>> box.face(1, "upper").sample(3, jax.random.key(0))[:, 1].tolist()
    [1.0, 1.0, 1.0]
    """

    lower: tuple[float, ...] = eqx.field(converter=_edge, static=True)
    upper: tuple[float, ...] = eqx.field(converter=_edge, static=True)

    def __check_init__(self) -> None:
        if len(self.lower) != len(self.upper) or not self.lower:
            raise ValueError(
                "`lower` and `upper` need a number for each axis; got "
                f"{len(self.lower)} and {len(self.upper)}."
            )
        if not np.all(np.less_equal(self.lower, self.upper)) or not np.all(
            np.isfinite([self.lower, self.upper])
        ):
            raise ValueError(
                f"`lower` must be finite and not above `upper`; got {self.lower} and {self.upper}."
            )

    def face(self, axis: int, side: Literal["lower", "upper"]) -> "Box":
        """The points at one end of an axis: where initial and boundary conditions are."""
        if not 0 <= axis < len(self.lower):
            raise ValueError(f"`axis` must be one of {len(self.lower)}; got {axis}.")
        if side not in ("lower", "upper"):
            raise ValueError(f'`side` must be "lower" or "upper"; got {side!r}.')
        lower, upper = list(self.lower), list(self.upper)
        lower[axis] = upper[axis] = getattr(self, side)[axis]
        return Box(lower, upper)

    def sample(self, num: int, key: PRNGKeyArray) -> Float[Array, "num axes"]:
        """Points of a Latin hypercube: one in each of `num` slices, along every axis."""
        check_integer("num", num)
        places, jitter = jax.random.split(key)
        axes = len(self.lower)
        slices = jax.vmap(lambda key: jax.random.permutation(key, num), out_axes=1)(
            jax.random.split(places, axes)
        )
        unit = (slices + jax.random.uniform(jitter, (num, axes))) / num
        lower, upper = jnp.asarray(self.lower), jnp.asarray(self.upper)
        return lower + unit * (upper - lower)

    def normalise(self, x: Float[Array, " axes"]) -> Float[Array, " axes"]:
        """A point with every axis from −1 to 1, as networks like it."""
        lower, upper = np.asarray(self.lower), np.asarray(self.upper)
        centre, half = (lower + upper) / 2, np.where(upper > lower, (upper - lower) / 2, 1.0)
        return (x - centre.astype(x.dtype)) / half.astype(x.dtype)
