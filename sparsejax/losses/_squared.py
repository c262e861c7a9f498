"""Least squares."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from .._arrays import optional_inexact
from .._checks import check_length, check_nonnegative, is_concrete, is_nonnegative
from ._base import AbstractQuadraticLoss


class Squared(AbstractQuadraticLoss):
    """Σ_i s_i (y_i − z_i)² / (2n), the sample weights s rescaled to sum to n.

    Parameters
    ----------
    sample_weight
        (n,) factors ≥ 0 with a positive sum, all one by default.

    Raises
    ------
    ValueError
        If a sample weight is negative, NaN or infinite, or all are zero.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> float(sj.losses.Squared().value(jnp.zeros(2), jnp.array([1.0, 3.0])))
    2.5
    """

    sample_weight: Float[Array, " n"] | None = eqx.field(
        default=None, converter=optional_inexact("sample_weight")
    )

    def __check_init__(self) -> None:
        if self.sample_weight is None:
            return
        check_nonnegative("sample_weight", self.sample_weight, ndim=1, finite=True)
        if is_concrete(self.sample_weight) and not np.any(np.asarray(self.sample_weight) > 0):
            raise ValueError("`sample_weight` must have at least one positive entry.")

    def check(self, y: Float[Array, " n"]) -> None:
        if self.sample_weight is not None:
            check_length("sample_weight", self.sample_weight, y.shape[0])

    def reweighted(self, factors: Float[Array, " n"] | None) -> "Squared":
        if factors is None or self.sample_weight is None:
            return Squared(factors)
        return Squared(self.sample_weight * factors)

    def is_valid(self) -> Bool[Array, ""]:
        if self.sample_weight is None:
            return jnp.array(True)
        return jnp.all(is_nonnegative(self.sample_weight)) & jnp.any(self.sample_weight > 0)

    def row_weights(self, y: Float[Array, " n"]) -> Float[Array, " n"]:
        if self.sample_weight is None:
            return jnp.full_like(y, 1 / y.shape[0])
        return self.sample_weight / jnp.sum(self.sample_weight)

    def gram(
        self, rows: Float[Array, "k n"], columns: Float[Array, "m n"], y: Float[Array, " n"]
    ) -> Float[Array, "k m"]:
        if self.sample_weight is None:
            return rows @ columns.T / y.shape[0]  # without a scaled copy of the rows
        return super().gram(rows, columns, y)

    def value(self, z: Float[Array, " n"], y: Float[Array, " n"]) -> Float[Array, ""]:
        return jnp.sum(self.row_weights(y) * (y - z) ** 2) / 2

    def gradient(self, z: Float[Array, " n"], y: Float[Array, " n"]) -> Float[Array, " n"]:
        return self.row_weights(y) * (z - y)

    def curvature(self, z: Float[Array, " n"], y: Float[Array, " n"]) -> Float[Array, " n"]:
        del z  # constant
        return self.row_weights(y)

    def fenchel_gap(
        self, z: Float[Array, " n"], u: Float[Array, " n"], y: Float[Array, " n"]
    ) -> Float[Array, ""]:
        weights = self.row_weights(y)
        safe = jnp.where(weights > 0, weights, 1.0)
        squares = jnp.where(weights > 0, (u - weights * (z - y)) ** 2 / (2 * safe), 0.0)
        outside = jnp.any((weights == 0) & (u != 0))
        return jnp.where(outside, jnp.inf, jnp.sum(squares))
