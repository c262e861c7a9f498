"""The ℓ1 norm, weighted and one-sided."""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._arrays import inexact, optional_inexact
from .._checks import check_length, check_nonnegative, is_nonnegative
from ._base import (
    AbstractSeparablePenalty,
    AbstractStrengthPenalty,
    AbstractVariationalPenalty,
    per_row,
)
from ._forms import SlopeForm
from ._groups import ratio, scaled, soft_threshold


class L1(AbstractStrengthPenalty, AbstractSeparablePenalty, AbstractVariationalPenalty):
    """strength · Σ_j weights_j |w_j|, optionally with w ≥ 0.

    Parameters
    ----------
    strength
        Scalar ≥ 0; the papers' λ on ‖·‖²/2 is n·strength.
    weights
        (p,) factors ≥ 0, one by default. Zero: unpenalised; infinite: exactly zero coefficient.
    nonnegative
        Whether negative coefficients are forbidden.

    Raises
    ------
    ValueError
        If ``strength`` or a weight is negative or NaN, or the strength is not a scalar.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> penalty = sj.penalties.L1(0.5)
    >>> penalty.prox(jnp.array([2.0, -0.25]), 1.0).tolist()
    [1.5, 0.0]

    Notes
    -----
    Tibshirani (1996); the proximal operator is soft thresholding (Donoho, 1995).
    """

    strength: Float[Array, ""] = eqx.field(converter=inexact("strength"))
    weights: Float[Array, " p"] | None = eqx.field(
        default=None, converter=optional_inexact("weights")
    )
    nonnegative: bool = eqx.field(default=False, static=True)

    takes_tasks: ClassVar[bool] = True

    def __check_init__(self) -> None:
        check_nonnegative("strength", self.strength, ndim=0, finite=True)
        if self.weights is not None:
            check_nonnegative("weights", self.weights, ndim=1, finite=False)

    def check(self, num_features: int) -> None:
        if self.weights is not None:
            check_length("weights", self.weights, num_features)

    def is_valid(self) -> Bool[Array, ""]:
        valid = is_nonnegative(self.strength)
        return valid if self.weights is None else valid & jnp.all(is_nonnegative(self.weights))

    def slopes(self) -> Float[Array, ""] | Float[Array, " p"]:
        """strength · weights; an infinite weight stays infinite at strength zero."""
        if self.weights is None:
            return self.strength
        return scaled(self.weights, self.strength)

    def _slopes_for(self, w: Float[Array, "p ..."]) -> Float[Array, "..."]:
        """The slopes in a shape that multiplies w, for one target or several."""
        return per_row(self.slopes(), w)

    def value(self, w: Float[Array, " p"]) -> Float[Array, ""]:
        total = jnp.sum(jnp.where(w == 0, 0.0, self._slopes_for(w) * jnp.abs(w)))
        return jnp.where(jnp.any(w < 0), jnp.inf, total) if self.nonnegative else total

    def prox(self, v: Float[Array, " p"], step: Any) -> Float[Array, " p"]:
        threshold = scaled(self._slopes_for(v), step)
        if self.nonnegative:
            return jnp.maximum(v - threshold, 0.0)
        return soft_threshold(v, threshold)

    def prox_derivative(self, v: Float[Array, " p"], step: Any) -> Float[Array, " p"]:
        threshold = step * self.slopes()
        if self.nonnegative:
            return (v > threshold).astype(v.dtype)
        return ((jnp.abs(v) > threshold) | (threshold == 0)).astype(v.dtype)

    def _pull(self, c: Float[Array, " p"]) -> Float[Array, " p"]:
        return jnp.maximum(c, 0.0) if self.nonnegative else jnp.abs(c)

    def subdiff_distance(
        self, w: Float[Array, " p"], grad: Float[Array, " p"]
    ) -> Float[Array, " p"]:
        slopes = self._slopes_for(w)
        moving = jnp.abs(-grad - jnp.where(w == 0, 0.0, slopes * jnp.sign(w)))
        resting = jnp.maximum(self._pull(-grad) - slopes, 0.0)
        distance = jnp.where(w == 0, resting, moving)
        return jnp.where(w < 0, jnp.inf, distance) if self.nonnegative else distance

    def support(self, w: Float[Array, " p"]) -> Bool[Array, " p"]:
        if self.nonnegative:
            return w != 0
        return (w != 0) | (self._slopes_for(w) == 0)

    def saturation(self, w: Float[Array, " p"], c: Float[Array, " p"]) -> Float[Array, " p"]:
        return ratio(self._pull(c), self._slopes_for(c))

    def is_free(self) -> Bool[Array, ""] | Bool[Array, " p"]:
        return self.slopes() == 0

    def dual_scale(self, c: Float[Array, " p"]) -> Float[Array, ""]:
        return 1.0 / jnp.maximum(1.0, jnp.max(self.saturation(c, c)))

    def fenchel_gap(self, w: Float[Array, " p"], c: Float[Array, " p"]) -> Float[Array, ""]:
        # The difference first: near the solution it is exact, and the products would cancel.
        terms = jnp.where(w == 0, 0.0, (self._slopes_for(w) - jnp.sign(w) * c) * jnp.abs(w))
        slack = 1 + 4 * jnp.finfo(c.dtype).eps
        inside = jnp.all(self.saturation(w, c) <= slack)
        if self.nonnegative:
            inside = inside & jnp.all(w >= 0)
        return jnp.where(inside, jnp.sum(terms), jnp.inf)

    def local_gradient(self, w: Float[Array, " p"]) -> Float[Array, " p"]:
        return jnp.where(w == 0, 0.0, self._slopes_for(w) * jnp.sign(w))

    def restrict(self, indices: Int[Array, " k"]) -> "L1":
        if self.weights is None:
            return self
        return eqx.tree_at(lambda penalty: penalty.weights, self, self.weights[indices])

    def max_support(self, num_samples: int, num_features: int) -> int:
        return min(num_samples, num_features)

    def strength_max(self, c: Float[Array, " p"]) -> Float[Array, ""]:
        weights = jnp.ones_like(c) if self.weights is None else per_row(self.weights, c)
        return jnp.max(jnp.where(weights > 0, self._pull(c) / weights, 0.0), initial=0.0)

    def null_model(self) -> "L1 | None":
        if self.weights is None:
            return None
        return L1(jnp.ones_like(self.strength), jnp.where(self.weights == 0, 0.0, jnp.inf))

    def variational_form(self, num_features: int) -> SlopeForm:
        if self.nonnegative:
            raise TypeError(
                "VarPro does not support L1(nonnegative=True): use WorkingSet(), FISTA() or "
                "CoordinateDescent()."
            )
        slopes = jnp.broadcast_to(self.slopes(), (num_features,))
        return SlopeForm(slopes, jnp.zeros_like(slopes))
