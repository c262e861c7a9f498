"""Total variation along a chain of coefficients."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._arrays import inexact
from .._checks import check_nonnegative, is_nonnegative
from ._base import AbstractStrengthPenalty
from ._chain import total_variation_prox
from ._groups import ratio


class TotalVariation(AbstractStrengthPenalty):
    """strength · Σ_i |w_{i+1} − w_i|.

    Parameters
    ----------
    strength
        Scalar ≥ 0.

    Raises
    ------
    ValueError
        If ``strength`` is negative or NaN, or not a scalar.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> penalty = sj.penalties.TotalVariation(1.0)
    >>> penalty.prox(jnp.array([0.0, 1.0, 5.0, 6.0]), 1.0).tolist()
    [1.0, 1.0, 5.0, 5.0]

    Notes
    -----
    Rudin, Osher & Fatemi (1992); the proximal operator is Johnson's (2013) exact dynamic
    programme. A constant costs nothing (``null_space``), so ``strength_max`` is where the solution
    becomes constant, not zero, and there is no ``null_model``: at infinite strength one number is
    left to fit.
    """

    strength: Float[Array, ""] = eqx.field(converter=inexact("strength"))

    def __check_init__(self) -> None:
        check_nonnegative("strength", self.strength, ndim=0, finite=True)

    def check(self, num_features: int) -> None:
        del num_features  # nothing here has one entry a feature

    def is_valid(self) -> Bool[Array, ""]:
        return is_nonnegative(self.strength)

    def null_space(self, num_features: int) -> Float[Array, "p 1"]:
        return jnp.full((num_features, 1), num_features**-0.5, self.strength.dtype)

    def value(self, w: Float[Array, " p"]) -> Float[Array, ""]:
        return self.strength * jnp.sum(jnp.abs(jnp.diff(w)))

    def prox(self, v: Float[Array, " p"], step: Any) -> Float[Array, " p"]:
        return total_variation_prox(v, jnp.asarray(step * self.strength, v.dtype))

    def subdiff_distance(
        self, w: Float[Array, " p"], grad: Float[Array, " p"]
    ) -> Float[Array, " p"]:
        """How far the force z_i = Σ_{j≤i} grad_j across the i-th jump is from where it may be.

        The last entry is that of the sum of all, which must vanish.
        """
        force, jumps = jnp.cumsum(grad), jnp.diff(w)
        resting = jnp.maximum(jnp.abs(force[:-1]) - self.strength, 0.0)
        moving = jnp.abs(force[:-1] - self.strength * jnp.sign(jumps))
        return jnp.append(jnp.where(jumps == 0, resting, moving), jnp.abs(force[-1]))

    def support(self, w: Float[Array, " p"]) -> Bool[Array, " p"]:
        """The nonzero entries; the structure of w is in its jumps."""
        return w != 0

    def _forces(self, c: Float[Array, " p"]) -> tuple[Float[Array, " q"], Bool[Array, ""]]:
        """The force across every jump, for c without its mean, and whether c had none."""
        rounding = 1e-8 if c.dtype == jnp.float64 else 1e-4
        balanced = jnp.abs(jnp.sum(c)) <= rounding * jnp.sum(jnp.abs(c))
        return -jnp.cumsum(c - jnp.mean(c))[:-1], balanced

    def dual_scale(self, c: Float[Array, " p"]) -> Float[Array, ""]:
        """Zero where c is not orthogonal to constants: no multiple of it is feasible."""
        forces, balanced = self._forces(c)
        largest = jnp.max(jnp.abs(forces), initial=0.0)
        return jnp.where(balanced, 1.0 / jnp.maximum(1.0, ratio(largest, self.strength)), 0.0)

    def fenchel_gap(self, w: Float[Array, " p"], c: Float[Array, " p"]) -> Float[Array, ""]:
        """The mean of c counts as rounding up to 1e-8 (float32: 1e-4) of its size."""
        forces, balanced = self._forces(c)
        slack = 1 + (4 + c.size) * jnp.finfo(c.dtype).eps
        inside = balanced & jnp.all(ratio(jnp.abs(forces), self.strength) <= slack)
        jumps = jnp.diff(w)
        terms = jnp.sum(self.strength * jnp.abs(jumps) - forces * jumps)
        return jnp.where(inside, terms, jnp.inf)

    def strength_max(self, c: Float[Array, " p"]) -> Float[Array, ""]:
        """Smallest strength whose solution is constant, for c = −gradient at the best constant."""
        return jnp.max(jnp.abs(self._forces(c)[0]), initial=0.0)
