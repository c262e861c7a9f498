"""What a loss must be able to do."""

import abc
from typing import Self

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from .._checks import check_length, check_nonnegative, is_concrete, is_nonnegative


class AbstractLoss(eqx.Module):
    """A convex function f(z) of the predictions z = Xw + b + offset, averaged over the samples.

    Targets and predictions are (n,), or (n, tasks) for several targets. The sample weights are
    rescaled to sum to n.
    """

    sample_weight: eqx.AbstractVar[Float[Array, " n"] | None]

    def __check_init__(self) -> None:
        if self.sample_weight is None:
            return
        check_nonnegative("sample_weight", self.sample_weight, ndim=1, finite=True)
        if is_concrete(self.sample_weight) and not np.any(np.asarray(self.sample_weight) > 0):
            raise ValueError("`sample_weight` must have at least one positive entry.")

    @abc.abstractmethod
    def value(self, z: Float[Array, "n ..."], y: Float[Array, "n ..."]) -> Float[Array, ""]:
        """f(z), +inf outside the domain."""

    @abc.abstractmethod
    def fenchel_gap(
        self, z: Float[Array, "n ..."], u: Float[Array, "n ..."], y: Float[Array, "n ..."]
    ) -> Float[Array, ""]:
        """f(z) + f*(u) − ⟨z, u⟩ ≥ 0, computed so that nothing cancels."""

    def targets(self, y: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        """The targets as the other methods take them; ``ValueError`` for what the loss cannot fit.

        Values are looked at only where they are known (not traced).
        """
        return y

    def outputs(self, y: Float[Array, "n ..."]) -> tuple[int, ...]:
        """Shape of the predictions of one sample: () or (tasks,)."""
        return y.shape[1:]

    def row_weights(self, y: Float[Array, "n ..."]) -> Float[Array, " n"]:
        """The factors h of the samples (n,), which sum to one."""
        if self.sample_weight is None:
            return jnp.full(y.shape[0], 1 / y.shape[0], y.dtype)
        return self.sample_weight / jnp.sum(self.sample_weight)

    def reweighted(self, factors: Float[Array, " n"] | None) -> Self:
        """The loss with its sample weights multiplied by factors, or without any for None."""
        if factors is not None and self.sample_weight is not None:
            factors = self.sample_weight * factors
        is_none = lambda x: x is None  # noqa: E731
        return eqx.tree_at(lambda loss: loss.sample_weight, self, factors, is_leaf=is_none)

    def is_valid(self) -> Bool[Array, ""]:
        """Whether the parameters are in range (checked where they are traced)."""
        if self.sample_weight is None:
            return jnp.array(True)
        return jnp.all(is_nonnegative(self.sample_weight)) & jnp.any(self.sample_weight > 0)

    def check(self, y: Float[Array, "n ..."]) -> None:
        """Raise ``ValueError`` for parameters that do not fit the targets."""
        if self.sample_weight is not None:
            check_length("sample_weight", self.sample_weight, y.shape[0])


class AbstractSmoothLoss(AbstractLoss):
    """A loss with a gradient, and with a curvature that diagonal matrices bound."""

    @abc.abstractmethod
    def gradient(self, z: Float[Array, "n ..."], y: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        """∇f(z)."""

    @abc.abstractmethod
    def curvature(
        self, z: Float[Array, "n ..."], y: Float[Array, "n ..."]
    ) -> Float[Array, "n ..."]:
        """The diagonal of ∇²f(z) or, where that is not diagonal, a diagonal matrix above it."""

    @abc.abstractmethod
    def curvature_bound(self, y: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        """A diagonal matrix above ∇²f(z) for every z; infinite where there is none."""


class AbstractPointwiseLoss(AbstractSmoothLoss):
    """f(z) = Σ_i h_i φ(z_i, y_i): a loss is then the four functions of φ below."""

    @abc.abstractmethod
    def unit_value(self, z: Float[Array, "..."], y: Float[Array, "..."]) -> Float[Array, "..."]:
        """φ(z, y)."""

    @abc.abstractmethod
    def unit_gradient(self, z: Float[Array, "..."], y: Float[Array, "..."]) -> Float[Array, "..."]:
        """∂φ/∂z."""

    @abc.abstractmethod
    def unit_curvature(self, z: Float[Array, "..."], y: Float[Array, "..."]) -> Float[Array, "..."]:
        """∂²φ/∂z²; at a kink of the gradient, one of its sides."""

    @abc.abstractmethod
    def unit_curvature_bound(self) -> Float[Array, ""] | float:
        """sup over z and y of ∂²φ/∂z²."""

    @abc.abstractmethod
    def unit_fenchel_gap(
        self, z: Float[Array, "..."], c: Float[Array, "..."], y: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        """φ(z) + φ*(c) − z·c ≥ 0, +inf for c outside the domain of φ*."""

    def value(self, z: Float[Array, "n ..."], y: Float[Array, "n ..."]) -> Float[Array, ""]:
        return jnp.sum(self._row_factors(y) * self.unit_value(z, y))

    def gradient(self, z: Float[Array, "n ..."], y: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        return self._row_factors(y) * self.unit_gradient(z, y)

    def curvature(
        self, z: Float[Array, "n ..."], y: Float[Array, "n ..."]
    ) -> Float[Array, "n ..."]:
        return self._row_factors(y) * self.unit_curvature(z, y)

    def curvature_bound(self, y: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        factors = self._row_factors(y)
        bound = jnp.where(factors > 0, factors * self.unit_curvature_bound(), 0.0)
        return jnp.broadcast_to(bound, y.shape)

    def fenchel_gap(
        self, z: Float[Array, "n ..."], u: Float[Array, "n ..."], y: Float[Array, "n ..."]
    ) -> Float[Array, ""]:
        factors = self._row_factors(y)
        used = factors > 0
        c = u / jnp.where(used, factors, 1.0)
        terms = jnp.where(used, factors * self.unit_fenchel_gap(z, c, y), 0.0)
        # A sample of weight zero cannot carry a dual variable.
        return jnp.where(jnp.any(~used & (u != 0)), jnp.inf, jnp.sum(terms))

    def _row_factors(self, y: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        """The sample weights, shaped to multiply targets."""
        weights = self.row_weights(y)
        return weights.reshape(weights.shape + (1,) * (y.ndim - 1))


class AbstractQuadraticLoss(AbstractPointwiseLoss):
    """A loss of constant curvature: f(z) = Σ_i h_i (y_i − z_i)²/2."""

    def unit_value(self, z: Float[Array, "..."], y: Float[Array, "..."]) -> Float[Array, "..."]:
        return (y - z) ** 2 / 2

    def unit_gradient(self, z: Float[Array, "..."], y: Float[Array, "..."]) -> Float[Array, "..."]:
        return z - y

    def unit_curvature(self, z: Float[Array, "..."], y: Float[Array, "..."]) -> Float[Array, "..."]:
        return jnp.ones_like(z)

    def unit_curvature_bound(self) -> float:
        return 1.0

    def unit_fenchel_gap(
        self, z: Float[Array, "..."], c: Float[Array, "..."], y: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        return (c - (z - y)) ** 2 / 2

    def gram(
        self, rows: Float[Array, "k n"], columns: Float[Array, "m n"], y: Float[Array, "n ..."]
    ) -> Float[Array, "k m"]:
        """rows · diag(h) · columnsᵀ."""
        return (rows * self.row_weights(y)) @ columns.T
