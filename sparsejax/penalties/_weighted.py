"""Concave penalties with a factor for each feature."""

from typing import Any, Self

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._arrays import as_inexact
from .._checks import check_length, check_nonnegative, is_nonnegative
from ._base import AbstractPenalty
from ._concave import AbstractConcavePenalty
from ._groups import ratio, scaled
from ._l0 import L0
from ._l1 import L1


class Weighted(AbstractConcavePenalty):
    """Σ_j weights_j · h(|w_j|) for the h of a concave penalty.

    Parameters
    ----------
    penalty
        ``MCP``, ``SCAD``, ``CappedL1``, ``LogSum`` or ``Lq``. (Convex penalties have weights of
        their own.)
    weights
        (p,) factors ≥ 0. Zero leaves a feature unpenalised; an infinite one makes its coefficient
        exactly zero.

    Raises
    ------
    TypeError
        If the penalty is another.
    ValueError
        If a weight is negative or NaN, or their number is not that of the features.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> penalty = sj.penalties.Weighted(sj.penalties.MCP(1.0), [0.0, 1.0, jnp.inf])
    >>> penalty.prox(jnp.array([0.5, 0.5, 9.0]), 1.0).tolist()
    [0.5, 0.0, 0.0]
    """

    penalty: AbstractConcavePenalty
    weights: Float[Array, " p"]

    def __init__(self, penalty: AbstractConcavePenalty, weights: Any) -> None:
        self.penalty = known_profile(penalty)
        self.weights = as_inexact(weights, "weights")
        check_nonnegative("weights", self.weights, ndim=1, finite=False)

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

    def check(self, num_features: int) -> None:
        check_length("weights", self.weights, num_features)

    def is_valid(self) -> Bool[Array, ""]:
        return self.penalty.is_valid() & jnp.all(is_nonnegative(self.weights))

    def profile(self, size: Float[Array, "..."]) -> Float[Array, "..."]:
        return jnp.where(size == 0, 0.0, scaled(self.weights, self.penalty.profile(size)))

    def slope(self, w: Float[Array, "..."]) -> Float[Array, "..."]:
        slope = self.penalty.slope(w)
        steep = jnp.isinf(slope) & (self.weights == 0)
        return scaled(self.weights, jnp.where(steep, 0.0, slope))

    def prox(self, v: Float[Array, " p"], step: Any) -> Float[Array, " p"]:
        forbidden = jnp.isinf(self.weights)
        steps = step * jnp.where(forbidden, 1.0, self.weights)
        return jnp.where(forbidden, 0.0, self.penalty.prox(v, steps))

    def saturation(self, w: Float[Array, " p"], c: Float[Array, " p"]) -> Float[Array, " p"]:
        return ratio(jnp.abs(c), self.slope(jnp.zeros_like(c)))

    def is_free(self) -> Bool[Array, " p"]:
        return (self.weights == 0) | (self.strength == 0)

    def restrict(self, indices: Int[Array, " k"]) -> Self:
        return eqx.tree_at(lambda p: p.weights, self, self.weights[indices])

    def strength_max(self, c: Float[Array, " p"]) -> Float[Array, ""]:
        forces = jnp.abs(c) / jnp.where(self.weights > 0, self.weights, jnp.inf)
        return self.penalty.strength_max(forces)

    def null_model(self) -> AbstractPenalty:
        ones = jnp.ones_like(self.strength)
        return L1(ones, jnp.where(self.weights == 0, 0.0, jnp.inf))


def known_profile(penalty: Any) -> AbstractConcavePenalty:
    """The penalty, if it is one h that is the same for every size."""
    known = isinstance(penalty, AbstractConcavePenalty)
    if not known or isinstance(penalty, L0 | Weighted):
        name = type(penalty).__name__
        raise TypeError(f"`penalty` must be MCP, SCAD, CappedL1, LogSum or Lq; got {name}.")
    return penalty
