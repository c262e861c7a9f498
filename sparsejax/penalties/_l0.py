"""The number of coefficients."""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._arrays import inexact
from .._checks import check_nonnegative
from ._concave import AbstractConcavePenalty
from ._groups import root


class L0(AbstractConcavePenalty):
    """strength · number of j with w_j ≠ 0.

    Parameters
    ----------
    strength
        Scalar ≥ 0, the price of a coefficient.

    Raises
    ------
    ValueError
        If ``strength`` is negative or NaN, or not a scalar.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> sj.penalties.L0(0.5).prox(jnp.array([2.0, 0.5]), 1.0).tolist()
    [2.0, 0.0]

    Notes
    -----
    The proximal operator is hard thresholding: Blumensath & Davies (2008).
    """

    strength: Float[Array, ""] = eqx.field(converter=inexact("strength"))

    steep: ClassVar[bool] = True

    def __check_init__(self) -> None:
        check_nonnegative("strength", self.strength, ndim=0, finite=True)

    def profile(self, size: Float[Array, "..."]) -> Float[Array, "..."]:
        return jnp.where(size > 0, self.strength, 0.0)

    def slope(self, w: Float[Array, "..."]) -> Float[Array, "..."]:
        return jnp.where((w == 0) & (self.strength > 0), jnp.inf, jnp.zeros_like(w))

    def prox(self, v: Float[Array, " p"], step: Any) -> Float[Array, " p"]:
        return jnp.where(jnp.abs(v) > root(2 * step * self.strength), v, 0.0)
