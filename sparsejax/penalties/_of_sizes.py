"""Concave functions of sizes: of lengths of blocks, of singular values."""

import abc
from typing import Any, ClassVar, Self

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ._base import AbstractPenalty, AbstractRelaxablePenalty, AbstractStrengthPenalty
from ._concave import AbstractConcavePenalty
from ._groups import ratio


class AbstractOfSizes(AbstractStrengthPenalty, AbstractRelaxablePenalty):
    """The strength and the slope at zero of the concave penalty that the sizes have."""

    penalty: eqx.AbstractVar[AbstractConcavePenalty]

    is_convex: ClassVar[bool] = False

    @property
    def strength(self) -> Float[Array, ""]:  # type: ignore[override]
        """That of the penalty."""
        return self.penalty.strength

    @property
    def steep(self) -> bool:  # type: ignore[override]
        """Whether the slope at zero is infinite."""
        return self.penalty.steep

    def with_strength(self, strength: Float[Array, ""]) -> Self:
        return eqx.tree_at(lambda p: p.penalty, self, self.penalty.with_strength(strength))


class AbstractOfLengths(AbstractOfSizes):
    """Σ_b weights_b · h(‖w_b‖₂) over disjoint blocks b: a subclass says what the blocks are."""

    @abc.abstractmethod
    def lengths(self, w: Float[Array, "p *tasks"]) -> Float[Array, " b"]:
        """‖w_b‖₂ for every block."""

    @abc.abstractmethod
    def spread(self, x: Float[Array, " b"], like: Float[Array, "p *tasks"]) -> Array:
        """One number a block as an array of the shape of ``like``."""

    @abc.abstractmethod
    def steps(self, step: Any) -> Any:
        """One step a block for one a coordinate, or for one number."""

    @abc.abstractmethod
    def of_lengths(self) -> AbstractConcavePenalty:
        """The penalty of the lengths, weights included."""

    @abc.abstractmethod
    def norm_of_slopes(self, slopes: Float[Array, " b"]) -> AbstractPenalty:
        """Σ_b slopes_b ‖w_b‖₂."""

    def touching(self, w: Float[Array, "p *tasks"]) -> AbstractPenalty:
        return self.norm_of_slopes(self.of_lengths().slope(self.lengths(w)))

    def value(self, w: Float[Array, "p *tasks"]) -> Float[Array, ""]:
        return self.of_lengths().value(self.lengths(w))

    def prox(self, v: Float[Array, "p *tasks"], step: Any) -> Float[Array, "p *tasks"]:
        lengths = self.lengths(v)
        shrunk = self.of_lengths().prox(lengths, self.steps(step))
        return v * self.spread(ratio(shrunk, lengths), v)

    def subdiff_distance(
        self, w: Float[Array, "p *tasks"], grad: Float[Array, "p *tasks"]
    ) -> Float[Array, "p *tasks"]:
        """Every coefficient carries the Euclidean distance of its block."""
        return self.touching(w).subdiff_distance(w, grad)

    def support(self, w: Float[Array, "p *tasks"]) -> Bool[Array, "p *tasks"]:
        return self.touching(w).support(w)

    def dual_scale(self, c: Float[Array, "p *tasks"]) -> Float[Array, ""]:
        return self.of_lengths().dual_scale(c)

    def fenchel_gap(
        self, w: Float[Array, "p *tasks"], c: Float[Array, "p *tasks"]
    ) -> Float[Array, ""]:
        return jnp.where(jnp.any(c != 0), jnp.inf, self.value(w))

    def strength_max(self, c: Float[Array, "p *tasks"]) -> Float[Array, ""]:
        """As for the sum of norms; ``TypeError`` where the slope at zero is infinite."""
        return self.of_lengths().strength_max(self.lengths(c))
