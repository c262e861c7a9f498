"""What a design matrix must be able to do."""

import abc
import math
from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

GramRows = Callable[[Int[Array, " b"]], Float[Array, "b k"]]
Moments = tuple[Float[Array, " p"], Float[Array, " p"], Float[Array, " p"]]


class AbstractDesign(eqx.Module):
    """A matrix X of n samples by p features, seen through its products and its columns.

    An index of p or more in ``columns`` asks for a zero column: solvers pad with it.
    """

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, int]:
        """(n, p)."""

    @property
    @abc.abstractmethod
    def dtype(self) -> jnp.dtype:
        """The dtype of the entries."""

    @abc.abstractmethod
    def matvec(self, w: Float[Array, " p"]) -> Float[Array, " n"]:
        """X w."""

    @abc.abstractmethod
    def rmatvec(self, r: Float[Array, " n"]) -> Float[Array, " p"]:
        """Xᵀ r."""

    def combine(self, indices: Int[Array, " k"], values: Float[Array, " k"]) -> Float[Array, " n"]:
        """Σ_k values_k X[:, indices_k] for distinct indices: X w for a sparse w."""
        return self.matvec(
            jnp.zeros(self.shape[1], self.dtype).at[indices].set(values, mode="drop")
        )

    @abc.abstractmethod
    def columns(self, indices: Int[Array, " k"]) -> Float[Array, "k n"]:
        """X[:, indices]ᵀ, dense, one feature a row, for distinct indices (but for padding)."""

    def all_columns(self) -> Float[Array, "p n"]:
        """Xᵀ, dense."""
        return self.columns(jnp.arange(self.shape[1]))

    @abc.abstractmethod
    def square_norms(self, row_weights: Float[Array, " n"]) -> Float[Array, " p"]:
        """Σ_i row_weights_i X_ij² for every column j."""

    def mean_and_variance(self, row_weights: Float[Array, " n"]) -> Moments:
        """Of every column by weights that sum to one, and the variance that is only rounding."""
        mean, squares = self.rmatvec(row_weights), self.square_norms(row_weights)
        rounding = 4 * self.shape[0] * jnp.finfo(self.dtype).eps * squares
        return mean, jnp.maximum(squares - mean**2, 0.0), rounding

    @property
    def gram_from(self) -> float:
        """The number of columns beyond which ``gram_rows`` takes less than all their products."""
        return math.inf

    def gram_rows(self, indices: Int[Array, " k"], row_weights: Float[Array, " n"]) -> GramRows:
        """What finds rows of Σ_i row_weights_i X_ij X_il, for distinct indices (but for padding).

        Given the places of the rows among the k indices; one of k or more asks for zeros.
        """
        raise NotImplementedError(f"{type(self).__name__} has no Gram matrix but its columns'.")


def less(rows: GramRows, a: Float[Array, "k q"], b: Float[Array, "k q"]) -> GramRows:
    """Rows of a Gram matrix less those of a·bᵀ and of its transpose."""

    def remaining(at: Int[Array, " b"]) -> Float[Array, "b k"]:
        own_a, own_b = (x.at[at].get(mode="fill", fill_value=0.0) for x in (a, b))
        return rows(at) - own_a @ b.T - own_b @ a.T

    return remaining


def centred_variance(
    mean: Float[Array, " p"], off: Float[Array, " p"], squares: Float[Array, " p"]
) -> Moments:
    """``mean_and_variance`` from how far entries are off a first mean, and the squares of that.

    A constant column is off by the rounding of its mean alone.
    """
    rounding = (4 * jnp.finfo(mean.dtype).eps * mean) ** 2
    return mean + off, jnp.maximum(squares - off**2, 0.0), rounding


class AbstractDerivedDesign(AbstractDesign):
    """Another design of the same shape, seen through a map of its features or samples."""

    base: eqx.AbstractVar[AbstractDesign]

    @property
    def shape(self) -> tuple[int, int]:
        return self.base.shape

    @property
    def dtype(self) -> jnp.dtype:
        return self.base.dtype


def underlying(design: AbstractDesign) -> AbstractDesign:
    """What a design is derived from, or else the design itself."""
    return underlying(design.base) if isinstance(design, AbstractDerivedDesign) else design
