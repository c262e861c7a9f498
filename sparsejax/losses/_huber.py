"""Huber's robust loss."""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._arrays import inexact, optional_inexact
from .._checks import check_positive
from ._base import AbstractPointwiseLoss, AbstractPointwiseProximalLoss
from ._conjugates import clipped


class Huber(AbstractPointwiseLoss, AbstractPointwiseProximalLoss):
    """Mean of r²/2 for residuals |r| ≤ delta, and of delta·|r| − delta²/2 beyond.

    Parameters
    ----------
    delta
        Positive scalar: where the loss turns from squares to absolute values.
    sample_weight
        (n,) factors ≥ 0 with a positive sum, all one by default.

    Raises
    ------
    ValueError
        If delta is not positive and finite; if a sample weight is negative, NaN or infinite, or
        all are zero.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> float(sj.losses.Huber(1.0).value(jnp.zeros(2), jnp.array([1.0, 3.0])))
    1.5

    Notes
    -----
    delta = 1.35 times the scale of the noise is 95 % efficient for Gaussian noise: P. J. Huber,
    Robust Estimation of a Location Parameter, Annals of Mathematical Statistics 35, 1964. The
    residuals are not divided by a fitted scale, as scikit-learn's HuberRegressor does.
    """

    is_piecewise_quadratic: ClassVar[bool] = True

    delta: Float[Array, ""] = eqx.field(default=1.35, converter=inexact("delta"))
    sample_weight: Float[Array, " n"] | None = eqx.field(
        default=None, converter=optional_inexact("sample_weight")
    )

    def __check_init__(self) -> None:
        check_positive("delta", self.delta)

    def is_valid(self) -> Bool[Array, ""]:
        return super().is_valid() & (self.delta > 0) & jnp.isfinite(self.delta)

    def unit_value(self, z: Float[Array, "..."], y: Float[Array, "..."]) -> Float[Array, "..."]:
        slope = self.unit_gradient(z, y)
        return slope * (z - y - slope / 2)

    def unit_gradient(self, z: Float[Array, "..."], y: Float[Array, "..."]) -> Float[Array, "..."]:
        return jnp.clip(z - y, -self.delta, self.delta)

    def unit_curvature(self, z: Float[Array, "..."], y: Float[Array, "..."]) -> Float[Array, "..."]:
        return (jnp.abs(z - y) <= self.delta).astype(z.dtype)

    def unit_curvature_bound(self) -> float:
        return 1.0

    def unit_fenchel_gap(
        self, z: Float[Array, "..."], c: Float[Array, "..."], y: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        c, is_dual = clipped(c, -self.delta, self.delta, self.delta)
        slope = self.unit_gradient(z, y)
        gap = (slope - c) ** 2 / 2 + (slope - c) * (z - y - slope)
        return jnp.where(is_dual, gap, jnp.inf)

    def unit_prox(
        self, v: Float[Array, "..."], step: Any, y: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        return v - step * jnp.clip((v - y) / (1 + step), -self.delta, self.delta)

    def nearest_dual(
        self, u: Float[Array, "n ..."], y: Float[Array, "n ..."]
    ) -> Float[Array, "n ..."]:
        largest = self.delta * self._row_factors(y)
        return jnp.clip(u, -largest, largest)

    def dual_room(
        self, u: Float[Array, "n ..."], y: Float[Array, "n ..."]
    ) -> Float[Array, "n ..."]:
        factors = self._row_factors(y)
        return factors * jnp.maximum(self.delta * factors - jnp.abs(u), 0.0)
