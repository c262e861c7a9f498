"""Poisson regression."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._arrays import as_inexact, optional_inexact
from ._base import AbstractPointwiseLoss, AbstractPointwiseProximalLoss
from ._conjugates import clipped, divergence
from ._log_link import exponential_root


class Poisson(AbstractPointwiseLoss, AbstractPointwiseProximalLoss):
    """Mean of exp(z) − y·z for counts y ≥ 0: the negative log-likelihood with the log link.

    Parameters
    ----------
    sample_weight
        (n,) factors ≥ 0 with a positive sum, all one by default.

    Raises
    ------
    ValueError
        If a sample weight is negative, NaN or infinite, or all are zero; for negative targets.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> float(sj.losses.Poisson().value(jnp.zeros(2), jnp.array([0.0, 4.0])))
    1.0

    Notes
    -----
    The term log(y!) is left out, so the value may be negative. The curvature has no bound.
    """

    sample_weight: Float[Array, " n"] | None = eqx.field(
        default=None, converter=optional_inexact("sample_weight")
    )

    def targets(self, y: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        y = as_inexact(y, "y")
        known = self.known_rows(y)
        if known is not None and not np.all(known >= 0):
            raise ValueError(
                f"`y` must be counts, zero or more; got a minimum of {np.min(known):g}. "
                "Remove negative targets, or use the squared loss."
            )
        return y

    def unit_value(self, z: Float[Array, "..."], y: Float[Array, "..."]) -> Float[Array, "..."]:
        return jnp.exp(z) - y * z

    def unit_gradient(self, z: Float[Array, "..."], y: Float[Array, "..."]) -> Float[Array, "..."]:
        return jnp.exp(z) - y

    def unit_curvature(self, z: Float[Array, "..."], y: Float[Array, "..."]) -> Float[Array, "..."]:
        return jnp.exp(z)

    def unit_curvature_bound(self) -> float:
        return jnp.inf

    def unit_fenchel_gap(
        self, z: Float[Array, "..."], c: Float[Array, "..."], y: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        mean, is_dual = clipped(c + y, 0.0, jnp.inf, jnp.abs(c) + y)
        return jnp.where(is_dual, divergence(mean, jnp.exp(z), z), jnp.inf)

    def unit_prox(
        self, v: Float[Array, "..."], step: Any, y: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        return exponential_root(v + step * y, step)

    def nearest_dual(
        self, u: Float[Array, "n ..."], y: Float[Array, "n ..."]
    ) -> Float[Array, "n ..."]:
        return jnp.maximum(super().nearest_dual(u, y), -self._weighted(y, y))

    def dual_room(
        self, u: Float[Array, "n ..."], y: Float[Array, "n ..."]
    ) -> Float[Array, "n ..."]:
        factors = self._row_factors(y)
        return factors * jnp.maximum(u + self._weighted(y, y), 0.0)
