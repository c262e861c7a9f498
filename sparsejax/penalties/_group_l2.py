"""The group Lasso's penalty."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._arrays import as_inexact
from .._checks import check_nonnegative
from ._forms import GroupForm
from ._group_norm import AbstractGroupNorm, known_groups
from ._groups import ratio


class GroupL2(AbstractGroupNorm):
    """strength · Σ_g weights_g ‖w_g‖₂ over disjoint groups g of coefficients.

    Parameters
    ----------
    strength
        Scalar ≥ 0.
    groups
        (p,) integer labels 0, …, G − 1, in any order and of any sizes.
    weights
        (G,) factors ≥ 0, √|g| by default. Zero: unpenalised; infinite: exactly zero.

    Raises
    ------
    ValueError
        If ``strength`` or a weight is negative or NaN, or the labels have gaps or are traced.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> penalty = sj.penalties.GroupL2(1.0, [0, 0, 1], weights=[2.5, 1.0])
    >>> penalty.prox(jnp.array([3.0, 4.0, 0.5]), 1.0).tolist()
    [1.5, 2.0, 0.0]

    Notes
    -----
    Yuan & Lin (JRSS B 2006).
    """

    strength: Float[Array, ""]
    groups: Int[Array, " p"]
    weights: Float[Array, " g"] | None
    num_groups: int = eqx.field(static=True)
    largest: int = eqx.field(static=True)

    def __init__(self, strength: Any, groups: Any, weights: Any = None) -> None:
        self.strength = as_inexact(strength, "strength")
        check_nonnegative("strength", self.strength, ndim=0, finite=True)
        self.groups, self.weights, self.num_groups, self.largest = known_groups(groups, weights)

    def inner_slope(self) -> Float[Array, ""]:
        return jnp.zeros_like(self.strength)

    def outer_slopes(self) -> Float[Array, " g"]:
        return self.scaled_weights(self.strength)

    def variational_form(self, num_features: int) -> GroupForm:
        del num_features  # that of the labels
        return GroupForm(self.outer_slopes(), self.groups)

    def gauges(self, c: Float[Array, " p"]) -> Float[Array, " g"]:
        return ratio(self.lengths(c), self.outer_slopes())
