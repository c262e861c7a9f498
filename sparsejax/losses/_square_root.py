"""The square-root loss, whose best strength does not depend on the noise."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._arrays import optional_inexact
from ._base import AbstractProximalLoss, AbstractVariationalLoss

# Steps of Newton's method in the prox; it takes about five.
_NEWTON_STEPS = 15


class SquareRoot(AbstractProximalLoss, AbstractVariationalLoss):
    """‖y − z‖₂/√n; with factors h of the samples, √(Σ_i h_i ‖y_i − z_i‖²).

    Parameters
    ----------
    sample_weight
        (n,) factors ≥ 0 with a positive sum, all one by default.

    Raises
    ------
    ValueError
        If a sample weight is negative, NaN or infinite, or all are zero.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> float(sj.losses.SquareRoot().value(jnp.zeros(2), jnp.array([1.0, 7.0])))
    5.0

    Notes
    -----
    Smooth but where z = y. Belloni, Chernozhukov & Wang, Square-root lasso, Biometrika 98, 2011.
    """

    sample_weight: Float[Array, " n"] | None = eqx.field(
        default=None, converter=optional_inexact("sample_weight")
    )

    def value(self, z: Float[Array, "n ..."], y: Float[Array, "n ..."]) -> Float[Array, ""]:
        return _norm(self._scaled(z - y, y))

    def gradient(self, z: Float[Array, "n ..."], y: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        """∇f(z), and zero where z = y, one of the subgradients there."""
        return self._scaled(_direction(self._scaled(z - y, y)), y)

    def fenchel_gap(
        self, z: Float[Array, "n ..."], u: Float[Array, "n ..."], y: Float[Array, "n ..."]
    ) -> Float[Array, ""]:
        """For v = u/√h of norm one or less, and the direction d of √h(z − y), half of.

        ‖√h(z − y)‖·(‖d − v‖² + 1 − ‖v‖²): a sum of nonnegative numbers.
        """
        c, is_dual = self._per_sample(u, y)
        v, residual = self._scaled(c, y), self._scaled(z - y, y)
        size = _norm(v)
        is_dual &= size <= 1 + 64 * jnp.finfo(v.dtype).eps
        v = v / jnp.maximum(size, 1.0)
        misfit = jnp.sum((_direction(residual) - v) ** 2) + jnp.maximum(1 - size**2, 0.0)
        return jnp.where(is_dual, _norm(residual) * misfit / 2, jnp.inf)

    def prox(
        self, v: Float[Array, "n ..."], step: Any, y: Float[Array, "n ..."]
    ) -> Float[Array, "n ..."]:
        """The residual r = v − y becomes r·t/(t + step·h), where t ≥ 0 is the new value."""
        factors = self._row_factors(y)
        t = self._value_after_prox(v - y, step * factors, y)
        shrunk = (v - y) * t / jnp.where(t > 0, t + step * factors, 1.0)
        return jnp.where((factors > 0) & (step > 0), y + shrunk, v)

    def nearest_dual(
        self, u: Float[Array, "n ..."], y: Float[Array, "n ..."]
    ) -> Float[Array, "n ..."]:
        v = self._scaled(self._per_sample(u, y)[0], y)
        return jnp.where(self._row_factors(y) > 0, u, 0.0) / jnp.maximum(1.0, _norm(v))

    def first_level(self, y: Float[Array, "n ..."]) -> Float[Array, ""]:
        """‖r‖ = min over t of (‖r‖²/t² + t²)/2, at t² = ‖r‖."""
        return jnp.sqrt(_norm(self._scaled(y, y)))

    def noise(self, level: Float[Array, ""]) -> Float[Array, ""]:
        return level**2

    def _value_after_prox(
        self, r: Float[Array, "n ..."], steps: Float[Array, "n ..."], y: Float[Array, "n ..."]
    ) -> Float[Array, ""]:
        """The root t of Σ h r²/(t + steps)² = 1, or zero where there is none.

        The left side to the power −1/2 is concave and increases: from below, Newton's method
        climbs to the root without passing it. Equal steps make the first guess the root.
        """
        parts = jnp.sum(self._scaled(r, y).reshape(r.shape[0], -1) ** 2, axis=1)
        steps = steps.reshape(-1)
        shifted = lambda t: jnp.where(steps > 0, t + steps, 1.0)  # noqa: E731

        def climb(_: int, t: Float[Array, ""]) -> Float[Array, ""]:
            total = jnp.sum(parts / shifted(t) ** 2)
            slope = jnp.sum(parts / shifted(t) ** 3)
            return jnp.maximum(
                t + total * (jnp.sqrt(total) - 1) / jnp.where(slope > 0, slope, 1), 0
            )

        below = jnp.maximum(jnp.sqrt(jnp.sum(parts)) - jnp.max(steps), 0.0)
        return jax.lax.fori_loop(0, _NEWTON_STEPS, climb, below)

    def _scaled(self, r: Float[Array, "n ..."], y: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        return jnp.sqrt(self._row_factors(y)) * r


def _norm(a: Float[Array, "..."]) -> Float[Array, ""]:
    """‖a‖, with the subgradient zero at zero."""
    square = jnp.sum(a**2)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)


def _direction(a: Float[Array, "..."]) -> Float[Array, "..."]:
    """a/‖a‖, zero for zero."""
    size = _norm(a)
    return a / jnp.where(size > 0, size, 1.0)
