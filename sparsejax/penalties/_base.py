"""What a penalty must be able to do."""

import abc
from typing import ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ._block_matrix import BlockMatrix
from ._variational import AbstractVariationalForm


class AbstractPenalty(eqx.Module):
    """A function g(w) that favours structure in the coefficients w: convex, but for concave ones.

    Everything is a pure method of arrays; strengths and weights are leaves, so they can be
    differentiated and batched.
    """

    # Whether w may be a matrix (p, tasks).
    takes_tasks: ClassVar[bool] = False
    # Else there is no duality gap, and points are judged by their distance to stationarity.
    is_convex: ClassVar[bool] = True

    @abc.abstractmethod
    def value(self, w: Float[Array, " p"]) -> Float[Array, ""]:
        """g(w), +inf outside the domain."""

    @abc.abstractmethod
    def prox(self, v: Float[Array, " p"], step: Float[Array, "..."] | float) -> Float[Array, " p"]:
        """argmin_u ‖u − v‖²/2 + step·g(u); separable penalties take one step per coordinate."""

    def into_domain(self, w: Float[Array, " p"]) -> Float[Array, " p"]:
        """The nearest point where g is finite: after the smallest step zeros are exact."""
        return self.prox(w, float(jnp.finfo(w.dtype).tiny))

    @abc.abstractmethod
    def subdiff_distance(
        self, w: Float[Array, " p"], grad: Float[Array, " p"]
    ) -> Float[Array, " p"]:
        """Per coordinate, the distance of −grad to the subdifferential ∂g(w)."""

    @abc.abstractmethod
    def support(self, w: Float[Array, " p"]) -> Bool[Array, " p"]:
        """Generalised support: the coordinates around which g is differentiable at w."""

    @abc.abstractmethod
    def fenchel_gap(self, w: Float[Array, " p"], c: Float[Array, " p"]) -> Float[Array, ""]:
        """g(w) + g*(c) − ⟨w, c⟩ ≥ 0, summed term by term so that nothing cancels."""

    def scaled_gap(
        self, w: Float[Array, " p"], c: Float[Array, " p"], scale: Float[Array, ""]
    ) -> Float[Array, ""]:
        """``fenchel_gap(w, scale·c)``: what is dear is the same at every scale, if it can be."""
        return self.fenchel_gap(w, scale * c)

    @abc.abstractmethod
    def dual_scale(self, c: Float[Array, " p"]) -> Float[Array, ""]:
        """The largest factor s ≤ 1 for which s·c is sure to lie in the domain of g*."""

    def null_space(self, num_features: int) -> Float[Array, "p m"] | None:
        """Orthonormal basis of the directions along which g is constant; None if there are none.

        c must be orthogonal to them for g*(c) to be finite: a dual constraint without slack.
        """
        del num_features
        return None

    @abc.abstractmethod
    def is_valid(self) -> Bool[Array, ""]:
        """Whether the parameters are in range (checked where they are traced)."""

    @abc.abstractmethod
    def check(self, num_features: int) -> None:
        """Raise ``ValueError`` naming the parameter that is out of range or of the wrong length."""


class AbstractGroupSeparablePenalty(AbstractPenalty):
    """g(w) = Σ_b g_b(w_b) over disjoint groups of coordinates: what working sets need."""

    @property
    @abc.abstractmethod
    def groups_of_coordinates(self) -> tuple[Int[Array, " p"], int, int] | None:
        """Labels, the number of groups and the size of the largest; None for single coordinates."""

    @abc.abstractmethod
    def restrict(self, indices: Int[Array, " k"]) -> Self:
        """The penalty of the coordinates ``indices`` alone: whole groups, and p for padding."""

    @abc.abstractmethod
    def saturation(self, w: Float[Array, "p ..."], c: Float[Array, "p ..."]) -> Float[Array, " p"]:
        """How near each row at rest is to moving, for c = −gradient: above 1 it must."""

    @abc.abstractmethod
    def is_free(self) -> Bool[Array, ""] | Bool[Array, " p"]:
        """Coordinates whose dual constraint allows no slack at all (c_j = 0 or c_j ≤ 0)."""

    def without_rounding(
        self, c: Float[Array, " p"], size: Float[Array, "..."]
    ) -> Float[Array, " p"]:
        """c with zeros where the dual constraint has no slack and c is only rounding.

        An unpenalised feature demands c_j = Xⱼᵀu = 0 to the last bit, which no floating-point
        residual meets; |c_j| ≤ 64ε·size, for size = ‖Xⱼ‖‖y‖, is as near as the product comes.
        """
        rounding = per_row(64 * jnp.finfo(c.dtype).eps * size, c)
        return jnp.where(per_row(self.is_free(), c) & (jnp.abs(c) <= rounding), 0.0, c)

    def max_support(self, num_samples: int, num_features: int) -> int:
        """Size that the generalised support of some solution never exceeds."""
        del num_samples
        return num_features

    def anchor(self, w: Float[Array, " p"]) -> Float[Array, " p"] | None:
        """Where coordinates off the support are pinned; None stands for zero."""
        return None


