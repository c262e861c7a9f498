"""Logistic regression with two classes."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._arrays import optional_inexact
from ._base import AbstractPointwiseLoss
from ._conjugates import clipped, divergence
from ._labels import AbstractTwoClassLoss


class Logistic(AbstractTwoClassLoss, AbstractPointwiseLoss):
    """Mean of log(1 + exp(−y·z)) for labels y in {−1, 1}, or {0, 1} which become those.

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
    >>> loss = sj.losses.Logistic()
    >>> loss.targets(jnp.array([0.0, 1.0])).tolist()
    [-1.0, 1.0]
    >>> float(loss.value(jnp.zeros(2), jnp.array([-1.0, 1.0])))
    0.693

    Notes
    -----
    The Fenchel–Young gap is the Kullback–Leibler divergence between two probabilities of being
    wrong: the one that the dual variable stands for, and σ(−y·z).
    """

    sample_weight: Float[Array, " n"] | None = eqx.field(
        default=None, converter=optional_inexact("sample_weight")
    )

    def unit_value(self, z: Float[Array, "..."], y: Float[Array, "..."]) -> Float[Array, "..."]:
        return jax.nn.softplus(-y * z)

    def unit_gradient(self, z: Float[Array, "..."], y: Float[Array, "..."]) -> Float[Array, "..."]:
        return -y * jax.nn.sigmoid(-y * z)

    def unit_curvature(self, z: Float[Array, "..."], y: Float[Array, "..."]) -> Float[Array, "..."]:
        return jax.nn.sigmoid(z) * jax.nn.sigmoid(-z)

    def unit_curvature_bound(self) -> float:
        return 0.25

    def unit_fenchel_gap(
        self, z: Float[Array, "..."], c: Float[Array, "..."], y: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        margin = y * z
        wrong, is_dual = clipped(-y * c, 0.0, 1.0, 1.0)
        gap = divergence(wrong, jax.nn.sigmoid(-margin), -jax.nn.softplus(margin))
        gap += divergence(1 - wrong, jax.nn.sigmoid(margin), -jax.nn.softplus(-margin))
        return jnp.where(is_dual, gap, jnp.inf)
