"""Concave functions of the length of each group of coefficients."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ._base import AbstractPenalty
from ._concave import AbstractConcavePenalty
from ._group_l2 import GroupL2
from ._of_sizes import AbstractOfLengths
from ._weighted import Weighted, known_profile


class Grouped(AbstractOfLengths):
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

    def __init__(self, penalty: AbstractConcavePenalty, groups: Any, weights: Any = None) -> None:
        self.penalty = known_profile(penalty)
        self.norm = GroupL2(1.0, groups, weights)

    def check(self, num_features: int) -> None:
        self.norm.check(num_features)

    def is_valid(self) -> Bool[Array, ""]:
        return self.penalty.is_valid() & self.norm.is_valid()

    def lengths(self, w: Float[Array, " p"]) -> Float[Array, " g"]:
        return self.norm.lengths(w)

    def spread(self, x: Float[Array, " g"], like: Float[Array, " p"]) -> Float[Array, " p"]:
        del like
        return x[self.norm.groups]

    def steps(self, step: Any) -> Any:
        if not jnp.ndim(step):
            return step
        return jax.ops.segment_max(step, self.norm.groups, self.norm.num_groups)  # constant within

    def of_lengths(self) -> Weighted:
        return Weighted(self.penalty, self.norm.outer_slopes())

    def norm_of_slopes(self, slopes: Float[Array, " g"]) -> GroupL2:
        is_none = lambda leaf: leaf is None  # noqa: E731
        return eqx.tree_at(lambda norm: norm.weights, self.norm, slopes, is_leaf=is_none)

    def null_model(self) -> AbstractPenalty | None:
        return self.norm.null_model()
