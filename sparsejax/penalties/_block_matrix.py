"""Symmetric matrices that couple the coefficients of a group and nothing else."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


class BlockMatrix(eqx.Module):
    """diag(diagonal) + Σ_b factor_b x_b x_bᵀ over disjoint groups b; diagonal without labels.

    The derivatives of proximal operators, their square roots and the Hessians of penalties on
    their support all have this form. Each x_b has norm one or zero, and within its non-zeros
    ``diagonal`` and ``factor`` (one number a coordinate) are constant. ``labels`` lie below the
    number of coordinates.
    """

    diagonal: Float[Array, " k"]
    factor: Float[Array, " k"] | None = None
    vector: Float[Array, " k"] | None = None
    labels: Int[Array, " k"] | None = None

    def matvec(self, x: Float[Array, " k"]) -> Float[Array, " k"]:
        """M x."""
        return self._times(x, self.diagonal, self.factor, self.vector)

    def congruence(self, gram: Float[Array, "k k"]) -> Float[Array, "k k"]:
        """M G M for a symmetric G."""
        columns = [None if x is None else x[:, None] for x in self._parts]
        half = self._times(gram, *columns)  # type: ignore[arg-type]
        return self._times(half.T, *columns)  # type: ignore[arg-type]

    def dense(self) -> Float[Array, "k k"]:
        """M itself."""
        matrix = jnp.diag(self.diagonal)
        if self.labels is None:
            return matrix
        same = self.labels[:, None] == self.labels
        outer = (self.factor * self.vector)[:, None] * self.vector
        return matrix + jnp.where(same, outer, 0.0)

    def where(self, inside: Bool[Array, " k"]) -> "BlockMatrix":
        """M with rows and columns outside of whole groups set to zero."""
        diagonal = jnp.where(inside, self.diagonal, 0.0)
        return eqx.tree_at(lambda matrix: matrix.diagonal, self, diagonal)

    def take(self, kept: Int[Array, " m"], used: Bool[Array, " m"]) -> "BlockMatrix":
        """The rows and columns ``kept``; those not ``used`` become zero.

        Labels stay below the old number of coordinates, not the new one.
        """
        diagonal = jnp.where(used, self.diagonal[kept], 0.0)
        if self.labels is None:
            return BlockMatrix(diagonal)
        vector = jnp.where(used, self.vector[kept], 0.0)
        labels = renumber(self.labels[kept], self.labels.shape[0])
        return BlockMatrix(diagonal, self.factor[kept], vector, labels)

    def over(self, scale: Float[Array, " k"]) -> "BlockMatrix":
        """M divided by a number that is the same within a group."""
        factor = None if self.factor is None else self.factor / scale
        return BlockMatrix(self.diagonal / scale, factor, self.vector, self.labels)

    def inverse_root(self, step: Float[Array, ""]) -> "BlockMatrix":
        """(I + step·M)^(−½)."""
        across = 1 / jnp.sqrt(1 + step * self.diagonal)
        if self.labels is None:
            return BlockMatrix(across)
        along = 1 / jnp.sqrt(1 + step * (self.diagonal + self.factor))
        return BlockMatrix(across, along - across, self.vector, self.labels)

    @property
    def _parts(self) -> tuple[Array, Array | None, Array | None]:
        return self.diagonal, self.factor, self.vector

    def _times(
        self, x: Float[Array, "k ..."], diagonal: Array, factor: Array | None, vector: Array | None
    ) -> Float[Array, "k ..."]:
        if self.labels is None:
            return diagonal * x
        sums = jax.ops.segment_sum(vector * x, self.labels, self.labels.shape[0])
        return diagonal * x + factor * vector * sums[self.labels]


def renumber(labels: Int[Array, " k"], num_labels: int) -> Int[Array, " k"]:
    """Labels below k, equal where the old ones are: the position where each first appears."""
    size = labels.shape[0]
    position = jnp.arange(size, dtype=labels.dtype)
    first = jnp.full(num_labels, size, labels.dtype).at[labels].min(position)
    return first[labels]
