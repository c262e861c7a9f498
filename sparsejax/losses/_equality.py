"""Interpolation as a loss: basis pursuit."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._arrays import optional_inexact
from ._base import AbstractProximalLoss, AbstractVariationalLoss


class Equality(AbstractProximalLoss, AbstractVariationalLoss):
    """Zero where z = y, +∞ elsewhere; rows of weight zero are free.

    Parameters
    ----------
    sample_weight
        (n,) factors ≥ 0 with a positive sum, all one by default. Only which are zero matters.

    Raises
    ------
    ValueError
        If a sample weight is negative, NaN or infinite, or all are zero.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> y = jnp.array([1.0, 3.0])
    >>> float(sj.losses.Equality().value(y, y)), float(sj.losses.Equality().value(0 * y, y))
    (0.0, inf)

    Notes
    -----
    Equal means ‖z − y‖ ≤ ε·max(1, ‖y‖), with ε = 1e-9 in float64 and 1e-5 in float32. The
    Fenchel–Young gap of such a z and the dual u is |⟨y − z, u⟩|, whose sign rounding decides.
    """

    sample_weight: Float[Array, " n"] | None = eqx.field(
        default=None, converter=optional_inexact("sample_weight")
    )

    def value(self, z: Float[Array, "n ..."], y: Float[Array, "n ..."]) -> Float[Array, ""]:
        used = self._is_used(y)
        residual, scale = (jnp.linalg.norm(jnp.where(used, a, 0.0)) for a in (z - y, y))
        tolerance = 1e-9 if residual.dtype == jnp.float64 else 1e-5
        equal = residual <= tolerance * jnp.maximum(1.0, scale)
        return jnp.where(equal, 0.0, jnp.inf).astype(residual.dtype)

    def fenchel_gap(
        self, z: Float[Array, "n ..."], u: Float[Array, "n ..."], y: Float[Array, "n ..."]
    ) -> Float[Array, ""]:
        _, is_dual = self._per_sample(u, y)
        gap = self.value(z, y) + jnp.abs(jnp.vdot(jnp.where(self._is_used(y), y - z, 0.0), u))
        return jnp.where(is_dual, gap, jnp.inf)

    def prox(
        self, v: Float[Array, "n ..."], step: Any, y: Float[Array, "n ..."]
    ) -> Float[Array, "n ..."]:
        return jnp.where(self._is_used(y), y, v)

    def noise(self, level: tuple[()]) -> float:
        del level
        return 0.0

    def _is_used(self, y: Float[Array, "n ..."]) -> Bool[Array, "n ..."]:
        return self._row_factors(y) > 0