class AbstractNewtonPenalty(AbstractGroupSeparablePenalty):
    """One whose second derivatives are known: what Newton's method and derivatives need."""

    @abc.abstractmethod
    def local_gradient(self, w: Float[Array, " p"]) -> Float[Array, " p"]:
        """∇g on the generalised support, as a differentiable function of w and the parameters."""

    @abc.abstractmethod
    def hessian(self, w: Float[Array, " p"]) -> BlockMatrix:
        """The derivative of ``local_gradient``."""

    @abc.abstractmethod
    def prox_root(self, v: Float[Array, " p"], step: Float[Array, "..."] | float) -> BlockMatrix:
        """The square root of ∂prox(v), an element of the generalised derivative at kinks."""


class AbstractSeparablePenalty(AbstractNewtonPenalty):
    """g(w) = Σ_j g_j(w_j): what coordinate descent needs."""

    @property
    def groups_of_coordinates(self) -> None:
        return None

    def hessian(self, w: Float[Array, " p"]) -> BlockMatrix:
        return BlockMatrix(jax.jvp(self.local_gradient, (w,), (jnp.ones_like(w),))[1])

    def prox_derivative(
        self, v: Float[Array, " p"], step: Float[Array, "..."] | float
    ) -> Float[Array, " p"]:
        """∂prox(v)_j/∂v_j, an element of the generalised derivative at kinks."""
        return jax.jvp(lambda u: self.prox(u, step), (v,), (jnp.ones_like(v),))[1]

    def prox_root(self, v: Float[Array, " p"], step: Float[Array, "..."] | float) -> BlockMatrix:
        return BlockMatrix(jnp.sqrt(self.prox_derivative(v, step)))


class AbstractStrengthPenalty(AbstractPenalty):
    """A penalty whose size is one number, so that a path over it makes sense."""

    strength: eqx.AbstractVar[Float[Array, ""]]

    @abc.abstractmethod
    def strength_max(self, c: Float[Array, " p"]) -> Float[Array, ""]:
        """Smallest strength at which w = 0 is optimal, for c = −gradient at zero."""

    def null_model(self) -> "AbstractPenalty | None":
        """The penalty at infinite strength, or None where that means w = 0."""
        return None

    def with_strength(self, strength: Float[Array, ""]) -> Self:
        """The same penalty at another strength."""
        return eqx.tree_at(lambda penalty: penalty.strength, self, strength)


class AbstractRelaxablePenalty(AbstractPenalty):
    """A penalty, mostly not convex, below convex ones that touch it: what relaxation needs."""

    # Whether its slope at zero is infinite: then zero is stationary at any strength.
    steep: ClassVar[bool] = False

    @abc.abstractmethod
    def touching(self, w: Float[Array, "p ..."]) -> AbstractPenalty:
        """The convex penalty that lies above this one, but for a constant, and touches it at w.

        Above this one and ⟨T, w⟩, where there is a ``tilt`` T.
        """

    def tilt(self, w: Float[Array, "p ..."]) -> Float[Array, "p ..."] | None:
        """The linear function that must be taken from ``touching``, if any."""
        del w
        return None


class AbstractVariationalPenalty(AbstractGroupSeparablePenalty):
    """A minimum of weighted ridges over their weights: what VarPro needs."""

    @abc.abstractmethod
    def variational_form(self, num_features: int) -> AbstractVariationalForm:
        """The weights and their cost; ``TypeError`` where a sign constraint forbids the form."""


def per_row(x: Array, like: Float[Array, "p ..."]) -> Array:
    """One number, or one a row, in a shape that multiplies an array of rows."""
    return x.reshape(x.shape + (1,) * (like.ndim - 1)) if x.ndim == 1 else x
