"""The capped ℓ1 norm."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._arrays import inexact
from .._checks import check_nonnegative, check_positive
from ._concave import AbstractConcavePenalty, leap
from ._groups import soft_threshold


class CappedL1(AbstractConcavePenalty):
    """strength · Σ_j min(|w_j|, threshold).

    Parameters
    ----------
    strength
        Scalar ≥ 0, the slope at zero.
    threshold
        Scalar > 0 beyond which nothing is added.

    Raises
    ------
    ValueError
        If ``strength`` is negative or NaN, or ``threshold`` not positive.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> penalty = sj.penalties.CappedL1(1.0, threshold=2.0)
    >>> penalty.prox(jnp.array([3.0, 2.0, 0.5]), 1.0).tolist()
    [3.0, 1.0, 0.0]

    Notes
    -----
    Zhang, Multi-stage convex relaxation (NIPS 2008; JMLR 2010).
    """

    strength: Float[Array, ""] = eqx.field(converter=inexact("strength"))
    threshold: Float[Array, ""] = eqx.field(converter=inexact("threshold"))

    def __check_init__(self) -> None:
        check_nonnegative("strength", self.strength, ndim=0, finite=True)
        check_positive("threshold", self.threshold)

    def is_valid(self) -> Bool[Array, ""]:
        return super().is_valid() & (self.threshold > 0)

    def profile(self, size: Float[Array, "..."]) -> Float[Array, "..."]:
        return self.strength * jnp.minimum(size, self.threshold)

    def slope(self, w: Float[Array, "..."]) -> Float[Array, "..."]:
        return jnp.where(jnp.abs(w) < self.threshold, self.strength, 0.0)

    def prox(self, v: Float[Array, " p"], step: Any) -> Float[Array, " p"]:
        far = leap(step, self.strength, self.strength * self.threshold)
        return jnp.where(jnp.abs(v) > far, v, soft_threshold(v, step * self.strength))
