"""Least squares whose weights need no mean: the models of other losses."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ._base import AbstractQuadraticLoss, AbstractSquaredErrorLoss


class Weighted(AbstractQuadraticLoss):
    """Σ_i curvatures_i (y_i − z_i)²/2."""

    curvatures: Float[Array, " n"]
    sample_weight: None = None

    def row_weights(self, y: Float[Array, " n"]) -> Float[Array, " n"]:
        return self.curvatures

    def mean_weights(self, y: Float[Array, " n"]) -> Float[Array, " n"]:
        return self.curvatures / jnp.sum(self.curvatures)


class WeightedEntries(AbstractSquaredErrorLoss):
    """Σ_it curvatures_it (y_it − z_it)²/2: targets that no common centring of X suits."""

    curvatures: Float[Array, "n tasks"]
    sample_weight: None = None

    def _row_factors(self, y: Float[Array, "n tasks"]) -> Float[Array, "n tasks"]:
        return self.curvatures
