"""Least squares."""

import equinox as eqx
from jaxtyping import Array, Float

from .._arrays import optional_inexact
from .._symmetric import outer_gram
from ._base import AbstractQuadraticLoss


class Squared(AbstractQuadraticLoss):
    """Σ_i s_i ‖y_i − z_i‖² / (2n), the sample weights s rescaled to sum to n.

    Several targets are summed.

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

    def gram(
        self, rows: Float[Array, "k n"], columns: Float[Array, "m n"], y: Float[Array, "n ..."]
    ) -> Float[Array, "k m"]:
        if self.sample_weight is None:
            return rows @ columns.T / y.shape[0]  # without a scaled copy of the rows
        return super().gram(rows, columns, y)

    def own_gram(self, rows: Float[Array, "k n"], y: Float[Array, "n ..."]) -> Float[Array, "k k"]:
        if self.sample_weight is None:
            return outer_gram(rows) / y.shape[0]
        return super().own_gram(rows, y)
