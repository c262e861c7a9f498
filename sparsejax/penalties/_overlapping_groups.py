"""Groups of coefficients that may overlap."""

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from .._arrays import as_inexact
from .._checks import check_length, check_nonnegative, is_nonnegative
from ..designs import Sparse
from ._analysis import Analysis


class OverlappingGroups(Analysis):
    """strength · Σ_g weights_g ‖w_g‖₂ over groups g of coefficients that may overlap.

    Parameters
    ----------
    strength
        Scalar ≥ 0.
    groups
        Vectors of integers, each the features of a group. A feature may be in several of them, or
        in none: then it is unpenalised.
    weights
        (G,) finite factors ≥ 0, √|g| by default. Zero: unpenalised.
    num_features
        How many features there are; by default up to the largest named.

    Raises
    ------
    ValueError
        If ``strength`` or a weight is negative, NaN or infinite; if a group is empty, names a
        feature twice or one that there is not; if there are more features than ``num_features``.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> penalty = sj.penalties.OverlappingGroups(1.0, [[0, 1], [1, 2]], weights=[1.0, 2.0])
    >>> float(penalty.value(jnp.array([3.0, 4.0, 3.0])))
    15.0

    Notes
    -----
    An ``Analysis`` penalty whose operator stacks the groups, so that ``PrimalDual`` solves it and
    the zeros of a solution are zero but for its tolerance. Solutions vanish on unions of groups
    (Jenatton, Audibert & Bach, Structured variable selection with sparsity-inducing norms, 2011);
    for disjoint groups ``GroupL2`` is the same and faster.
    """

    operator: Sparse

    def __init__(
        self,
        strength: Any,
        groups: Sequence[Any],
        weights: Any = None,
        num_features: int | None = None,
    ) -> None:
        members = [np.asarray(group) for group in groups]
        sizes = [group.size for group in members]
        if not all(_is_group(group) for group in members) or not members:
            raise ValueError(
                "`groups` must be vectors of integers, none empty, that name features once each."
            )
        named, labels = np.concatenate(members), np.repeat(np.arange(len(members)), sizes)
        last = int(named.max())
        num_features = last + 1 if num_features is None else num_features
        if named.min() < 0 or last >= num_features:
            raise ValueError(
                f"`groups` must name features from 0 to {num_features - 1}; "
                f"got {named.min()} to {last}."
            )
        factors = as_inexact(
            [math.sqrt(size) for size in sizes] if weights is None else weights, "weights"
        )
        check_nonnegative("weights", factors, ndim=1, finite=True)
        check_length("weights", factors, len(members))
        order = np.argsort(named, kind="stable")
        rows, columns = (jnp.asarray(x, jnp.int32) for x in (order, named[order]))
        operator = Sparse(factors[labels[order]], rows, columns, (named.size, num_features))
        super().__init__(strength, operator, labels)

    def check(self, num_features: int) -> None:
        if self.operator.shape[1] != num_features:
            raise ValueError(
                f"`num_features` must be {num_features}, as many as there are; "
                f"got {self.operator.shape[1]}."
            )

    def is_valid(self) -> Bool[Array, ""]:
        weights = self.operator.data
        return super().is_valid() & jnp.all(is_nonnegative(weights) & jnp.isfinite(weights))


def _is_group(group: np.ndarray) -> bool:
    whole = group.ndim == 1 and np.issubdtype(group.dtype, np.integer)
    return whole and 0 < group.size == np.unique(group).size
