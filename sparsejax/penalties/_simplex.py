"""The probability simplex."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from .._arrays import inexact
from .._checks import check_nonnegative, is_nonnegative
from ._base import AbstractPenalty
from ._thresholds import simplex_threshold


class Simplex(AbstractPenalty):
    """Zero where w ≥ 0 and Σ_j w_j = radius, +∞ elsewhere.

    Parameters
    ----------
    radius
        Scalar ≥ 0. The sum of w may miss it by the rounding of p additions.

    Raises
    ------
    ValueError
        If ``radius`` is negative, NaN or infinite.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> sj.penalties.Simplex().prox(jnp.array([1.0, 0.5, -3.0]), 1.0).tolist()
    [0.75, 0.25, 0.0]

    Notes
    -----
    Projection by sorting: Held, Wolfe & Crowder (1974); Duchi et al. (2008). The conjugate is
    radius·max_j c_j, finite everywhere.
    """

    radius: Float[Array, ""] = eqx.field(default=1.0, converter=inexact("radius"))

    def __check_init__(self) -> None:
        check_nonnegative("radius", self.radius, ndim=0, finite=True)

    def check(self, num_features: int) -> None:
        del num_features  # nothing here has one entry a feature

    def is_valid(self) -> Bool[Array, ""]:
        return is_nonnegative(self.radius)

    def _contains(self, w: Float[Array, " p"]) -> Bool[Array, ""]:
        rounding = 4 * (1 + w.size) * jnp.finfo(w.dtype).eps * self.radius
        return jnp.all(w >= 0) & (jnp.abs(jnp.sum(w) - self.radius) <= rounding)

    def value(self, w: Float[Array, " p"]) -> Float[Array, ""]:
        return jnp.where(self._contains(w), 0.0, jnp.inf).astype(w.dtype)

    def prox(self, v: Float[Array, " p"], step: Any) -> Float[Array, " p"]:
        del step  # a projection, whatever the step
        # Relative to the largest entry, no number that matters exceeds the radius.
        v = v - lax.stop_gradient(jnp.max(v))
        groups = jnp.zeros(v.size, jnp.int32)
        threshold, _ = simplex_threshold(v, self.radius[None], groups, 1)
        return jnp.where(v > threshold, v - threshold, 0.0)

    def subdiff_distance(
        self, w: Float[Array, " p"], grad: Float[Array, " p"]
    ) -> Float[Array, " p"]:
        """How far the pull on a positive coefficient stays behind the largest pull."""
        behind = jnp.where(w > 0, jnp.max(-grad) + grad, 0.0)
        return jnp.where(self._contains(w), behind, jnp.inf)

    def support(self, w: Float[Array, " p"]) -> Bool[Array, " p"]:
        """The nonzero entries, free to move but for their sum."""
        return w != 0

    def fenchel_gap(self, w: Float[Array, " p"], c: Float[Array, " p"]) -> Float[Array, ""]:
        return jnp.sum(w * (jnp.max(c) - c)) + self.value(w)

    def dual_scale(self, c: Float[Array, " p"]) -> Float[Array, ""]:
        return jnp.ones_like(c[0])
