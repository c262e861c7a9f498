"""The squared hinge loss of support vector machines."""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._arrays import optional_inexact
from ._base import AbstractPointwiseLoss, AbstractPointwiseProximalLoss
from ._labels import AbstractTwoClassLoss


class SquaredHinge(AbstractTwoClassLoss, AbstractPointwiseLoss, AbstractPointwiseProximalLoss):
    """Mean of max(0, 1 − y·z)² for labels y in {−1, 1}, or {0, 1} which become those.

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
    >>> float(sj.losses.SquaredHinge().value(jnp.array([0.0, 2.0]), jnp.array([-1.0, 1.0])))
    0.5

    Notes
    -----
    Without a factor of one half, as in scikit-learn's LinearSVC, whose C·Σ max(0, 1 − y·z)² +
    ‖w‖₁ is minimised where this loss and L1(1/(C·n)) are.
    """

    is_piecewise_quadratic: ClassVar[bool] = True

    sample_weight: Float[Array, " n"] | None = eqx.field(
        default=None, converter=optional_inexact("sample_weight")
    )

    def unit_value(self, z: Float[Array, "..."], y: Float[Array, "..."]) -> Float[Array, "..."]:
        return jnp.maximum(1 - y * z, 0.0) ** 2

    def unit_gradient(self, z: Float[Array, "..."], y: Float[Array, "..."]) -> Float[Array, "..."]:
        return -2 * y * jnp.maximum(1 - y * z, 0.0)

    def unit_curvature(self, z: Float[Array, "..."], y: Float[Array, "..."]) -> Float[Array, "..."]:
        return jnp.where(y * z < 1, jnp.full_like(z, 2.0), 0.0)

    def unit_curvature_bound(self) -> float:
        return 2.0

    def unit_fenchel_gap(
        self, z: Float[Array, "..."], c: Float[Array, "..."], y: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        multiplier, shortfall = -y * c, 1 - y * z
        violation = jnp.maximum(shortfall, 0.0)
        gap = (violation - multiplier / 2) ** 2 + multiplier * (violation - shortfall)
        return jnp.where(multiplier >= 0, gap, jnp.inf)

    def unit_prox(
        self, v: Float[Array, "..."], step: Any, y: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        return v + y * jnp.maximum(1 - y * v, 0.0) * (2 * step / (1 + 2 * step))

    def nearest_dual(
        self, u: Float[Array, "n ..."], y: Float[Array, "n ..."]
    ) -> Float[Array, "n ..."]:
        return -y * jnp.maximum(-y * super().nearest_dual(u, y), 0.0)

    def dual_room(
        self, u: Float[Array, "n ..."], y: Float[Array, "n ..."]
    ) -> Float[Array, "n ..."]:
        return self._row_factors(y) * jnp.maximum(-y * u, 0.0)
