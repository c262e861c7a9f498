"""Single weights, anywhere."""

import equinox as eqx
from jaxtyping import Array, Bool, Float

from ._pattern import AbstractPattern, checked_sparsity


class Unstructured(AbstractPattern):
    """Any weights: ⌊sparsity · size⌋ of them are dropped.

    Parameters
    ----------
    sparsity
        The part that is dropped, in [0, 1].

    Raises
    ------
    ValueError
        If ``sparsity`` lies outside [0, 1].

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> sj.nn.Unstructured(0.5).mask(jnp.array([[3.0, 1.0], [1.0, 2.0]])).tolist()
    [[True, False], [False, True]]
    """

    sparsity: float = eqx.field(static=True, converter=checked_sparsity)

    def check(self, name: str, shape: tuple[int, ...]) -> None:
        del name, shape  # any shape will do

    def units(self, scores: Float[Array, "out ..."]) -> Float[Array, "1 units"]:
        return scores.reshape(1, -1)

    def row_units(self, scores: Float[Array, "out ..."]) -> Float[Array, "out units"]:
        return scores.reshape(scores.shape[0] if scores.ndim > 1 else 1, -1)

    def spread(
        self, kept: Bool[Array, "groups units"], shape: tuple[int, ...]
    ) -> Bool[Array, "out ..."]:
        return kept.reshape(shape)
