"""Whole outputs."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ._pattern import AbstractPattern, checked_sparsity


class Channel(AbstractPattern):
    """Output channels (rows, the first axis), kept or dropped as one by their mean score.

    Parameters
    ----------
    sparsity
        The part of the channels that is dropped, in [0, 1].

    Raises
    ------
    ValueError
        If ``sparsity`` lies outside [0, 1].

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> sj.nn.Channel(0.5).mask(jnp.array([[3.0, 1.0], [0.5, 2.0]])).tolist()
    [[True, True], [False, False]]

    Notes
    -----
    Masked channels still cost what they did: ``slim`` removes them.
    """

    sparsity: float = eqx.field(static=True, converter=checked_sparsity)

    def check(self, name: str, shape: tuple[int, ...]) -> None:
        if not shape:
            raise ValueError(f"`{name}`: Channel needs an output axis; got a scalar.")

    def units(self, scores: Float[Array, "out ..."]) -> Float[Array, "1 out"]:
        return jnp.mean(scores.reshape(scores.shape[0], -1), axis=1)[None]

    def spread(self, kept: Bool[Array, "1 out"], shape: tuple[int, ...]) -> Bool[Array, "out ..."]:
        return jnp.broadcast_to(kept.reshape(-1, *(1,) * (len(shape) - 1)), shape)
