"""The variational forms of separable and grouped penalties."""

import math
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ._groups import row_norms, segment_maxima, segment_norms
from ._variational import AbstractVariationalForm

_UNPENALISED = 1e4  # root of a weight so large that its ridge is negligible


class SlopeForm(AbstractVariationalForm):
    """Σ_j slopes_j ‖w_j‖ + ridge_j ‖w_j‖²/2 over coefficients or rows.

    s|w| = min over v of (s²w²/v² + v²)/2; a ridge κ makes that W = v²/(s² + κ v²).
    """

    slopes: Float[Array, " p"]
    ridge: Float[Array, " p"]

    def root(self, v: Float[Array, " p"]) -> Float[Array, " p"]:
        penalised = (self.slopes > 0) & jnp.isfinite(self.slopes)
        squared = jnp.where(penalised, self.slopes**2 + self.ridge * v**2, 1.0)
        ridge = jnp.where(self.ridge > 0, self.ridge, _UNPENALISED**-2)
        bare = jnp.where(self.slopes > 0, 0.0, 1 / jnp.sqrt(ridge))
        return jnp.where(penalised, v / jnp.sqrt(squared), bare)

    def best(self, w: Float[Array, "p ..."]) -> Float[Array, " p"]:
        return jnp.sqrt(jnp.where(jnp.isinf(self.slopes), 0.0, self.slopes) * row_norms(w))

    def rescaled(self, scale: Float[Array, " p"]) -> "SlopeForm":
        return SlopeForm(self.slopes / scale, self.ridge / scale**2)


class PowerForm(AbstractVariationalForm):
    """Σ_j strengths_j |w_j|^q for 0 < q < 1.

    s|w|^q = min over v of w²/(2 c²|v|^(2k)) + v²/2 for k = (2 − q)/q and c² = k·(s(2 − q))^(−2/q).
    With q = 2/3 this is the product of three factors, u·v·v, and smooth; so it is for larger q.
    """

    strengths: Float[Array, " p"]
    q: float = eqx.field(static=True)

    @property
    def _power(self) -> float:
        return (2 - self.q) / self.q

    def root(self, v: Float[Array, " p"]) -> Float[Array, " p"]:
        penalised = self.strengths > 0
        price = jnp.where(penalised, self.strengths, 1.0) * (2 - self.q)
        moving = v != 0
        size = jnp.where(moving, jnp.abs(v), 1.0)
        # (|v|^(2 − q)/price)^(1/q): neither power alone, which may over- or underflow.
        spread = jnp.exp(((2 - self.q) * jnp.log(size) - jnp.log(price)) / self.q)
        bare = jnp.full_like(v, _UNPENALISED)
        root = jnp.where(moving, math.sqrt(self._power) * spread, 0.0)
        return jnp.where(penalised, root, bare)

    def best(self, w: Float[Array, " p"]) -> Float[Array, " p"]:
        moving = w != 0
        size = jnp.where(moving, jnp.abs(w), 1.0) ** self.q
        return jnp.sqrt(jnp.where(moving, self.strengths * (2 - self.q) * size, 0.0))

    def rescaled(self, scale: Float[Array, " p"]) -> "PowerForm":
        return PowerForm(self.strengths / scale**self.q, self.q)


class GroupForm(AbstractVariationalForm):
    """Σ_g slopes_g ‖w_g‖₂: one number of v a group."""

    slopes: Float[Array, " g"]
    groups: Int[Array, " p"]

    def _of_groups(self) -> SlopeForm:
        return SlopeForm(self.slopes, jnp.zeros_like(self.slopes))

    def root(self, v: Float[Array, " g"]) -> Float[Array, " p"]:
        return self._of_groups().root(v)[self.groups]

    def best(self, w: Float[Array, " p"]) -> Float[Array, " g"]:
        return self._of_groups().best(segment_norms(w, self.groups, self.slopes.size))

    def rescaled(self, scale: Float[Array, " p"]) -> "GroupForm":
        unit = segment_maxima(scale, self.groups, self.slopes.size)
        return GroupForm(self.slopes / jnp.where(unit > 0, unit, 1.0), self.groups)


class SumForm(AbstractVariationalForm):
    """The sum of two penalties: v is a pair, and 1/W = 1/W₁ + 1/W₂."""

    first: AbstractVariationalForm
    second: AbstractVariationalForm

    def root(self, v: tuple[Any, Any]) -> Float[Array, " p"]:
        one, other = self.first.root(v[0]), self.second.root(v[1])
        square = one**2 + other**2
        return one * other / jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 1)

    def best(self, w: Float[Array, " p"]) -> tuple[Any, Any]:
        return self.first.best(w), self.second.best(w)

    def rescaled(self, scale: Float[Array, " p"]) -> "SumForm":
        return SumForm(self.first.rescaled(scale), self.second.rescaled(scale))
