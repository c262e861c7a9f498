"""The hinge loss of support vector machines."""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._arrays import optional_inexact
from ._conjugates import clipped
from ._labels import AbstractUnitSlopeLoss


class Hinge(AbstractUnitSlopeLoss):
    """Mean of max(0, 1 − y·z) for labels y in {−1, 1}, or {0, 1} which become those.

    Parameters
    ----------
    sample_weight
        (n,) factors ≥ 0 with a positive sum, all one by default.

    Raises
    ------
    ValueError
        If a sample weight is negative, NaN or infinite, or all are zero; for other labels.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> float(sj.losses.Hinge().value(jnp.array([0.0, 2.0]), jnp.array([-1.0, 1.0])))
    0.5

    Notes
    -----
    Cortes & Vapnik (1995).
    """

    is_piecewise_quadratic: ClassVar[bool] = True

    sample_weight: Float[Array, " n"] | None = eqx.field(
        default=None, converter=optional_inexact("sample_weight")
    )

    def unit_value(self, z: Float[Array, "..."], y: Float[Array, "..."]) -> Float[Array, "..."]:
        return jnp.maximum(1 - y * z, 0.0)

    def unit_fenchel_gap(
        self, z: Float[Array, "..."], c: Float[Array, "..."], y: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        multiplier, is_dual = clipped(-y * c, 0.0, 1.0, 1.0)
        shortfall = 1 - y * z
        gap = jnp.where(shortfall > 0, (1 - multiplier) * shortfall, -multiplier * shortfall)
        return jnp.where(is_dual, gap, jnp.inf)

    def unit_prox(
        self, v: Float[Array, "..."], step: Any, y: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        return v + y * jnp.clip(1 - y * v, 0.0, step)
