"""What the group Lasso and the sparse group Lasso have in common."""

import abc
from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._arrays import as_inexact
from .._checks import check_length, check_nonnegative, is_nonnegative
from .._modules import replace
from ._base import AbstractNewtonPenalty, AbstractStrengthPenalty, AbstractVariationalPenalty
from ._block_matrix import BlockMatrix, Coupling, renumber
from ._groups import (
    as_groups,
    check_groups,
    ratio,
    scaled,
    segment_maxima,
    segment_norms,
    segment_sums,
    soft_threshold,
)


class AbstractGroupNorm(AbstractStrengthPenalty, AbstractNewtonPenalty, AbstractVariationalPenalty):
    """inner·‖w‖₁ + Σ_g outer_g ‖w_g‖₂: a subclass says what the two slopes are."""

    groups: eqx.AbstractVar[Int[Array, " p"]]
    weights: eqx.AbstractVar[Float[Array, " g"] | None]
    num_groups: eqx.AbstractVar[int]
    largest: eqx.AbstractVar[int]

    @abc.abstractmethod
    def inner_slope(self) -> Float[Array, ""]:
        """The slope of |w_j|."""

    @abc.abstractmethod
    def outer_slopes(self) -> Float[Array, " g"]:
        """The slopes of ‖w_g‖, infinite where a weight is."""

    def check(self, num_features: int) -> None:
        check_groups(self.groups, num_features)

    def is_valid(self) -> Bool[Array, ""]:
        valid = is_nonnegative(self.strength)
        return valid if self.weights is None else valid & jnp.all(is_nonnegative(self.weights))

    def scaled_weights(self, factor: Float[Array, ""]) -> Float[Array, " g"]:
        """factor · weights, √|g| by default; an infinite weight stays infinite at zero."""
        if self.weights is None:
            return factor * jnp.sqrt(self._sums(jnp.ones(self.groups.shape, factor.dtype)))
        return scaled(self.weights, factor)

    @property
    def groups_of_coordinates(self) -> tuple[Int[Array, " p"], int, int]:
        return self.groups, self.num_groups, self.largest

    def lengths(self, w: Float[Array, " p"]) -> Float[Array, " g"]:
        """‖w_g‖ for every group."""
        return segment_norms(w, self.groups, self.num_groups)

    def _unit(self, w: Float[Array, " p"]) -> Float[Array, " p"]:
        """w_g/‖w_g‖, zero for a group at zero."""
        norms = self.lengths(w)[self.groups]
        return w / jnp.where(norms > 0, norms, 1.0)

    def value(self, w: Float[Array, " p"]) -> Float[Array, ""]:
        norms = self.lengths(w)
        outer = jnp.sum(jnp.where(norms == 0, 0.0, self.outer_slopes() * norms))
        return self.inner_slope() * jnp.sum(jnp.abs(w)) + outer

    def _shrink(self, v: Float[Array, " p"], step: Any) -> tuple[Array, Array, Array]:
        """v after soft thresholding, the length of every group then, and what is left of it."""
        soft = soft_threshold(v, step * self.inner_slope())
        norms = self.lengths(soft)
        if jnp.ndim(step):
            step = jax.ops.segment_max(step, self.groups, self.num_groups)  # constant within one
        # An infinite weight is infinite at any step, and an unpenalised group stays as it is.
        return soft, norms, shrunk(norms, scaled(self.outer_slopes(), step))

    def prox(self, v: Float[Array, " p"], step: Any) -> Float[Array, " p"]:
        soft, _, left = self._shrink(v, step)
        return soft * left[self.groups]

    def prox_root(self, v: Float[Array, " p"], step: Any) -> BlockMatrix:
        soft, norms, left = self._shrink(v, step)
        across = jnp.sqrt(left)[self.groups]
        moving = (soft != 0) | (self.inner_slope() == 0)
        direction = jnp.where(across > 0, ratio(soft, norms[self.groups]), 0.0)
        coupling = Coupling(1 - across, direction, self.groups)
        return BlockMatrix(jnp.where(moving, across, 0.0), coupling)

    def local_gradient(self, w: Float[Array, " p"]) -> Float[Array, " p"]:
        slopes = jnp.where(self.lengths(w) > 0, self.outer_slopes(), 0.0)
        return self.inner_slope() * jnp.sign(w) + slopes[self.groups] * self._unit(w)

    def hessian(self, w: Float[Array, " p"]) -> BlockMatrix:
        norms = self.lengths(w)
        slopes = jnp.where(norms > 0, self.outer_slopes(), 0.0)
        curvature = ratio(slopes, norms)[self.groups]
        return BlockMatrix(curvature, Coupling(-curvature, self._unit(w), self.groups))

    def subdiff_distance(
        self, w: Float[Array, " p"], grad: Float[Array, " p"]
    ) -> Float[Array, " p"]:
        """Every coefficient carries the Euclidean distance of its group."""
        inner, outer, norms = self.inner_slope(), self.outer_slopes(), self.lengths(w)
        resting = self.lengths(soft_threshold(-grad, inner))
        resting = jnp.where(resting > outer, resting - outer, 0.0)
        at_zero = jnp.maximum(jnp.abs(grad) - inner, 0.0)
        moving = self.lengths(jnp.where(w == 0, at_zero, grad + self.local_gradient(w)))
        return jnp.where(norms == 0, resting, moving)[self.groups]

    def support(self, w: Float[Array, " p"]) -> Bool[Array, " p"]:
        """Non-zero coefficients; with no ℓ1 part, all of a group that is not zero."""
        smooth = (self.lengths(w) > 0) | (self.outer_slopes() == 0)
        return smooth[self.groups] & ((w != 0) | (self.inner_slope() == 0))

    def saturation(self, w: Float[Array, " p"], c: Float[Array, " p"]) -> Float[Array, " p"]:
        inner, outer = self.inner_slope(), self.outer_slopes()
        group = ratio(self.lengths(soft_threshold(c, inner)) + inner, outer + inner)[self.groups]
        return jnp.where(self.lengths(w)[self.groups] > 0, ratio(jnp.abs(c), inner), group)

    def is_free(self) -> Bool[Array, " p"]:
        return (self.outer_slopes() == 0)[self.groups] & (self.inner_slope() == 0)

    def gauges(self, c: Float[Array, " p"]) -> Float[Array, " g"]:
        """The smallest t for which c_g lies in t times the domain of g*, for every group.

        ‖soft(c_g, t·inner)‖ − t·outer_g is convex and decreasing in t: Newton's method from the
        left never overshoots, and ends at the last digit within a few steps.
        """
        inner, outer = self.inner_slope(), self.outer_slopes()
        curved = (outer > 0) & jnp.isfinite(outer)
        gauges = _gauges(c, inner, jnp.where(curved, outer, 1.0), self.groups)
        largest = segment_maxima(c, self.groups, self.num_groups)
        endless = jnp.where(largest > 0, jnp.inf, 0.0)  # whatever t is
        straight = jnp.where(inner > 0, largest / jnp.where(inner > 0, inner, 1.0), endless)
        return jnp.where(jnp.isinf(outer), 0.0, jnp.where(curved, gauges, straight))

    def dual_scale(self, c: Float[Array, " p"]) -> Float[Array, ""]:
        return 1.0 / jnp.maximum(1.0, jnp.max(self.gauges(c)))

    def fenchel_gap(self, w: Float[Array, " p"], c: Float[Array, " p"]) -> Float[Array, ""]:
        inner, outer, norms = self.inner_slope(), self.outer_slopes(), self.lengths(w)
        soft = soft_threshold(c, inner)
        # Rounding of one sum a group.
        slack = 1 + (4 + self.largest) * jnp.finfo(c.dtype).eps
        rounding = slack * outer + (slack - 1) * inner
        inside = jnp.all(self.lengths(soft) <= rounding)
        # Σ_g ‖w_g‖(outer_g − ŵ_gᵀsoft(c)_g) + Σ_j |w_j|·inner − w_j·clip(c_j): none is negative.
        slopes = jnp.where(norms > 0, outer, 0.0)
        groups = norms * (slopes - self._sums(self._unit(w) * soft))
        single = inner * jnp.abs(w) - w * (c - soft)
        return jnp.where(inside, jnp.sum(groups) + jnp.sum(single), jnp.inf)

    def strength_max(self, c: Float[Array, " p"]) -> Float[Array, ""]:
        unit = self.with_strength(jnp.ones_like(self.strength))
        return jnp.max(jnp.where(unit.is_free(), 0.0, unit.gauges(c)[self.groups]))

    def null_model(self) -> Self | None:
        if self.weights is None:
            return None
        unit = self.with_strength(jnp.ones_like(self.strength))
        free = (unit.outer_slopes() == 0) & (unit.inner_slope() == 0)
        weights = jnp.where(free, 0.0, jnp.inf).astype(self.weights.dtype)
        return eqx.tree_at(lambda penalty: penalty.weights, unit, weights)

    def max_support(self, num_samples: int, num_features: int) -> int:
        return min(num_samples * self.largest, num_features)

    def restrict(self, indices: Int[Array, " k"]) -> Self:
        labels = self.groups.at[indices].get(mode="fill", fill_value=self.num_groups)
        local = renumber(labels, self.num_groups + 1)
        size = indices.shape[0]
        # Those of the whole groups, even if only some of their coordinates are wanted.
        given = self.scaled_weights(jnp.ones_like(self.strength))
        given = given.at[labels].get(mode="fill", fill_value=1.0)
        weights = jnp.ones(size, given.dtype).at[local].set(given)
        return replace(self, groups=local, weights=weights, num_groups=size)

    def _sums(self, x: Float[Array, " p"]) -> Float[Array, " g"]:
        return segment_sums(x, self.groups, self.num_groups)


