"""What pruning needs to know about the inputs of a layer, gathered a chunk at a time."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._arrays import as_inexact


class InputStatistics(eqx.Module):
    """The Gram matrix of the vectors that a layer has seen, and how many there were.

    ``InputStatistics.zeros(width)`` has seen none; ``update`` adds a chunk.

    Attributes
    ----------
    gram
        (in, in): Σ x xᵀ, in single precision at least.
    count
        How many vectors.
    cross
        (in, in): Σ x_d xᵀ, where x_d is what the dense model has in the place of x; None where
        these are not seen.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> seen = sj.nn.InputStatistics.zeros(2)
    >>> for chunk in (jnp.array([[3.0, 1.0]]), jnp.array([[4.0, 0.0]])):
    ...     seen = seen.update(chunk)
    >>> seen.norms.tolist()
    [5.0, 1.0]
    """

    gram: Float[Array, "in in"]
    count: Int[Array, ""]
    cross: Float[Array, "in in"] | None = None

    @classmethod
    def zeros(
        cls, width: int, dtype: Any = jnp.float32, *, paired: bool = False
    ) -> "InputStatistics":
        """Of a layer that takes vectors of ``width`` entries and has seen none.

        ``paired`` if it will see the dense model's beside them.
        """
        none = jnp.zeros((width, width), jnp.promote_types(dtype, jnp.float32))
        return cls(none, jnp.zeros((), jnp.int32), none if paired else None)

    @property
    def norms(self) -> Float[Array, " in"]:
        """Euclidean norms of the inputs over all vectors: what ``wanda`` takes."""
        return jnp.sqrt(jnp.diagonal(self.gram))

    def update(
        self, inputs: Float[Array, "... in"], dense: Float[Array, "... in"] | None = None
    ) -> "InputStatistics":
        """With the vectors of a chunk added, along any number of leading axes.

        ``dense`` are those of the dense model, if the statistics are of pairs.
        """
        cross = self.cross
        if (dense is None) != (cross is None):
            raise ValueError("`dense` must be given where statistics are of pairs, and only there.")
        vectors = self._vectors(inputs, "inputs")
        gram, count = self.gram + vectors.T @ vectors, self.count + vectors.shape[0]
        if dense is None or cross is None:
            return InputStatistics(gram, count)
        others = self._vectors(dense, "dense")
        if others.shape != vectors.shape:
            raise ValueError(
                f"`dense` must have as many vectors as `inputs`: {len(vectors)}; got {len(others)}."
            )
        return InputStatistics(gram, count, cross + others.T @ vectors)

    def _vectors(self, inputs: Any, name: str) -> Float[Array, "vectors in"]:
        inputs, width = as_inexact(inputs, name), self.gram.shape[0]
        if not inputs.ndim or inputs.shape[-1] != width:
            raise ValueError(f"`{name}` must end in {width} features; got shape {inputs.shape}.")
        return inputs.reshape(-1, width).astype(self.gram.dtype)
