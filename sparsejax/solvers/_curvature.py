"""The matrix of the quadratic problem of a working set, formed or as a product."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._symmetric import lower_inner_gram
from ..penalties._block_matrix import BlockMatrix

Pick = Callable[[Array], Array]  # takes some rows of any array of k rows


class AbstractCurvature(eqx.Module):
    """A symmetric positive semidefinite matrix G (k, k), of which leading blocks are used."""

    rows: eqx.AbstractVar[Float[Array, "k m"]]  # G, or C where G = C·Cᵀ

    @property
    @abc.abstractmethod
    def longest_step(self) -> float:
        """The σ up to which (root·G·root + I/σ) is solved with some digits right."""

    @property
    @abc.abstractmethod
    def largest_system(self) -> int:
        """The size that no system of `solve` exceeds."""

    @abc.abstractmethod
    def diagonal(self) -> Float[Array, " k"]:
        """G_jj."""

    @abc.abstractmethod
    def complete(self, half: Float[Array, "... m"], pick: Pick) -> Float[Array, "w ..."]:
        """The rows of G x that ``pick`` takes, given half = xᵀ·rows."""

    @abc.abstractmethod
    def block(self, pick: Pick) -> Float[Array, "w w"]:
        """The rows and columns of G that ``pick`` takes."""

    @abc.abstractmethod
    def matmul(self, x: Float[Array, "w ..."]) -> Float[Array, "w ..."]:
        """The leading block of the size of x, times x."""

    @abc.abstractmethod
    def solve(
        self,
        kept: Int[Array, " w"],
        root: BlockMatrix,
        shift: Float[Array, ""],
        rhs: Float[Array, " w"],
    ) -> Float[Array, " w"]:
        """(root·G_kept·root + shift·I)⁻¹ rhs for the rows and columns ``kept`` of G."""


class Gram(AbstractCurvature):
    """G itself."""

    rows: Float[Array, "k k"]

    @property
    def longest_step(self) -> float:
        size, dtype = self.rows.shape[0], self.rows.dtype
        return float(0.01 / (jnp.finfo(dtype).eps * size**0.5))

    @property
    def largest_system(self) -> int:
        return self.rows.shape[0]

    def diagonal(self) -> Float[Array, " k"]:
        return jnp.diagonal(self.rows)

    def complete(self, half: Float[Array, "... k"], pick: Pick) -> Float[Array, "w ..."]:
        return pick(half.T)

    def block(self, pick: Pick) -> Float[Array, "w w"]:
        return pick(pick(self.rows).T)

    def matmul(self, x: Float[Array, "w ..."]) -> Float[Array, "w ..."]:
        width = x.shape[0]
        # G is symmetric, and a row times it is faster than it times a column.
        return (x.T @ self.rows[:width, :width]).T

    def solve(
        self,
        kept: Int[Array, " w"],
        root: BlockMatrix,
        shift: Float[Array, ""],
        rhs: Float[Array, " w"],
    ) -> Float[Array, " w"]:
        block = self.rows.at[kept[:, None], kept].get(mode="promise_in_bounds")
        return _solve(root.congruence(block), shift, rhs)


class Columns(AbstractCurvature):
    """G = C·Cᵀ: no system is larger than the samples."""

    rows: Float[Array, "k n"]  # C: a feature a row, weighted by the roots of the samples' factors
    squares: Float[Array, " k"]  # of their lengths

    @property
    def longest_step(self) -> float:
        # `solve` loses σ·ε of its digits.
        return float(0.03 / jnp.finfo(self.rows.dtype).eps ** 0.5)

    @property
    def largest_system(self) -> int:
        return min(self.rows.shape)

    def diagonal(self) -> Float[Array, " k"]:
        return self.squares

    def complete(self, half: Float[Array, "... n"], pick: Pick) -> Float[Array, "w ..."]:
        return (half @ pick(self.rows).T).T

    def block(self, pick: Pick) -> Float[Array, "w w"]:
        rows = pick(self.rows)
        return rows @ rows.T

    def matmul(self, x: Float[Array, "w ..."]) -> Float[Array, "w ..."]:
        rows = self.rows[: x.shape[0]]
        return rows @ (x.T @ rows).T

    def solve(
        self,
        kept: Int[Array, " w"],
        root: BlockMatrix,
        shift: Float[Array, ""],
        rhs: Float[Array, " w"],
    ) -> Float[Array, " w"]:
        half = root.matmul(self.rows.at[kept].get(mode="promise_in_bounds"))
        if half.shape[0] <= half.shape[1]:
            return _solve(half @ half.T, shift, rhs)
        # With B = root·C: (BBᵀ + s·I)⁻¹ = (I − B(BᵀB + s·I)⁻¹Bᵀ)/s.
        # What is not used comes last, and is zero in the root.
        matrix = lower_inner_gram(half, jnp.sum(root.diagonal != 0))
        return (rhs - half @ _solve(matrix, shift, rhs @ half)) / shift


def _solve(
    matrix: Float[Array, "w w"], shift: Float[Array, ""], rhs: Float[Array, " w"]
) -> Float[Array, " w"]:
    """(matrix + shift·I)⁻¹ rhs."""
    return positive_solve(matrix + shift * jnp.eye(rhs.shape[0], dtype=rhs.dtype), rhs)


def positive_solve(
    matrix: Float[Array, "w w"], rhs: Float[Array, "w *columns"]
) -> Float[Array, "w *columns"]:
    """matrix⁻¹ rhs for a positive definite matrix, NaN for others.

    Straight to LAPACK, because lineax would double the compile time of this, the innermost
    operation of every solve.
    """
    lower = jax.lax.linalg.cholesky(matrix, symmetrize_input=False)
    half = _triangular_solve(lower, rhs.reshape(rhs.shape[0], -1), transpose=False)
    return _triangular_solve(lower, half, transpose=True).reshape(rhs.shape)


def _triangular_solve(
    lower: Float[Array, "w w"], rhs: Float[Array, "w m"], *, transpose: bool
) -> Float[Array, "w m"]:
    return jax.lax.linalg.triangular_solve(
        lower, rhs, left_side=True, lower=True, transpose_a=transpose
    )
