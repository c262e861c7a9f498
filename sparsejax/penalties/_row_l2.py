"""Sums of the ℓ2 norms of rows: one set of features for all tasks."""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._arrays import inexact, optional_inexact
from .._checks import check_length, check_nonnegative
from ._base import AbstractVariationalPenalty
from ._forms import SlopeForm
from ._groups import AbstractBlockPenalty, ratio, row_norms


class RowL2(AbstractBlockPenalty, AbstractVariationalPenalty):
    """strength · Σ_j weights_j ‖W_j‖₂ over the rows of W (p, tasks).

    Parameters
    ----------
    strength
        Scalar ≥ 0.
    weights
        (p,) factors ≥ 0, one by default. Zero: unpenalised; infinite: exactly zero row.

    Raises
    ------
    ValueError
        If ``strength`` or a weight is negative or NaN, or the strength is not a scalar.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> penalty = sj.penalties.RowL2(2.5)
    >>> penalty.prox(jnp.array([[3.0, 4.0], [1.0, 1.0]]), 1.0).tolist()
    [[1.5, 2.0], [0.0, 0.0]]

    Notes
    -----
    The ℓ2,1 norm of the multi-task Lasso (Obozinski, Taskar & Jordan, 2010). A vector (p,) is one
    task, for which this is the ℓ1 norm.
    """

    strength: Float[Array, ""] = eqx.field(converter=inexact("strength"))
    weights: Float[Array, " p"] | None = eqx.field(
        default=None, converter=optional_inexact("weights")
    )

    takes_tasks: ClassVar[bool] = True

    def __check_init__(self) -> None:
        check_nonnegative("strength", self.strength, ndim=0, finite=True)
        if self.weights is not None:
            check_nonnegative("weights", self.weights, ndim=1, finite=False)

    def check(self, num_features: int) -> None:
        if self.weights is not None:
            check_length("weights", self.weights, num_features)

    def norms(self, w: Float[Array, "p *tasks"]) -> Float[Array, " p"]:
        return row_norms(w)

    def dual_norms(self, c: Float[Array, "p *tasks"]) -> Float[Array, " p"]:
        return self.norms(c)

    def spread(self, x: Array, like: Float[Array, "p *tasks"]) -> Array:
        rows = jnp.broadcast_to(x, like.shape[:1])
        return jnp.broadcast_to(rows.reshape(-1, *(1,) * (like.ndim - 1)), like.shape)

    def prox(self, v: Float[Array, "p *tasks"], step: Any) -> Float[Array, "p *tasks"]:
        norms, threshold = self.norms(v), self.thresholds(step)
        kept = norms > threshold
        safe = jnp.where(kept, norms, 1.0)
        factor = jnp.where(kept, (norms - jnp.where(kept, threshold, 0.0)) / safe, 0.0)
        return self.spread(jnp.where(threshold == 0, 1.0, factor), v) * v

    def local_gradient(self, w: Float[Array, "p *tasks"]) -> Float[Array, "p *tasks"]:
        """∇g on the rows that are not zero."""
        norms = self.norms(w)
        slopes = jnp.where(norms == 0, 0.0, self.slopes())
        rows = self.spread(ratio(slopes, norms), w)
        return jnp.where(w == 0, 0.0, rows * w)

    def subdiff_distance(
        self, w: Float[Array, "p *tasks"], grad: Float[Array, "p *tasks"]
    ) -> Float[Array, "p *tasks"]:
        """Every entry carries the Euclidean distance of its row."""
        norms, slopes = self.norms(w), self.slopes()
        resting = jnp.maximum(self.norms(grad) - slopes, 0.0)
        moving = self.norms(grad + self.local_gradient(w))
        return self.spread(jnp.where(norms == 0, resting, moving), w)

    def fenchel_gap(
        self, w: Float[Array, "p *tasks"], c: Float[Array, "p *tasks"]
    ) -> Float[Array, ""]:
        # ‖w‖‖c‖ − ⟨w, c⟩ is the square of a difference, which does not cancel.
        size, force = self.norms(w), self.norms(c)
        slack = jnp.where(size == 0, 0.0, size * (self.slopes() - force))
        turn = self.norms(self.spread(force, w) * w - self.spread(size, w) * c) ** 2
        product = 2 * size * force
        angle = jnp.where(product == 0, 0.0, turn / jnp.where(product == 0, 1.0, product))
        return jnp.where(self.in_domain(c), jnp.sum(slack) + jnp.sum(angle), jnp.inf)

    @property
    def groups_of_coordinates(self) -> None:
        return None  # a working set is one of rows

    def variational_form(self, num_features: int) -> SlopeForm:
        slopes = jnp.broadcast_to(self.slopes(), (num_features,))
        return SlopeForm(slopes, jnp.zeros_like(slopes))

    def restrict(self, indices: Int[Array, " k"]) -> "RowL2":
        return self if self.weights is None else RowL2(self.strength, self.weights[indices])

    def saturation(
        self, w: Float[Array, "p *tasks"], c: Float[Array, "p *tasks"]
    ) -> Float[Array, " p"]:
        return ratio(self.norms(c), self.slopes())

    def is_free(self) -> Bool[Array, ""] | Bool[Array, " p"]:
        return self.slopes() == 0
