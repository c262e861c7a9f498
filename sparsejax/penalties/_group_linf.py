"""Sums of ℓ∞ norms over groups, and the ℓ∞ norm itself."""

import abc
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._arrays import as_inexact, inexact
from .._checks import check_length, check_nonnegative
from ._groups import (
    AbstractBlockPenalty,
    as_groups,
    check_groups,
    segment_maxima,
    segment_norms,
    segment_sums,
)
from ._thresholds import simplex_threshold


class AbstractLinf(AbstractBlockPenalty):
    """strength · Σ_g weights_g ‖w_g‖_∞; a subclass says which coefficients form a group."""

    @abc.abstractmethod
    def layout(self, num_features: int) -> tuple[Int[Array, " p"], int]:
        """The label of every feature, and the number of groups."""

    def norms(self, w: Float[Array, " p"]) -> Float[Array, " g"]:
        return segment_maxima(w, *self.layout(w.size))

    def dual_norms(self, c: Float[Array, " p"]) -> Float[Array, " g"]:
        return segment_sums(jnp.abs(c), *self.layout(c.size))

    def spread(self, x: Array, like: Float[Array, " p"]) -> Array:
        groups, num_groups = self.layout(like.size)
        return jnp.broadcast_to(x, (num_groups,))[groups]

    def prox(self, v: Float[Array, " p"], step: Any) -> Float[Array, " p"]:
        groups, num_groups = self.layout(v.size)
        threshold = jnp.broadcast_to(self.thresholds(step), (num_groups,))
        vanishes = jnp.isinf(threshold) | (self.dual_norms(v) <= threshold)
        radius = jnp.where(jnp.isinf(threshold), 0.0, threshold)
        top, active = simplex_threshold(jnp.abs(v), radius, groups, num_groups)
        top = jnp.where(vanishes & (threshold > 0), 0.0, top)[groups]
        # Everything at the top is there exactly: the subdifferential depends on who is.
        capped = (active | (jnp.abs(v) >= top)) & (threshold > 0)[groups]
        return jnp.where(capped, jnp.sign(v) * top, v)

    def subdiff_distance(
        self, w: Float[Array, " p"], grad: Float[Array, " p"]
    ) -> Float[Array, " p"]:
        """Every coefficient carries the Euclidean distance of its group."""
        groups, num_groups = self.layout(w.size)
        norms, slopes = self.norms(w), jnp.broadcast_to(self.slopes(), (num_groups,))
        resting = segment_norms(self.prox(-grad, 1.0), groups, num_groups)
        finite = jnp.where(jnp.isinf(slopes), 0.0, slopes)
        moving = segment_norms(self._excess(w, -grad, finite), groups, num_groups)
        moving = jnp.where(jnp.isinf(slopes), jnp.inf, moving)
        return jnp.where(norms == 0, resting, moving)[groups]

    def _excess(
        self, w: Float[Array, " p"], c: Float[Array, " p"], slopes: Float[Array, " g"]
    ) -> Float[Array, " p"]:
        """c less its projection on ∂g(w), the simplex on the largest coefficients of each group."""
        groups, num_groups = self.layout(w.size)
        top = jnp.abs(w) == self.norms(w)[groups]
        pull = jnp.where(top, jnp.sign(w) * c, -jnp.inf)
        threshold, _ = simplex_threshold(pull, slopes, groups, num_groups)
        return jnp.where(top, jnp.minimum(pull, threshold[groups]), c)

    def fenchel_gap(self, w: Float[Array, " p"], c: Float[Array, " p"]) -> Float[Array, ""]:
        norms = self.norms(w)
        slack = jnp.where(norms == 0, 0.0, norms * (self.slopes() - self.dual_norms(c)))
        terms = self.spread(norms, w) * jnp.abs(c) - w * c
        return jnp.where(self.in_domain(c), jnp.sum(slack) + jnp.sum(terms), jnp.inf)


class GroupLinf(AbstractLinf):
    """strength · Σ_g weights_g max_{j∈g} |w_j|.

    Parameters
    ----------
    strength
        Scalar ≥ 0.
    groups
        (p,) integer labels 0, …, G − 1, each in use; groups may be unequal and interleaved.
    weights
        (G,) factors ≥ 0, one by default. Zero: unpenalised; infinite: exactly zero group.

    Raises
    ------
    ValueError
        If ``strength`` or a weight is negative or NaN, or the labels have gaps or are traced.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> penalty = sj.penalties.GroupLinf(1.0, [0, 1, 0])
    >>> penalty.prox(jnp.array([3.0, 0.5, -2.5]), 1.0).tolist()
    [2.25, 0.0, -2.25]

    Notes
    -----
    Turlach, Venables & Wright (2005); Quattoni et al. (2009). The proximal operator is v less its
    projection on an ℓ1 ball (Moreau), by one sort for all groups (Duchi et al., 2008).
    """

    strength: Float[Array, ""]
    groups: Int[Array, " p"]
    weights: Float[Array, " g"] | None
    num_groups: int = eqx.field(static=True)

    def __init__(self, strength: Any, groups: Any, weights: Any = None) -> None:
        self.strength = as_inexact(strength, "strength")
        self.groups, self.num_groups, _ = as_groups(groups)
        self.weights = None if weights is None else as_inexact(weights, "weights")
        check_nonnegative("strength", self.strength, ndim=0, finite=True)
        if self.weights is not None:
            check_nonnegative("weights", self.weights, ndim=1, finite=False)
            check_length("weights", self.weights, self.num_groups)

    def check(self, num_features: int) -> None:
        check_groups(self.groups, num_features)

    def layout(self, num_features: int) -> tuple[Int[Array, " p"], int]:
        del num_features  # known from the labels
        return self.groups, self.num_groups


class Linf(AbstractLinf):
    """strength · max_j |w_j|.

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
    >>> sj.penalties.Linf(1.0).prox(jnp.array([3.0, 0.5, -2.5]), 1.0).tolist()
    [2.25, 0.5, -2.25]

    Notes
    -----
    The support is everything or nothing: coefficients are clipped, not selected.
    """

    strength: Float[Array, ""] = eqx.field(converter=inexact("strength"))

    @property
    def weights(self) -> None:
        """One group, of weight one."""
        return None

    def __check_init__(self) -> None:
        check_nonnegative("strength", self.strength, ndim=0, finite=True)

    def check(self, num_features: int) -> None:
        del num_features  # nothing here has one entry a feature

    def layout(self, num_features: int) -> tuple[Int[Array, " p"], int]:
        return jnp.zeros(num_features, jnp.int32), 1

    def support(self, w: Float[Array, " p"]) -> Bool[Array, " p"]:
        """All coefficients, or none where w = 0."""
        return jnp.broadcast_to(jnp.any(w != 0) | (self.strength == 0), w.shape)
