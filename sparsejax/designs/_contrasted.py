"""A design seen through contrasts of its samples."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..losses._contrasts import Contrasts
from ._base import AbstractDerivedDesign, AbstractDesign

_BLOCK = 64  # columns whose lengths are found at once


class Contrasted(AbstractDerivedDesign):
    """K X, never formed."""

    base: AbstractDesign
    contrasts: Contrasts

    def matvec(self, w: Float[Array, " p"]) -> Float[Array, " n"]:
        return self.contrasts.matvec(self.base.matvec(w))

    def rmatvec(self, r: Float[Array, " n"]) -> Float[Array, " p"]:
        return self.base.rmatvec(self.contrasts.rmatvec(r))

    def combine(self, indices: Int[Array, " k"], values: Float[Array, " k"]) -> Float[Array, " n"]:
        return self.contrasts.matvec(self.base.combine(indices, values))

    def columns(self, indices: Int[Array, " k"]) -> Float[Array, "k n"]:
        return self.contrasts.matvec(self.base.columns(indices))

    def all_columns(self) -> Float[Array, "p n"]:
        return self.contrasts.matvec(self.base.all_columns())

    def square_norms(self, row_weights: Float[Array, " n"]) -> Float[Array, " p"]:
        def of(index: Int[Array, ""]) -> Float[Array, ""]:
            return self.columns(index[None])[0] ** 2 @ row_weights

        return jax.lax.map(of, jnp.arange(self.shape[1]), batch_size=_BLOCK)
