"""A design of several classes, seen through contrasts of these, as one of a single target."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..losses._class_contrasts import ClassContrasts
from ._base import AbstractDesign
from ._several import matvec, rmatvec


class ClassContrasted(AbstractDesign):
    """w ↦ K(X W), never formed: W (p, classes) and what is seen of the samples row by row."""

    base: AbstractDesign
    contrasts: ClassContrasts
    seen: Float[Array, "k n k-1"]  # of each class alone

    @property
    def _classes(self) -> int:
        return self.contrasts.share.shape[1]

    @property
    def shape(self) -> tuple[int, int]:
        n, p = self.base.shape
        return n * (self._classes - 1), p * self._classes

    @property
    def dtype(self) -> jnp.dtype:
        return self.base.dtype

    def matvec(self, w: Float[Array, " pk"]) -> Float[Array, " m"]:
        of_class = matvec(self.base, w.reshape(-1, self._classes))
        return self.contrasts.matvec(of_class).reshape(-1)

    def rmatvec(self, r: Float[Array, " m"]) -> Float[Array, " pk"]:
        of_class = self.contrasts.rmatvec(r.reshape(-1, self._classes - 1))
        return rmatvec(self.base, of_class).reshape(-1)

    def columns(self, indices: Int[Array, " k"]) -> Float[Array, "k m"]:
        count, none = indices.shape[0], self.base.shape[1]
        feature, of_class = jnp.divmod(indices, self._classes)
        # Sparse designs give each of them once.
        distinct, place = jnp.unique(feature, return_inverse=True, size=count, fill_value=none)
        columns = self.base.columns(distinct)[place][:, :, None] * self.seen[of_class]
        return columns.reshape(count, -1)

    def all_columns(self) -> Float[Array, "pk m"]:
        columns = self.base.all_columns()[:, None, :, None] * self.seen
        return columns.reshape(self.shape[1], -1)

    def square_norms(self, row_weights: Float[Array, " m"]) -> Float[Array, " pk"]:
        weighted = self.seen**2 * row_weights.reshape(-1, self._classes - 1)
        of_samples = jnp.sum(weighted, axis=2)
        return jax.vmap(self.base.square_norms, out_axes=1)(of_samples).reshape(-1)
