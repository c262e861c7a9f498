"""Logistic regression with two classes."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._arrays import optional_inexact
from .._roots import newton_from_right, refined_root
from ._base import AbstractPointwiseLoss
from ._conjugates import clipped, divergence
from ._labels import AbstractUnitSlopeLoss


class Logistic(AbstractUnitSlopeLoss, AbstractPointwiseLoss):
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

    def excess(self, z: Float[Array, "n ..."], y: Float[Array, "n ..."]) -> Float[Array, ""]:
        return self.value(z, y)  # which falls to zero

    def unit_fenchel_gap(
        self, z: Float[Array, "..."], c: Float[Array, "..."], y: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        margin = y * z
        wrong, is_dual = clipped(-y * c, 0.0, 1.0, 1.0)
        gap = divergence(wrong, jax.nn.sigmoid(-margin), -jax.nn.softplus(margin))
        gap += divergence(1 - wrong, jax.nn.sigmoid(margin), -jax.nn.softplus(-margin))
        return jnp.where(is_dual, gap, jnp.inf)

    def unit_prox(
        self, v: Float[Array, "..."], step: Any, y: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        """m/y for the margin m with m − step·y²·σ(−m) = y·v."""
        moves = step > 0
        margin, size = y * v, jnp.where(moves, step * y**2, 1.0)
        # Negative margins are the positive ones of the other label: σ(−m) = 1 − σ(m).
        flips = margin < -size / 2
        other = jnp.where(flips, -(margin + size), margin)
        found = _positive_margin(*jax.lax.stop_gradient((other, size)))
        start = jnp.where(flips, -found, found)
        root = refined_root(lambda m: m - size * jax.nn.sigmoid(-m) - margin, start)
        return jnp.where(moves, root / y, v)


def _positive_margin(b: Float[Array, "..."], size: Float[Array, "..."]) -> Float[Array, "..."]:
    """m ≥ 0 with m − size·σ(−m) = b ≥ −size/2.

    t = log(m − b) solves t + softplus(b + exp(t)) = log(size), convex in t. Of the two ways back
    to m one keeps the digits of small exp(t), the other of large.
    """
    goal = jnp.log(size)
    above = jnp.minimum(goal, jnp.log(jnp.maximum(goal - b, 1.0)))
    t = newton_from_right(lambda t: t + jax.nn.softplus(b + jnp.exp(t)) - goal, above)
    return jnp.where(t < 0, b + jnp.exp(t), jnp.log(jnp.expm1(goal - t)))
