"""Symmetric matrices that couple the coefficients of a group and nothing else."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


class Coupling(eqx.Module):
    """Σ_b factor_b x_b x_bᵀ over disjoint groups b: what a block matrix has off its diagonal.

    ``factor`` holds one number a coordinate, the same within a group, and ``vector`` the x_b, of
    norm one or zero. ``labels`` lie below the number of coordinates.
    """

    factor: Float[Array, " k"]
    vector: Float[Array, " k"]
    labels: Int[Array, " k"]

    def matmul(self, x: Float[Array, "k m"]) -> Float[Array, "k m"]:
        """The product with a matrix."""
        sums = jax.ops.segment_sum(self.vector[:, None] * x, self.labels, self.labels.shape[0])
        return (self.factor * self.vector)[:, None] * sums[self.labels]

    def dense(self) -> Float[Array, "k k"]:
        """The matrix itself."""
        same = self.labels[:, None] == self.labels
        return jnp.where(same, (self.factor * self.vector)[:, None] * self.vector, 0.0)

    def take(self, kept: Int[Array, " m"], used: Bool[Array, " m"]) -> "Coupling":
        """The rows and columns ``kept``; those not ``used`` become zero."""
        labels = renumber(self.labels[kept], self.labels.shape[0])
        return Coupling(self.factor[kept], jnp.where(used, self.vector[kept], 0.0), labels)


class BlockMatrix(eqx.Module):
    """diag(diagonal) + coupling; the diagonal alone where no coordinates are grouped.

    The derivatives of proximal operators, their square roots and the Hessians of penalties on
    their support all have this form. Within the non-zeros of a group ``diagonal`` is constant.
    """

    diagonal: Float[Array, " k"]
    coupling: Coupling | None = None

    def matvec(self, x: Float[Array, " k"]) -> Float[Array, " k"]:
        """M x."""
        return self.matmul(x[:, None])[:, 0]

    def congruence(self, gram: Float[Array, "k k"]) -> Float[Array, "k k"]:
        """M G M for a symmetric G."""
        return self.matmul(self.matmul(gram).T)

    def dense(self) -> Float[Array, "k k"]:
        """M itself."""
        matrix = jnp.diag(self.diagonal)
        return matrix if self.coupling is None else matrix + self.coupling.dense()

    def where(self, inside: Bool[Array, " k"]) -> "BlockMatrix":
        """M with zeros on the diagonal but for ``inside``, where all of its coupling is."""
        return BlockMatrix(jnp.where(inside, self.diagonal, 0.0), self.coupling)

    def take(self, kept: Int[Array, " m"], used: Bool[Array, " m"]) -> "BlockMatrix":
        """The rows and columns ``kept``; those not ``used`` become zero."""
        coupling = None if self.coupling is None else self.coupling.take(kept, used)
        return BlockMatrix(jnp.where(used, self.diagonal[kept], 0.0), coupling)

    def over(self, scale: Float[Array, " k"]) -> "BlockMatrix":
        """M divided by a number that is the same within a group."""
        coupling = self.coupling
        if coupling is not None:
            coupling = Coupling(coupling.factor / scale, coupling.vector, coupling.labels)
        return BlockMatrix(self.diagonal / scale, coupling)

    def inverse_root(self, step: Float[Array, ""]) -> "BlockMatrix":
        """(I + step·M)^(−½)."""
        across, coupling = 1 / jnp.sqrt(1 + step * self.diagonal), self.coupling
        if coupling is None:
            return BlockMatrix(across)
        along = 1 / jnp.sqrt(1 + step * (self.diagonal + coupling.factor))
        return BlockMatrix(across, Coupling(along - across, coupling.vector, coupling.labels))

    def matmul(self, x: Float[Array, "k m"]) -> Float[Array, "k m"]:
        """M X."""
        scaled = self.diagonal[:, None] * x
        return scaled if self.coupling is None else scaled + self.coupling.matmul(x)


def renumber(labels: Int[Array, " k"], num_labels: int) -> Int[Array, " k"]:
    """Labels below k, equal where the old ones are: the position where each first appears."""
    size = labels.shape[0]
    position = jnp.arange(size, dtype=labels.dtype)
    first = jnp.full(num_labels, size, labels.dtype).at[labels].min(position)
    return first[labels]
