"""Gamma regression."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._arrays import as_inexact, optional_inexact
from ._base import AbstractPointwiseLoss, AbstractPointwiseProximalLoss
from ._conjugates import clipped, divergence
from ._log_link import exponential_root


class Gamma(AbstractPointwiseLoss, AbstractPointwiseProximalLoss):
    """Mean of z + y·exp(−z) for y > 0: the negative log-likelihood with the log link.

    Parameters
    ----------
    sample_weight
        (n,) factors ≥ 0 with a positive sum, all one by default.

    Raises
    ------
    ValueError
        If a sample weight is negative, NaN or infinite, or all are zero; for targets y ≤ 0.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> float(sj.losses.Gamma().value(jnp.zeros(2), jnp.array([1.0, 3.0])))
    2.0

    Notes
    -----
    exp(z) is the mean of y; terms without z are left out, and the shape of the distribution, a
    factor of the whole, is one. The curvature has no bound.
    """

    sample_weight: Float[Array, " n"] | None = eqx.field(
        default=None, converter=optional_inexact("sample_weight")
    )

    def targets(self, y: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        y = as_inexact(y, "y")
        known = self.known_rows(y)
        if known is not None and not np.all(known > 0):
            raise ValueError(
                f"`y` must be positive; got a minimum of {np.min(known):g}. "
                "Remove such targets, or use losses.Poisson() where zeros are counts."
            )
        return y

    def unit_value(self, z: Float[Array, "..."], y: Float[Array, "..."]) -> Float[Array, "..."]:
        return z + y * jnp.exp(-z)

    def unit_gradient(self, z: Float[Array, "..."], y: Float[Array, "..."]) -> Float[Array, "..."]:
        return 1 - y * jnp.exp(-z)

    def unit_curvature(self, z: Float[Array, "..."], y: Float[Array, "..."]) -> Float[Array, "..."]:
        return y * jnp.exp(-z)

    def unit_curvature_bound(self) -> float:
        return jnp.inf

    def unit_fenchel_gap(
        self, z: Float[Array, "..."], c: Float[Array, "..."], y: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        ratio, is_dual = clipped(1 - c, 0.0, jnp.inf, 1 + jnp.abs(c))
        gap = divergence(ratio, y * jnp.exp(-z), jnp.log(y) - z)
        return jnp.where(is_dual, gap, jnp.inf)

    def unit_prox(
        self, v: Float[Array, "..."], step: Any, y: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        return -exponential_root(step - v, step * y)

    def nearest_dual(
        self, u: Float[Array, "n ..."], y: Float[Array, "n ..."]
    ) -> Float[Array, "n ..."]:
        return jnp.minimum(super().nearest_dual(u, y), self._row_factors(y))

    def dual_room(
        self, u: Float[Array, "n ..."], y: Float[Array, "n ..."]
    ) -> Float[Array, "n ..."]:
        factors = self._row_factors(y)
        return factors * jnp.maximum(factors - u, 0.0)
