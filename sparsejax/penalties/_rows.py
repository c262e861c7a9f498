"""Concave functions of the length of each row of coefficients."""

from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._arrays import optional_inexact
from .._checks import check_length, check_nonnegative, is_nonnegative
from ._base import AbstractPenalty
from ._concave import AbstractConcavePenalty
from ._groups import row_norms
from ._of_sizes import AbstractOfLengths
from ._row_l2 import RowL2
from ._weighted import Weighted, known_profile


class Rows(AbstractOfLengths):
    """Σ_j weights_j · h(‖W_j‖₂) over the rows of W (p, tasks), for the h of a concave penalty.

    Parameters
    ----------
    penalty
        ``MCP``, ``SCAD``, ``CappedL1``, ``LogSum`` or ``Lq``.
    weights
        (p,) factors ≥ 0, one by default. Zero: unpenalised; infinite: exactly zero row.

    Raises
    ------
    TypeError
        If the penalty is another.
    ValueError
        If a weight is negative or NaN, or their number is not that of the features.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> penalty = sj.penalties.Rows(sj.penalties.MCP(1.0, 2.0))
    >>> penalty.prox(jnp.array([[3.0, 4.0], [0.3, 0.4]]), 1.0).tolist()
    [[3.0, 4.0], [0.0, 0.0]]

    Notes
    -----
    ``MultiStage`` relaxes it to ``RowL2``: Gong, Ye & Zhang, Multi-stage multi-task feature
    learning (JMLR 2013). A vector (p,) is one task, for which this is ``Weighted``.
    """

    penalty: AbstractConcavePenalty
    weights: Float[Array, " p"] | None

    takes_tasks: ClassVar[bool] = True

    def __init__(self, penalty: AbstractConcavePenalty, weights: Any = None) -> None:
        self.penalty = known_profile(penalty)
        self.weights = optional_inexact("weights")(weights)
        if self.weights is not None:
            check_nonnegative("weights", self.weights, ndim=1, finite=False)

    def check(self, num_features: int) -> None:
        if self.weights is not None:
            check_length("weights", self.weights, num_features)

    def is_valid(self) -> Bool[Array, ""]:
        valid = self.penalty.is_valid()
        return valid if self.weights is None else valid & jnp.all(is_nonnegative(self.weights))

    def lengths(self, w: Float[Array, "p *tasks"]) -> Float[Array, " p"]:
        return row_norms(w)

    def spread(self, x: Float[Array, " p"], like: Float[Array, "p *tasks"]) -> Array:
        return jnp.broadcast_to(x.reshape(-1, *(1,) * (like.ndim - 1)), like.shape)

    def steps(self, step: Any) -> Any:
        return step

    def of_lengths(self) -> AbstractConcavePenalty:
        return self.penalty if self.weights is None else Weighted(self.penalty, self.weights)

    def norm_of_slopes(self, slopes: Float[Array, " p"]) -> RowL2:
        return RowL2(jnp.ones((), slopes.dtype), slopes)

    def null_model(self) -> AbstractPenalty | None:
        return None if self.weights is None else RowL2(1.0, self.weights).null_model()
