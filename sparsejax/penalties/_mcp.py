"""The minimax concave penalty."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._arrays import inexact
from .._checks import check_nonnegative, check_positive
from ._concave import AbstractConcavePenalty
from ._groups import root, soft_threshold


class MCP(AbstractConcavePenalty):
    """Σ_j of strength·|w_j| − w_j²/(2·gamma) up to |w_j| = gamma·strength, constant beyond.

    Parameters
    ----------
    strength
        Scalar ≥ 0, the slope at zero.
    gamma
        Scalar > 0: how slowly the slope fades; the Lasso as it grows.

    Raises
    ------
    ValueError
        If ``strength`` is negative or NaN, or ``gamma`` not positive.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> penalty = sj.penalties.MCP(1.0, gamma=2.0)
    >>> penalty.prox(jnp.array([3.0, 1.5, 0.5]), 1.0).tolist()
    [3.0, 1.0, 0.0]

    Notes
    -----
    Zhang, Nearly unbiased variable selection (Annals of Statistics, 2010).
    """

    strength: Float[Array, ""] = eqx.field(converter=inexact("strength"))
    gamma: Float[Array, ""] = eqx.field(default=3.0, converter=inexact("gamma"))

    def __check_init__(self) -> None:
        check_nonnegative("strength", self.strength, ndim=0, finite=True)
        check_positive("gamma", self.gamma)

    def is_valid(self) -> Bool[Array, ""]:
        return super().is_valid() & (self.gamma > 0)

    def profile(self, size: Float[Array, "..."]) -> Float[Array, "..."]:
        curved = jnp.minimum(size, self.gamma * self.strength)
        return self.strength * curved - curved**2 / (2 * self.gamma)

    def slope(self, w: Float[Array, "..."]) -> Float[Array, "..."]:
        return jnp.maximum(self.strength - jnp.abs(w) / self.gamma, 0.0)

    def prox(self, v: Float[Array, " p"], step: Any) -> Float[Array, " p"]:
        end = self.gamma * self.strength
        convex = step < self.gamma
        shrink = jnp.where(convex, 1 - step / self.gamma, 1.0)
        near = jnp.where(convex, soft_threshold(v, step * self.strength) / shrink, 0.0)
        far = jnp.where(convex, end, self.strength * root(step * self.gamma))
        return jnp.where(jnp.abs(v) > far, v, near)
