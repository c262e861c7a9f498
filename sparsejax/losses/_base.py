"""What a loss must be able to do."""

import abc
from typing import Self

import equinox as eqx
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


class AbstractQuadraticLoss(AbstractLoss):
    """A loss of constant curvature: f(z) = Σ_i h_i (y_i − z_i)²/2."""

    @abc.abstractmethod
    def row_weights(self, y: Float[Array, " n"]) -> Float[Array, " n"]:
        """The curvatures h (n,)."""

    def gram(
        self, rows: Float[Array, "k n"], columns: Float[Array, "m n"], y: Float[Array, " n"]
    ) -> Float[Array, "k m"]:
        """rows · diag(h) · columnsᵀ."""
        return (rows * self.row_weights(y)) @ columns.T
