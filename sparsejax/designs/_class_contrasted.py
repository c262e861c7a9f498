"""A design of several classes, seen through contrasts of these, as one of a single target."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..losses._class_contrasts import ClassContrasts
from ._base import AbstractDesign, GramRows
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
        distinct, place, of_class = self._features(indices)
        columns = self.base.columns(distinct)[place][:, :, None] * self.seen[of_class]
        return columns.reshape(indices.shape[0], -1)

    def _features(
        self, indices: Int[Array, " k"]
    ) -> tuple[Int[Array, " d"], Int[Array, " k"], Int[Array, " k"]]:
        """Those of the base, each once, and which of these and of what class each index is."""
        feature, of_class = jnp.divmod(indices, self._classes)
        none = self.base.shape[1]  # also of what stands for none
        size = min(indices.shape[0], none + 1)
        distinct, place = jnp.unique(feature, return_inverse=True, size=size, fill_value=none)
        return distinct, place, of_class

    def all_columns(self) -> Float[Array, "pk m"]:
        columns = self.base.all_columns()[:, None, :, None] * self.seen
        return columns.reshape(self.shape[1], -1)

    def square_norms(self, row_weights: Float[Array, " m"]) -> Float[Array, " pk"]:
        weighted = self.seen**2 * row_weights.reshape(-1, self._classes - 1)
        of_samples = jnp.sum(weighted, axis=2)
        return jax.vmap(self.base.square_norms, out_axes=1)(of_samples).reshape(-1)

    @property
    def gram_from(self) -> float:
        # Where half of (classes − 1) · num² products are more than those of all pairs of classes.
        k = self._classes
        return (self.base.shape[1] + 1) * math.sqrt(k * (k + 1) / (k - 1))

    def gram_rows(self, indices: Int[Array, " k"], row_weights: Float[Array, " m"]) -> GramRows:
        """From one matrix of all features for each pair of classes."""
        distinct, place, of_class = self._features(indices)
        columns = self.base.columns(distinct)
        first, second = np.triu_indices(self._classes)
        weights = row_weights.reshape(-1, self._classes - 1)

        def of_pair(pair: tuple[Array, Array]) -> Float[Array, "d d"]:
            a, b = pair
            both = jnp.sum(self.seen[a] * weights * self.seen[b], axis=1)
            return (columns * both) @ columns.T

        grams = jax.lax.map(of_pair, (jnp.asarray(first), jnp.asarray(second)))
        number = np.zeros((self._classes, self._classes), int)
        number[first, second] = number[second, first] = np.arange(first.size)
        pair = jnp.asarray(number)

        def rows(at: Int[Array, " b"]) -> Float[Array, "b k"]:
            found = grams[pair[of_class[at, None], of_class], place[at, None], place]
            return jnp.where((at < indices.shape[0])[:, None], found, 0.0)

        return rows
