"""The sparse group Lasso's penalty."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._arrays import as_inexact
from .._checks import check_interval, check_nonnegative
from ._forms import GroupForm, SlopeForm, SumForm
from ._group_norm import AbstractGroupNorm, known_groups


class SparseGroup(AbstractGroupNorm):
    """strength · (l1_ratio·‖w‖₁ + (1 − l1_ratio)·Σ_g weights_g ‖w_g‖₂): sparse within groups too.

    Parameters
    ----------
    strength
        Scalar ≥ 0.
    groups
        (p,) integer labels 0, …, G − 1, in any order and of any sizes.
    l1_ratio
        Scalar in [0, 1]; 1 is the Lasso, 0 the group Lasso.
    weights
        (G,) factors ≥ 0 of the group norms, √|g| by default; infinite: exactly zero.

    Raises
    ------
    ValueError
        If ``strength`` or a weight is negative or NaN, ``l1_ratio`` outside [0, 1], or the labels
        have gaps or are traced.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> penalty = sj.penalties.SparseGroup(2.0, [0, 0, 1], 0.5, weights=[2.5, 1.0])
    >>> penalty.prox(jnp.array([4.0, 5.0, 1.5]), 1.0).tolist()
    [1.5, 2.0, 0.0]

    Notes
    -----
    Simon, Friedman, Hastie & Tibshirani (JCGS 2013): the proximal operator is the group Lasso's
    after soft thresholding.
    """

    strength: Float[Array, ""]
    groups: Int[Array, " p"]
    l1_ratio: Float[Array, ""]
    weights: Float[Array, " g"] | None
    num_groups: int = eqx.field(static=True)
    largest: int = eqx.field(static=True)

    def __init__(self, strength: Any, groups: Any, l1_ratio: Any, weights: Any = None) -> None:
        self.strength = as_inexact(strength, "strength")
        check_nonnegative("strength", self.strength, ndim=0, finite=True)
        self.l1_ratio = as_inexact(l1_ratio, "l1_ratio")
        check_interval("l1_ratio", self.l1_ratio, 0.0, 1.0)
        self.groups, self.weights, self.num_groups, self.largest = known_groups(groups, weights)

    def is_valid(self) -> Bool[Array, ""]:
        return super().is_valid() & (self.l1_ratio >= 0) & (self.l1_ratio <= 1)

    def inner_slope(self) -> Float[Array, ""]:
        return self.strength * self.l1_ratio

    def outer_slopes(self) -> Float[Array, " g"]:
        return self.scaled_weights(self.strength * (1 - self.l1_ratio))

    def variational_form(self, num_features: int) -> SumForm:
        inner = jnp.full(num_features, self.inner_slope())
        of_features = SlopeForm(inner, jnp.zeros_like(inner))
        return SumForm(of_features, GroupForm(self.outer_slopes(), self.groups))
