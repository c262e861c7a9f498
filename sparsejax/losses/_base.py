"""What a loss must be able to do."""

import abc
from typing import Self

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


class AbstractLoss(eqx.Module):
    """A convex function f(z) of the predictions z = Xw, averaged over the samples."""

    @abc.abstractmethod
    def value(self, z: Float[Array, " n"], y: Float[Array, " n"]) -> Float[Array, ""]:
        """f(z)."""

    @abc.abstractmethod
    def gradient(self, z: Float[Array, " n"], y: Float[Array, " n"]) -> Float[Array, " n"]:
        """∇f(z)."""

    @abc.abstractmethod
    def curvature(self, z: Float[Array, " n"], y: Float[Array, " n"]) -> Float[Array, " n"]:
        """The diagonal of ∇²f(z)."""

    @abc.abstractmethod
    def fenchel_gap(
        self, z: Float[Array, " n"], u: Float[Array, " n"], y: Float[Array, " n"]
    ) -> Float[Array, ""]:
        """f(z) + f*(u) − ⟨z, u⟩ ≥ 0, computed so that nothing cancels."""

    @abc.abstractmethod
    def reweighted(self, factors: Float[Array, " n"] | None) -> Self:
        """The loss with its sample weights multiplied by factors, or without any for None."""

    @abc.abstractmethod
    def is_valid(self) -> Bool[Array, ""]:
        """Whether the parameters are in range (checked where they are traced)."""

    @abc.abstractmethod
    def check(self, y: Float[Array, " n"]) -> None:
        """Raise ``ValueError`` for labels or parameters that the loss cannot take."""


def self_product(columns: Float[Array, "k n"]) -> Float[Array, "k k"]:
    """columns · columnsᵀ with the upper triangle's large blocks copied, not computed."""
    k = columns.shape[0]
    if k <= 512:  # below, one large product is faster than several small ones
        return columns @ columns.T
    first, second = columns[: k // 2], columns[k // 2 :]
    below = second @ first.T
    top = jnp.concatenate([self_product(first), below.T], axis=1)
    return jnp.concatenate([top, jnp.concatenate([below, self_product(second)], axis=1)])


class AbstractQuadraticLoss(AbstractLoss):
    """A loss of constant curvature: f(z) = Σ_i h_i (y_i − z_i)²/2."""

    @abc.abstractmethod
    def row_weights(self, y: Float[Array, " n"]) -> Float[Array, " n"]:
        """The curvatures h (n,)."""

    def gram(self, columns: Float[Array, "k n"], y: Float[Array, " n"]) -> Float[Array, "k k"]:
        """columns · diag(h) · columnsᵀ."""
        return self_product(columns * jnp.sqrt(self.row_weights(y)))
