"""Concave functions of the length of each group of coefficients."""

from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ._base import AbstractPenalty, AbstractRelaxablePenalty, AbstractStrengthPenalty
from ._concave import AbstractConcavePenalty
from ._group_l2 import GroupL2
from ._groups import ratio
from ._weighted import Weighted


class Grouped(AbstractStrengthPenalty, AbstractRelaxablePenalty):
    """Σ_g weights_g · h(‖w_g‖₂) over disjoint groups g, for the h of a concave penalty.

    With ``MCP`` and ``SCAD`` the group MCP and the group SCAD.

    Parameters
    ----------
    penalty
        ``MCP``, ``SCAD``, ``CappedL1``, ``LogSum`` or ``Lq``.
    groups
        (p,) integer labels 0, …, G − 1, in any order and of any sizes.
    weights
        (G,) factors ≥ 0, √|g| by default. Zero: unpenalised; infinite: exactly zero.

    Raises
    ------
    TypeError
        If the penalty is another.
    ValueError
        If a weight is negative or NaN, or the labels have gaps or are traced.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> penalty = sj.penalties.Grouped(sj.penalties.MCP(1.0, 2.0), [0, 0, 1], [2.0, 1.0])
    >>> penalty.prox(jnp.array([3.0, 4.0, 0.5]), 1.0).tolist()
    [3.0, 4.0, 0.0]

    Notes
    -----
    Breheny & Huang, Group descent algorithms for nonconvex penalized models (Statistics and
    Computing, 2015); there the weight multiplies the strength, not h.
    """

    penalty: AbstractConcavePenalty
    norm: GroupL2  # of strength one: the labels and the weights

    is_convex: ClassVar[bool] = False

    def __init__(self, penalty: AbstractConcavePenalty, groups: Any, weights: Any = None) -> None:
        self.norm = GroupL2(1.0, groups, weights)
        self.penalty = Weighted(penalty, self.norm.outer_slopes()).penalty

    @property
    def strength(self) -> Float[Array, ""]:  # type: ignore[override]
        """That of the penalty."""
        return self.penalty.strength

    @property
    def steep(self) -> bool:  # type: ignore[override]
        """Whether the slope at zero is infinite."""
        return self.penalty.steep

    @property
    def _lengths(self) -> Weighted:
        """The penalty of the lengths."""
        return Weighted(self.penalty, self.norm.outer_slopes())

    def with_strength(self, strength: Float[Array, ""]) -> Self:
        return eqx.tree_at(lambda p: p.penalty, self, self.penalty.with_strength(strength))

    def check(self, num_features: int) -> None:
        self.norm.check(num_features)

    def is_valid(self) -> Bool[Array, ""]:
        return self.penalty.is_valid() & self.norm.is_valid()

    def value(self, w: Float[Array, " p"]) -> Float[Array, ""]:
        return self._lengths.value(self.norm.lengths(w))

    def prox(self, v: Float[Array, " p"], step: Any) -> Float[Array, " p"]:
        lengths = self.norm.lengths(v)
        if jnp.ndim(step):  # constant within a group
            step = jax.ops.segment_max(step, self.norm.groups, self.norm.num_groups)
        return v * ratio(self._lengths.prox(lengths, step), lengths)[self.norm.groups]

    def subdiff_distance(
        self, w: Float[Array, " p"], grad: Float[Array, " p"]
    ) -> Float[Array, " p"]:
        """Every coefficient carries the Euclidean distance of its group."""
        return self.touching(w).subdiff_distance(w, grad)

    def support(self, w: Float[Array, " p"]) -> Bool[Array, " p"]:
        return self.touching(w).support(w)

    def dual_scale(self, c: Float[Array, " p"]) -> Float[Array, ""]:
        return self._lengths.dual_scale(c)

    def fenchel_gap(self, w: Float[Array, " p"], c: Float[Array, " p"]) -> Float[Array, ""]:
        return jnp.where(jnp.any(c != 0), jnp.inf, self.value(w))

    def strength_max(self, c: Float[Array, " p"]) -> Float[Array, ""]:
        """As for ``GroupL2``; ``TypeError`` where the slope at zero is infinite."""
        return self._lengths.strength_max(self.norm.lengths(c))

    def null_model(self) -> AbstractPenalty | None:
        return self.norm.null_model()

    def touching(self, w: Float[Array, " p"]) -> GroupL2:
        slopes = self._lengths.slope(self.norm.lengths(w))
        return eqx.tree_at(
            lambda p: p.weights, self.norm, slopes, is_leaf=lambda leaf: leaf is None
        )
