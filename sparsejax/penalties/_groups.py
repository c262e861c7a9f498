"""Groups of coefficients: labels, sums and norms over them, and norms of blocks in general."""

import abc
from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int

from .._checks import is_nonnegative
from ._base import AbstractStrengthPenalty


def as_groups(groups: Any) -> tuple[Int[Array, " p"], int, int]:
    """The labels as an array, how many groups they name, and the size of the largest.

    The number of groups is the shape of what comes later, so the labels must be known when the
    penalty is made; afterwards they may be traced like any other leaf.
    """
    if isinstance(groups, Tracer):
        raise ValueError("`groups` must be concrete numbers; make the penalty outside of jit.")
    labels = np.asarray(groups)
    if labels.ndim != 1 or labels.size == 0 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            "`groups` must be a vector of integer labels, one a feature; got shape "
            f"{labels.shape} of {labels.dtype}."
        )
    # Without sorting, which takes as long as a pass over X.
    first, last = int(labels.min()), int(labels.max())
    sizes = np.bincount(labels) if first == 0 and last < labels.size else np.zeros(1, int)
    if not sizes.all():
        present = np.unique(labels)
        raise ValueError(
            "`groups` must use every label from 0 to the number of groups less one; got "
            f"{present.size} labels from {present[0]} to {present[-1]}."
        )
    # Converted by NumPy: a call of JAX would take as long as all of the above.
    return jnp.asarray(labels.astype(np.int32)), sizes.size, int(sizes.max())


def check_groups(groups: Int[Array, " p"], num_features: int) -> None:
    """Raise unless there is one label a feature."""
    if groups.shape != (num_features,):
        raise ValueError(f"`groups` must have shape ({num_features},); got {groups.shape}.")


def segment_sums(x: Float[Array, " p"], groups: Int[Array, " p"], num_groups: int) -> Array:
    """Σ_{j∈g} x_j for every group."""
    return jax.ops.segment_sum(x, groups, num_groups)


def segment_norms(x: Float[Array, " p"], groups: Int[Array, " p"], num_groups: int) -> Array:
    """‖x_g‖₂ for every group, with derivative zero where it is zero."""
    return root(segment_sums(x**2, groups, num_groups))


def segment_maxima(x: Float[Array, " p"], groups: Int[Array, " p"], num_groups: int) -> Array:
    """max_{j∈g} |x_j| for every group."""
    return jax.ops.segment_max(jnp.abs(x), groups, num_groups)


def segment_means(x: Float[Array, " p"], groups: Int[Array, " p"], num_groups: int) -> Array:
    """The mean over its group for every entry of x."""
    count = segment_sums(jnp.ones_like(x), groups, num_groups)
    return (segment_sums(x, groups, num_groups) / jnp.maximum(count, 1))[groups]


def root(squares: Float[Array, "..."]) -> Float[Array, "..."]:
    """√squares, with derivative zero instead of NaN where it is zero."""
    positive = squares > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, squares, 1.0)), 0.0)


def row_norms(w: Float[Array, "p *tasks"]) -> Float[Array, " p"]:
    """‖w_j‖ for every row, |w_j| where it is one number; with derivative zero where it is zero."""
    return jnp.abs(w) if w.ndim == 1 else root(jnp.sum(w**2, axis=1))


def soft_threshold(v: Float[Array, "..."], threshold: Any) -> Float[Array, "..."]:
    """v, nearer to zero by the threshold."""
    return jnp.sign(v) * jnp.maximum(jnp.abs(v) - threshold, 0.0)


def ratio(numerator: Float[Array, "..."], denominator: Float[Array, "..."]) -> Float[Array, "..."]:
    """numerator/denominator where 0/0 = 0: no force strains no constraint."""
    zero = numerator == 0
    return jnp.where(zero, 0.0, numerator / jnp.where(zero, 1.0, denominator))


def scaled(x: Float[Array, "..."], factor: Any) -> Float[Array, "..."]:
    """factor·x, infinite where x is; the factor's derivative is finite (0·∞ in reverse is NaN)."""
    infinite = jnp.isinf(x)
    return jnp.where(infinite, jnp.inf, factor * jnp.where(infinite, 0.0, x))


class AbstractBlockPenalty(AbstractStrengthPenalty):
    """strength · Σ_b weights_b ‖w_b‖ over disjoint blocks b of the coefficients.

    A subclass says what the blocks and the norm are, and where that norm is not smooth.
    """

    weights: eqx.AbstractVar[Float[Array, " b"] | None]

    @abc.abstractmethod
    def norms(self, w: Float[Array, "p *tasks"]) -> Float[Array, " b"]:
        """‖w_b‖ for every block."""

    @abc.abstractmethod
    def dual_norms(self, c: Float[Array, "p *tasks"]) -> Float[Array, " b"]:
        """The dual norm of c_b for every block."""

    @abc.abstractmethod
    def spread(self, x: Array, like: Float[Array, "p *tasks"]) -> Array:
        """One number a block as an array of the shape of ``like``."""

    def slopes(self) -> Float[Array, " b"] | Float[Array, ""]:
        """strength · weights; an infinite weight stays infinite at strength zero."""
        if self.weights is None:
            return self.strength
        return scaled(self.weights, self.strength)

    def thresholds(self, step: Any) -> Float[Array, " b"] | Float[Array, ""]:
        """step · slopes: what the proximal operator takes from each block."""
        return scaled(self.slopes(), step)

    def is_valid(self) -> Bool[Array, ""]:
        valid = is_nonnegative(self.strength)
        return valid if self.weights is None else valid & jnp.all(is_nonnegative(self.weights))

    def value(self, w: Float[Array, "p *tasks"]) -> Float[Array, ""]:
        norms = self.norms(w)
        return jnp.sum(jnp.where(norms == 0, 0.0, self.slopes() * norms))

    def support(self, w: Float[Array, "p *tasks"]) -> Bool[Array, "p *tasks"]:
        """The blocks that are not zero, and those without a penalty."""
        return self.spread((self.norms(w) != 0) | (self.slopes() == 0), w)

    def dual_scale(self, c: Float[Array, "p *tasks"]) -> Float[Array, ""]:
        return 1.0 / jnp.maximum(1.0, jnp.max(ratio(self.dual_norms(c), self.slopes())))

    def in_domain(self, c: Float[Array, "p *tasks"]) -> Bool[Array, ""]:
        """Whether g*(c) is finite, but for the rounding of one sum a block."""
        slack = 1 + (4 + c.size) * jnp.finfo(c.dtype).eps
        return jnp.all(ratio(self.dual_norms(c), self.slopes()) <= slack)

    def strength_max(self, c: Float[Array, "p *tasks"]) -> Float[Array, ""]:
        norms = self.dual_norms(c)
        if self.weights is None:
            return jnp.max(norms, initial=0.0)
        positive = self.weights > 0
        scaled = norms / jnp.where(positive, self.weights, 1.0)
        return jnp.max(jnp.where(positive, scaled, 0.0), initial=0.0)

    def null_model(self) -> Self | None:
        if self.weights is None:
            return None
        unpenalised = jnp.where(self.weights == 0, 0.0, jnp.inf).astype(self.weights.dtype)
        return eqx.tree_at(
            lambda penalty: (penalty.strength, penalty.weights),
            self,
            (jnp.ones_like(self.strength), unpenalised),
        )
