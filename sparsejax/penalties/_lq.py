"""The ℓq quasi-norm, to the power of q."""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._arrays import inexact
from .._checks import check_nonnegative
from .._roots import newton_from_right, refined_root
from ._base import AbstractVariationalPenalty
from ._concave import AbstractConcavePenalty
from ._forms import PowerForm


class Lq(AbstractConcavePenalty, AbstractVariationalPenalty):
    """strength · Σ_j |w_j|^q.

    Parameters
    ----------
    strength
        Scalar ≥ 0.
    q
        A number in (0, 1); 1/2 and 2/3 have a proximal operator in closed form.

    Raises
    ------
    ValueError
        If ``strength`` is negative or NaN, or ``q`` outside (0, 1).

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> sj.penalties.Lq(2.0, q=0.5).prox(jnp.array([5.0, 1.0]), 1.0).round(2).tolist()
    [4.53, 0.0]

    Notes
    -----
    Xu et al., L1/2 regularization (IEEE TNNLS, 2012); Cao, Sun & Xu for q = 2/3 (2013).
    """

    strength: Float[Array, ""] = eqx.field(converter=inexact("strength"))
    q: float = eqx.field(static=True)

    steep: ClassVar[bool] = True

    def __check_init__(self) -> None:
        check_nonnegative("strength", self.strength, ndim=0, finite=True)
        if not 0 < self.q < 1:
            raise ValueError(f"`q` must lie between 0 and 1, ends excluded; got {self.q}.")

    def profile(self, size: Float[Array, "..."]) -> Float[Array, "..."]:
        moving = size > 0
        return jnp.where(moving, self.strength * jnp.where(moving, size, 1.0) ** self.q, 0.0)

    def slope(self, w: Float[Array, "..."]) -> Float[Array, "..."]:
        moving = w != 0
        size = jnp.where(moving, jnp.abs(w), 1.0)
        at_zero = jnp.where(self.strength > 0, jnp.inf, 0.0)
        return jnp.where(moving, self.strength * self.q * size ** (self.q - 1), at_zero)

    def prox(self, v: Float[Array, " p"], step: Any) -> Float[Array, " p"]:
        size, scale = jnp.abs(v), step * self.strength
        jump = self._jump(scale)
        moving = size > jump
        # Where zero is the minimiser, anything at which the roots below exist.
        safe = jnp.where(moving, size, jnp.where(jump > 0, 2 * jump, 1.0))
        if self.q == 1 / 2:
            u = _half(safe, scale)
        elif self.q == 2 / 3:
            u = _two_thirds(safe, scale)
        else:

            def residual(u: Float[Array, " p"]) -> Float[Array, " p"]:
                return u - safe + scale * self.q * u ** (self.q - 1)

            # Increasing and convex right of the smallest coefficient that a prox may have.
            u = refined_root(residual, newton_from_right(residual, safe))
        return jnp.where(moving, jnp.sign(v) * u, 0.0)

    def variational_form(self, num_features: int) -> PowerForm:
        return PowerForm(jnp.broadcast_to(self.strength, (num_features,)), self.q)

    def _jump(self, scale: Float[Array, "..."]) -> Float[Array, "..."]:
        """The |v| at which zero and a u > 0 are equally good: there u = (2(1 − q)·scale)^(1/(2−q)).

        Other u ≠ 0 are larger: φ(u)/u = u/2 − |v| + scale·u^(q−1) is least at that one.
        """
        positive = scale > 0
        base = 2 * (1 - self.q) * jnp.where(positive, scale, 1.0)
        u = base ** (1 / (2 - self.q))
        return jnp.where(positive, u * (2 - self.q) / (2 * (1 - self.q)), 0.0)


def _half(v: Float[Array, " p"], scale: Float[Array, "..."]) -> Float[Array, " p"]:
    """The largest root of u + scale/(2√u) = v: with s = √u, of s³ − v·s + scale/2."""
    angle = jnp.arccos(-0.75 * scale / v * jnp.sqrt(3 / v)) / 3
    return 4 / 3 * v * jnp.cos(angle) ** 2


def _two_thirds(v: Float[Array, " p"], scale: Float[Array, "..."]) -> Float[Array, " p"]:
    """The largest root of u + 2·scale/(3u^⅓) = v: with s = u^⅓, of s⁴ − v·s + 2·scale/3.

    It is (s² + A·s + B)(s² − A·s + C) for a root A² of the cubic y³ − 8/3·scale·y = v².
    """
    third = 8 / 9 * scale
    # In units of v, so that its fourth power does not overflow.
    ratio = third * v ** (-4 / 3)
    first = jnp.cbrt((1 + jnp.sqrt(1 - 4 * ratio**3)) / 2)
    square = v ** (2 / 3) * (first + ratio / first)
    a = jnp.sqrt(square)
    return ((a + jnp.sqrt(2 * v / a - square)) / 2) ** 3
