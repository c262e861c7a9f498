"""A design less what a few vectors have of it."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ._base import AbstractDerivedDesign, AbstractDesign, GramRows, less
from ._several import rmatvec


class Projection(AbstractDerivedDesign):
    """(I − S SᵀH) X, never formed: what weighted least squares leave of unpenalised columns."""

    base: AbstractDesign
    span: Float[Array, "n q"]  # S, with SᵀHS = I
    weights: Float[Array, " n"]  # H

    @classmethod
    def out_of(
        cls, base: AbstractDesign, columns: Float[Array, "n q"], weights: Float[Array, " n"]
    ) -> "Projection":
        """Free of what is in the columns."""
        sizes, vectors = jnp.linalg.eigh(columns.T @ (weights[:, None] * columns))
        rounding = sizes.shape[0] * jnp.finfo(sizes.dtype).eps * jnp.max(sizes)
        kept = sizes > rounding
        scale = jnp.where(kept, 1 / jnp.sqrt(jnp.where(kept, sizes, 1.0)), 0.0)
        return cls(base, columns @ (vectors * scale), weights)

    def project(self, x: Float[Array, "... n"]) -> Float[Array, "... n"]:
        """x, or each row of it, without the columns."""
        return x - ((self.weights * x) @ self.span) @ self.span.T

    def matvec(self, w: Float[Array, " p"]) -> Float[Array, " n"]:
        return self.project(self.base.matvec(w))

    def rmatvec(self, r: Float[Array, " n"]) -> Float[Array, " p"]:
        return self.base.rmatvec(r - self.weights * (self.span @ (self.span.T @ r)))

    def combine(self, indices: Int[Array, " k"], values: Float[Array, " k"]) -> Float[Array, " n"]:
        return self.project(self.base.combine(indices, values))

    def columns(self, indices: Int[Array, " k"]) -> Float[Array, "k n"]:
        return self.project(self.base.columns(indices))

    def all_columns(self) -> Float[Array, "p n"]:
        return self.project(self.base.all_columns())

    def square_norms(self, row_weights: Float[Array, " n"]) -> Float[Array, " p"]:
        taken, cross, own = self._of_span(row_weights)
        squares = self.base.square_norms(row_weights)
        left = squares - 2 * jnp.sum(taken * cross, axis=1) + jnp.sum((taken @ own) * taken, axis=1)
        return jnp.maximum(left, 0.0)

    @property
    def gram_from(self) -> float:
        return self.base.gram_from

    def gram_rows(self, indices: Int[Array, " k"], row_weights: Float[Array, " n"]) -> GramRows:
        taken, cross, own = self._of_span(row_weights)
        taken, cross = (x.at[indices].get(mode="fill", fill_value=0.0) for x in (taken, cross))
        return less(self.base.gram_rows(indices, row_weights), taken, cross - taken @ own / 2)

    def _of_span(
        self, row_weights: Float[Array, " n"]
    ) -> tuple[Float[Array, "p q"], Float[Array, "p q"], Float[Array, "q q"]]:
        """XᵀHS, what is taken of the span, and for other weights R XᵀRS and SᵀRS."""
        taken = rmatvec(self.base, self.weights[:, None] * self.span)
        weighted = row_weights[:, None] * self.span
        return taken, rmatvec(self.base, weighted), self.span.T @ weighted
