"""Quantile regression."""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._arrays import inexact, optional_inexact
from .._checks import check_interval
from ._base import AbstractPointwiseProximalLoss
from ._conjugates import clipped


class Quantile(AbstractPointwiseProximalLoss):
    """Mean of level·max(0, y − z) + (1 − level)·max(0, z − y): the pinball loss.

    Parameters
    ----------
    level
        Scalar in [0, 1]: the quantile to fit, the median by default.
    sample_weight
        (n,) factors ≥ 0 with a positive sum, all one by default.

    Raises
    ------
    ValueError
        If level lies outside [0, 1]; if a sample weight is negative, NaN or infinite, or all are
        zero.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> float(sj.losses.Quantile(0.75).value(jnp.zeros(2), jnp.array([4.0, -4.0])))
    2.0

    Notes
    -----
    As in scikit-learn's QuantileRegressor; Koenker & Bassett (1978). At level 1/2 it is half the
    mean absolute error.
    """

    is_piecewise_quadratic: ClassVar[bool] = True

    level: Float[Array, ""] = eqx.field(default=0.5, converter=inexact("level"))
    sample_weight: Float[Array, " n"] | None = eqx.field(
        default=None, converter=optional_inexact("sample_weight")
    )

    def __check_init__(self) -> None:
        check_interval("level", self.level, 0.0, 1.0)

    def is_valid(self) -> Bool[Array, ""]:
        return super().is_valid() & (self.level >= 0) & (self.level <= 1)

    def unit_value(self, z: Float[Array, "..."], y: Float[Array, "..."]) -> Float[Array, "..."]:
        return self.unit_fenchel_gap(z, jnp.zeros_like(z), y)  # because φ*(0) = 0

    def unit_fenchel_gap(
        self, z: Float[Array, "..."], c: Float[Array, "..."], y: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        c, is_dual = clipped(c, -self.level, 1 - self.level, 1.0)
        excess = z - y
        gap = jnp.where(excess > 0, (1 - self.level - c) * excess, -(self.level + c) * excess)
        return jnp.where(is_dual, gap, jnp.inf)

    def unit_prox(
        self, v: Float[Array, "..."], step: Any, y: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        return v - jnp.clip(v - y, -step * self.level, step * (1 - self.level))

    def nearest_dual(self, u: Float[Array, " n"], y: Float[Array, " n"]) -> Float[Array, " n"]:
        factors = self._row_factors(y)
        return jnp.clip(u, -factors * self.level, factors * (1 - self.level))

    def dual_room(self, u: Float[Array, " n"], y: Float[Array, " n"]) -> Float[Array, " n"]:
        factors = self._row_factors(y)
        low, high = u + factors * self.level, factors * (1 - self.level) - u
        return factors * jnp.maximum(jnp.minimum(low, high), 0.0)
