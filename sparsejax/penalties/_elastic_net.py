"""The elastic net."""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._arrays import inexact
from .._checks import check_interval, check_nonnegative, is_nonnegative
from ._base import (
    AbstractSeparablePenalty,
    AbstractStrengthPenalty,
    AbstractVariationalPenalty,
)
from ._forms import SlopeForm
from ._l1 import L1


class ElasticNet(AbstractStrengthPenalty, AbstractSeparablePenalty, AbstractVariationalPenalty):
    """strength · (l1_ratio·‖w‖₁ + (1 − l1_ratio)/2·‖w‖²).

    Parameters
    ----------
    strength
        Scalar ≥ 0.
    l1_ratio
        Scalar in [0, 1]; 1 is the Lasso, 0 ridge regression.
    nonnegative
        Whether negative coefficients are forbidden.

    Raises
    ------
    ValueError
        If ``strength`` is negative or NaN, or ``l1_ratio`` outside [0, 1].

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> penalty = sj.penalties.ElasticNet(1.0, 0.5)
    >>> penalty.prox(jnp.array([2.0]), 1.0).tolist()
    [1.0]

    Notes
    -----
    Zou & Hastie (2005), in scikit-learn's parametrisation.
    """

    strength: Float[Array, ""] = eqx.field(converter=inexact("strength"))
    l1_ratio: Float[Array, ""] = eqx.field(converter=inexact("l1_ratio"))
    nonnegative: bool = eqx.field(default=False, static=True)

    takes_tasks: ClassVar[bool] = True

    def __check_init__(self) -> None:
        check_nonnegative("strength", self.strength, ndim=0, finite=True)
        check_interval("l1_ratio", self.l1_ratio, 0.0, 1.0)

    def check(self, num_features: int) -> None:
        del num_features  # nothing here has one entry a feature

    def is_valid(self) -> Bool[Array, ""]:
        inside = (self.l1_ratio >= 0) & (self.l1_ratio <= 1)
        return is_nonnegative(self.strength) & inside

    @property
    def _l1(self) -> L1:
        return L1(self.strength * self.l1_ratio, nonnegative=self.nonnegative)

    @property
    def _ridge(self) -> Float[Array, ""]:
        return self.strength * (1 - self.l1_ratio)

    def value(self, w: Float[Array, " p"]) -> Float[Array, ""]:
        return self._l1.value(w) + self._ridge * jnp.sum(w**2) / 2

    def prox(self, v: Float[Array, " p"], step: Any) -> Float[Array, " p"]:
        return self._l1.prox(v, step) / (1 + step * self._ridge)

    def prox_derivative(self, v: Float[Array, " p"], step: Any) -> Float[Array, " p"]:
        return self._l1.prox_derivative(v, step) / (1 + step * self._ridge)

    def subdiff_distance(
        self, w: Float[Array, " p"], grad: Float[Array, " p"]
    ) -> Float[Array, " p"]:
        return self._l1.subdiff_distance(w, grad + self._ridge * w)

    def support(self, w: Float[Array, " p"]) -> Bool[Array, " p"]:
        return self._l1.support(w)

    def saturation(self, w: Float[Array, " p"], c: Float[Array, " p"]) -> Float[Array, " p"]:
        return self._l1.saturation(w, c - self._ridge * w)

    def is_free(self) -> Bool[Array, ""]:
        return (self._l1.strength == 0) & (self._ridge == 0)

    def dual_scale(self, c: Float[Array, " p"]) -> Float[Array, ""]:
        return self._l1.dual_scale(c)

    def fenchel_gap(self, w: Float[Array, " p"], c: Float[Array, " p"]) -> Float[Array, ""]:
        # g*(c) = Σ (|c| − slope)₊²/(2 ridge): complete the square so that no large terms cancel.
        slope, ridge = self._l1.strength, self._ridge
        clipped = jnp.clip(c, None if self.nonnegative else -slope, slope)
        excess = c - clipped
        curved = ridge > 0
        safe = jnp.where(curved, ridge, 1.0)
        squares = jnp.where(curved, (ridge * w - excess) ** 2 / (2 * safe), 0.0)
        outside = ~curved & jnp.any(jnp.abs(excess) > 4 * jnp.finfo(c.dtype).eps * slope)
        if self.nonnegative:
            outside = outside | jnp.any(w < 0)
        terms = slope * jnp.abs(w) - w * clipped
        return jnp.where(outside, jnp.inf, jnp.sum(terms + squares))

    def local_gradient(self, w: Float[Array, " p"]) -> Float[Array, " p"]:
        return self._l1.local_gradient(w) + self._ridge * w

    def restrict(self, indices: Int[Array, " k"]) -> "ElasticNet":
        del indices  # the same for every feature
        return self

    def strength_max(self, c: Float[Array, " p"]) -> Float[Array, ""]:
        pull = self._l1.strength_max(c)
        return jnp.where(pull == 0, 0.0, pull / self.l1_ratio)

    def variational_form(self, num_features: int) -> SlopeForm:
        slopes = self._l1.variational_form(num_features).slopes
        return SlopeForm(slopes, jnp.full_like(slopes, self._ridge))
