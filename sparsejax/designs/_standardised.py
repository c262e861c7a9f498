"""Centred and scaled columns, never formed."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..losses import Squared
from ._base import AbstractDerivedDesign, AbstractDesign, GramRows, Moments, less
from ._convert import as_design


class Standardised(AbstractDerivedDesign):
    """(X − 1·meanᵀ) diag(1/scale), without densifying or copying X.

    Parameters
    ----------
    base
        The design X.
    mean, scale
        (p,) vectors; a scale of zero (a constant column) is read as one.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> X = sj.designs.standardise(jnp.array([[1.0, 5.0], [3.0, 5.0]]))
    >>> X.columns(jnp.arange(2)).tolist()  # one feature a row
    [[-1.0, 1.0], [0.0, 0.0]]
    """

    base: AbstractDesign
    mean: Float[Array, " p"]
    scale: Float[Array, " p"] | None = None

    def _divide(self, x: Float[Array, " p"]) -> Float[Array, " p"]:
        return x if self.scale is None else x / jnp.where(self.scale == 0, 1.0, self.scale)

    def matvec(self, w: Float[Array, " p"]) -> Float[Array, " n"]:
        scaled = self._divide(w)
        return self.base.matvec(scaled) - self.mean @ scaled

    def rmatvec(self, r: Float[Array, " n"]) -> Float[Array, " p"]:
        return self._divide(self.base.rmatvec(r) - self.mean * jnp.sum(r))

    def _of(
        self, indices: Int[Array, " k"]
    ) -> tuple[Float[Array, " k"], Float[Array, " k"] | float]:
        """Means and scales of some columns, 0 and 1 for padding."""
        mean = self.mean.at[indices].get(mode="fill", fill_value=0.0)
        if self.scale is None:
            return mean, 1.0
        scale = jnp.where(self.scale == 0, 1.0, self.scale)
        return mean, scale.at[indices].get(mode="fill", fill_value=1.0)

    def combine(self, indices: Int[Array, " k"], values: Float[Array, " k"]) -> Float[Array, " n"]:
        mean, scale = self._of(indices)
        scaled = values / scale
        return self.base.combine(indices, scaled) - mean @ scaled

    def columns(self, indices: Int[Array, " k"]) -> Float[Array, "k n"]:
        mean, scale = self._of(indices)
        return ((self.base.columns(indices) - mean[:, None]).T / scale).T

    def mean_and_variance(self, row_weights: Float[Array, " n"]) -> Moments:
        mean, *squares = self.base.mean_and_variance(row_weights)
        variance, rounding = (self._divide(self._divide(x)) for x in squares)
        return self._divide(mean - self.mean), variance, rounding

    @property
    def gram_from(self) -> float:
        return self.base.gram_from

    def gram_rows(self, indices: Int[Array, " k"], row_weights: Float[Array, " n"]) -> GramRows:
        mean, scale = self._of(indices)
        total = self.base.rmatvec(row_weights).at[indices].get(mode="fill", fill_value=0.0)
        cross = total - jnp.sum(row_weights) * mean / 2
        rows = less(self.base.gram_rows(indices, row_weights), mean[:, None], cross[:, None])
        if self.scale is None:
            return rows
        return lambda at: rows(at) / scale / jnp.atleast_1d(scale)[at, None]

    def square_norms(self, row_weights: Float[Array, " n"]) -> Float[Array, " p"]:
        cross = self.base.rmatvec(row_weights)
        total = jnp.sum(row_weights)
        squares = self.base.square_norms(row_weights)
        centred = squares - 2 * self.mean * cross + total * self.mean**2
        return self._divide(self._divide(jnp.maximum(centred, 0.0)))


def standardise(
    X: Any,
    centre: bool = True,
    scale: bool = True,
    sample_weight: Float[Array, " n"] | None = None,
) -> Standardised:
    """X with columns of mean zero and standard deviation one, as a lazy design.

    Parameters
    ----------
    X
        Anything that ``sparsejax.Problem`` takes as a design.
    centre, scale
        Which of the two to do; the standard deviation is about the mean either way.
    sample_weight
        (n,) weights of the mean and the standard deviation.

    Returns
    -------
    Standardised
        A sparse or matrix-free X stays so.
    """
    base = as_design(X)
    n = base.shape[0]
    loss = Squared(sample_weight)
    samples = jnp.zeros(n, base.dtype)
    loss.check(samples)
    weights = loss.row_weights(samples).astype(base.dtype)
    mean, variance, rounding = base.mean_and_variance(weights)
    # A constant column is known by a variance that is nothing but rounding.
    deviation = jnp.where(variance > rounding, jnp.sqrt(variance), 0.0)
    return Standardised(
        base, mean if centre else jnp.zeros_like(mean), deviation if scale else None
    )
