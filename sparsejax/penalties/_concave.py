"""Concave functions of the size of each coefficient: penalties that do not shrink what is large."""

import abc
from typing import Any, ClassVar, Self

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._checks import is_nonnegative
from ._base import AbstractRelaxablePenalty, AbstractSeparablePenalty, AbstractStrengthPenalty
from ._groups import ratio, root
from ._l1 import L1


class AbstractConcavePenalty(
    AbstractStrengthPenalty, AbstractSeparablePenalty, AbstractRelaxablePenalty
):
    """Σ_j h(|w_j|) for an increasing, concave h with h(0) = 0.

    Not convex: the conjugate is infinite but at zero, so that no duality gap is of use. Points are
    judged by their distance to the subdifferential, which vanishes at every stationary point.
    """

    # Whether h′(0) is infinite: then zero is stationary at any strength.
    steep: ClassVar[bool] = False
    is_convex: ClassVar[bool] = False

    @abc.abstractmethod
    def profile(self, size: Float[Array, "..."]) -> Float[Array, "..."]:
        """h(size) for sizes ≥ 0."""

    @abc.abstractmethod
    def slope(self, w: Float[Array, "..."]) -> Float[Array, "..."]:
        """h′(|w|): the weights of the ℓ1 norm that touches the penalty at w from above."""

    def touching(self, w: Float[Array, " p"]) -> L1:
        slopes = self.slope(w)
        return L1(jnp.ones((), slopes.dtype), slopes)

    def check(self, num_features: int) -> None:
        del num_features  # nothing here has one entry a feature

    def is_valid(self) -> Bool[Array, ""]:
        return is_nonnegative(self.strength)

    def value(self, w: Float[Array, " p"]) -> Float[Array, ""]:
        return jnp.sum(self.profile(jnp.abs(w)))

    def local_gradient(self, w: Float[Array, " p"]) -> Float[Array, " p"]:
        moving = w != 0
        return jnp.where(moving, jnp.sign(w) * self.slope(jnp.where(moving, w, 1.0)), 0.0)

    def subdiff_distance(
        self, w: Float[Array, " p"], grad: Float[Array, " p"]
    ) -> Float[Array, " p"]:
        moving = jnp.abs(grad + self.local_gradient(w))
        return jnp.where(w == 0, jnp.maximum(jnp.abs(grad) - self.slope(w), 0.0), moving)

    def support(self, w: Float[Array, " p"]) -> Bool[Array, " p"]:
        return (w != 0) | (self.slope(w) == 0)

    def saturation(self, w: Float[Array, " p"], c: Float[Array, " p"]) -> Float[Array, " p"]:
        return ratio(jnp.abs(c), self.slope(jnp.zeros_like(c)))

    def is_free(self) -> Bool[Array, ""]:
        return self.strength == 0

    def dual_scale(self, c: Float[Array, " p"]) -> Float[Array, ""]:
        return jnp.where(jnp.any(c != 0), 0.0, jnp.ones((), c.dtype))

    def fenchel_gap(self, w: Float[Array, " p"], c: Float[Array, " p"]) -> Float[Array, ""]:
        return jnp.where(jnp.any(c != 0), jnp.inf, self.value(w))

    def max_support(self, num_samples: int, num_features: int) -> int:
        # More features than samples can move together along a line on which the loss is constant
        # and a concave function has no strict minimum.
        return min(num_samples, num_features)

    def restrict(self, indices: Int[Array, " k"]) -> Self:
        del indices  # the same for every feature
        return self

    def strength_max(self, c: Float[Array, " p"]) -> Float[Array, ""]:
        """As for L1, since the strength is the slope at zero; ``TypeError`` where that is steep."""
        if self.steep:
            raise TypeError(
                f"{type(self).__name__} has no largest strength, because zero is stationary at "
                "any: choose the strengths yourself."
            )
        return jnp.max(jnp.abs(c), initial=0.0)


def leap(step: Any, slope: Float[Array, ""], ceiling: Float[Array, ""]) -> Float[Array, "..."]:
    """From which |v| on v itself is the proximal point of a penalty that ends in a ``ceiling``.

    The rival is the soft threshold of a penalty that begins with ``slope``, or zero: where
    (u − v)²/2 + step·slope·u, or v²/2, exceeds step·ceiling.
    """
    gentle = 2 * ceiling > step * slope**2
    mean = ceiling / jnp.where(gentle, slope, 1.0) + step * slope / 2
    return jnp.where(gentle, mean, root(2 * step * ceiling))
