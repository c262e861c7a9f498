"""Powers of the singular values."""

import equinox as eqx
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from .._arrays import inexact
from .._checks import check_interval
from .._roots import newton_from_right, refined_root
from ._groups import ratio
from ._nuclear import Nuclear
from ._spectral import AbstractSpectral


class Schatten(AbstractSpectral):
    """strength · Σ_i σ_i(W)^q, the singular values of W (p, tasks): the Schatten q-norm, power q.

    Parameters
    ----------
    strength
        Scalar ≥ 0.
    q
        Scalar in [1, 2]: 1 is ``Nuclear``, 2 a ridge, strength·‖W‖². Below 1 it is not convex.
    shape
        As for ``Nuclear``.

    Raises
    ------
    ValueError
        If ``strength`` is negative or NaN, or not a scalar; if ``q`` lies outside [1, 2];
        if ``shape`` does not have an entry for each coefficient.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> penalty = sj.penalties.Schatten(1.0, 1.5)
    >>> jnp.round(penalty.prox(jnp.diag(jnp.array([10.0, 2.5])), 1.0), 3).tolist()
    [[6.25, 0.0], [0.0, 1.0]]

    Notes
    -----
    Above q = 1 singular values shrink, but none vanishes: no strength makes the solution zero,
    and ``strength_max`` is infinite. Each solves x + step·strength·q·x^(q−1) = σ, by Newton's
    method to rounding. Rohde & Tsybakov, Estimation of high-dimensional low-rank matrices (2011).
    """

    strength: Float[Array, ""] = eqx.field(converter=inexact("strength"))
    q: Float[Array, ""] = eqx.field(converter=inexact("q"))
    shape: tuple[int, int] | None = eqx.field(default=None, static=True)

    def __check_init__(self) -> None:
        check_interval("q", self.q, 1.0, 2.0)

    def is_valid(self) -> Bool[Array, ""]:
        return super().is_valid() & (self.q >= 1) & (self.q <= 2)

    @property
    def _nuclear(self) -> Nuclear:
        """What the penalty is at q = 1."""
        return Nuclear(self.strength, self.shape)

    @property
    def _curved(self) -> Bool[Array, ""]:
        return self.q > 1

    def _power(self) -> Float[Array, ""]:
        """q where it is above one, else a number that does no harm."""
        return jnp.where(self._curved, self.q, 2.0)

    def sizes_value(self, sizes: Float[Array, " r"]) -> Float[Array, " r"]:
        return self.strength * sizes**self.q

    def sizes_slope(self, sizes: Float[Array, "*r"]) -> Float[Array, "*r"]:
        return self.strength * self.q * sizes ** (self.q - 1)

    def sizes_prox(self, sizes: Float[Array, " r"], step: Float[Array, ""]) -> Float[Array, " r"]:
        moves = self._curved & (sizes > 0) & (step * self.strength > 0)
        power = self._power() - 1
        target = jnp.where(moves, sizes, 1.0)
        factor = jnp.where(moves, step * self.strength * self.q, 1.0)
        start = _power_root(*lax.stop_gradient((target, factor, power)))
        root = refined_root(lambda x: x + factor * x**power - target, start)
        return jnp.where(moves, root, self._nuclear.sizes_prox(sizes, step))

    def chords(
        self, sizes: Float[Array, " r"], shrunk: Float[Array, " r"], step: Float[Array, ""]
    ) -> Float[Array, "r r"]:
        """1/(1 + factor·d), for the chords d of x^(q−1) between the shrunk values."""
        factor, power = step * self.strength * self.q, self._power() - 1
        high = jnp.maximum(shrunk[:, None], shrunk)
        apart = jnp.minimum(shrunk[:, None], shrunk) / jnp.where(high > 0, high, 1.0) - 1
        away = jnp.where(apart < 0, apart, -1.0)
        steep = jnp.where(apart < 0, jnp.expm1(power * jnp.log1p(away)) / away, power)
        bent = 1 / (1 + factor * steep * high ** (power - 1))
        bent = jnp.where(factor > 0, bent, 1.0)
        return jnp.where(self._curved, bent, self._nuclear.chords(sizes, shrunk, step))

    def sizes_gap(
        self, sizes: Float[Array, " r"], duals: Float[Array, " r"], slack: float
    ) -> Float[Array, " r"]:
        # With φ′(x) = γ it is φ(σ) − φ(x) − γ(σ − x), of second order in σ − x.
        q = self._power()
        touched = ratio(duals, self.strength * q) ** (1 / (q - 1))
        apart = ratio(sizes, touched) - 1
        is_near = (jnp.abs(apart) < 0.5) & (touched > 0)
        apart = jnp.where(is_near, apart, 0.0)
        near = duals * touched / q * (jnp.expm1(q * jnp.log1p(apart)) - q * apart)
        far = self.strength * sizes**q + (q - 1) / q * duals * touched - sizes * duals
        flat = self._nuclear.sizes_gap(sizes, duals, slack)
        return jnp.where(self._curved, jnp.where(is_near, near, far), flat)

    def dual_scale(self, c: Float[Array, "p *tasks"]) -> Float[Array, ""]:
        is_finite_everywhere = self._curved & (self.strength > 0)
        return jnp.where(is_finite_everywhere, 1.0, self._nuclear.dual_scale(c))

    def strength_max(self, c: Float[Array, "p *tasks"]) -> Float[Array, ""]:
        largest = self._nuclear.strength_max(c)
        return jnp.where(self._curved & (largest > 0), jnp.inf, largest)


def _power_root(
    target: Float[Array, " r"], factor: Float[Array, " r"], power: Float[Array, ""]
) -> Float[Array, " r"]:
    """x > 0 with x + factor·x^power = target > 0, for 0 < power ≤ 1 and factors > 0.

    As a function of y = log x, the logarithm of the left side is convex with slopes from ``power``
    to one: from the right, Newton's method comes down to the root without passing it.
    """
    goal, shift = jnp.log(target), jnp.log(factor)
    start = jnp.minimum(goal, (goal - shift) / power)
    return jnp.exp(newton_from_right(lambda y: jnp.logaddexp(y, shift + power * y) - goal, start))