def shrunk(norms: Float[Array, " g"], threshold: Float[Array, " g"]) -> Float[Array, " g"]:
    """What is left of vectors of these lengths, less the threshold; all of it if that is zero."""
    beyond = norms > threshold
    left = jnp.where(beyond, 1 - ratio(jnp.where(beyond, threshold, 0.0), norms), 0.0)
    return jnp.where(threshold == 0, 1.0, left)


def known_groups(groups: Any, weights: Any) -> tuple[Array, Array | None, int, int]:
    """Checked labels and weights, the number of groups and the size of the largest."""
    labels, num_groups, largest = as_groups(groups)
    if weights is not None:
        weights = as_inexact(weights, "weights")
        check_nonnegative("weights", weights, ndim=1, finite=False)
        check_length("weights", weights, num_groups)
    return labels, weights, num_groups, largest


@jax.jit
def _gauges(
    c: Float[Array, " p"],
    inner: Float[Array, ""],
    outer: Float[Array, " g"],
    groups: Int[Array, " p"],
) -> Float[Array, " g"]:
    """The root t_g of ‖soft(c_g, t·inner)‖ = t·outer_g for every group of outer_g > 0."""

    def newton(t: Array, c: Array, inner: Array, outer: Array) -> tuple[Array, Array]:
        soft = soft_threshold(c, inner * t[groups])
        norms = segment_norms(soft, groups, outer.size)
        slope = outer + inner * ratio(segment_sums(jnp.abs(soft), groups, outer.size), norms)
        return norms - t * outer, slope

    constants = jax.lax.stop_gradient((c, inner, outer))

    def step(state: tuple[Array, Array]) -> tuple[Array, Array]:
        t, _ = state
        new = t + jnp.maximum(ratio(*newton(t, *constants)), 0.0)
        # Written so that NaN ends the loop.
        return new, jnp.any(new > t * (1 + jnp.finfo(c.dtype).eps))

    start = (jnp.zeros_like(constants[2]), jnp.array(True))
    root, _ = jax.lax.while_loop(lambda state: state[1], step, start)
    # One step more is the derivative of the root, by the implicit function theorem.
    residual, slope = newton(root, c, inner, outer)
    change = residual - jax.lax.stop_gradient(residual)
    return root + change / jax.lax.stop_gradient(slope)
