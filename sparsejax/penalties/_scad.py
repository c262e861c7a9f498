"""The smoothly clipped absolute deviation."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._arrays import inexact
from .._checks import check_above, check_nonnegative
from ._concave import AbstractConcavePenalty, leap
from ._groups import soft_threshold


class SCAD(AbstractConcavePenalty):
    """The ℓ1 norm up to strength, constant from gamma·strength on, a parabola in between.

    The slope is strength, then (gamma·strength − |w_j|)/(gamma − 1), then zero.

    Parameters
    ----------
    strength
        Scalar ≥ 0, the slope at zero.
    gamma
        Scalar > 1: how slowly the slope fades; the Lasso as it grows.

    Raises
    ------
    ValueError
        If ``strength`` is negative or NaN, or ``gamma`` at most one.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> penalty = sj.penalties.SCAD(1.0, gamma=3.0)
    >>> penalty.prox(jnp.array([4.0, 2.5, 1.5, 0.5]), 1.0).tolist()
    [4.0, 2.0, 0.5, 0.0]

    Notes
    -----
    Fan & Li, Variable selection via nonconcave penalized likelihood (JASA, 2001).
    """

    strength: Float[Array, ""] = eqx.field(converter=inexact("strength"))
    gamma: Float[Array, ""] = eqx.field(default=3.7, converter=inexact("gamma"))

    def __check_init__(self) -> None:
        check_nonnegative("strength", self.strength, ndim=0, finite=True)
        check_above("gamma", self.gamma, 1.0)

    def is_valid(self) -> Bool[Array, ""]:
        return super().is_valid() & (self.gamma > 1)

    def profile(self, size: Float[Array, "..."]) -> Float[Array, "..."]:
        curved = jnp.clip(size - self.strength, 0.0, (self.gamma - 1) * self.strength)
        straight = jnp.minimum(size, self.strength)
        return self.strength * (straight + curved) - curved**2 / (2 * (self.gamma - 1))

    def slope(self, w: Float[Array, "..."]) -> Float[Array, "..."]:
        beyond = jnp.maximum(jnp.abs(w) - self.strength, 0.0)
        return jnp.maximum(self.strength - beyond / (self.gamma - 1), 0.0)

    def prox(self, v: Float[Array, " p"], step: Any) -> Float[Array, " p"]:
        size, soft = jnp.abs(v), soft_threshold(v, step * self.strength)
        convex = step < self.gamma - 1
        shrink = jnp.where(convex, 1 - step / (self.gamma - 1), 1.0)
        lift = step * self.strength / (self.gamma - 1)
        between = soft_threshold(v, self.gamma * lift) / shrink
        near = jnp.where(convex & (size > (1 + step) * self.strength), between, soft)
        ceiling = self.strength**2 * (self.gamma + 1) / 2
        end = self.gamma * self.strength
        far = jnp.where(convex, end, leap(step, self.strength, ceiling))
        return jnp.where(size > far, v, near)
