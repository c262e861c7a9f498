"""Least squares whose weights need no mean: the models of other losses."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ._base import AbstractQuadraticLoss


class Weighted(AbstractQuadraticLoss):
    """Σ_i curvatures_i (y_i − z_i)²/2."""

    curvatures: Float[Array, " n"]
    sample_weight: None = None

    def row_weights(self, y: Float[Array, " n"]) -> Float[Array, " n"]:
        return self.curvatures

    def mean_weights(self, y: Float[Array, " n"]) -> Float[Array, " n"]:
        return self.curvatures / jnp.sum(self.curvatures)
