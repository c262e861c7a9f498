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

    @classmethod
    def zeros(cls, width: int, dtype: Any = jnp.float32) -> "InputStatistics":
        """Of a layer that takes vectors of ``width`` entries and has seen none."""
        dtype = jnp.promote_types(dtype, jnp.float32)
        return cls(jnp.zeros((width, width), dtype), jnp.zeros((), jnp.int32))

    @property
    def norms(self) -> Float[Array, " in"]:
        """Euclidean norms of the inputs over all vectors: what ``wanda`` takes."""
        return jnp.sqrt(jnp.diagonal(self.gram))

    def update(self, inputs: Float[Array, "... in"]) -> "InputStatistics":
        """With the vectors of a chunk added, along any number of leading axes."""
        inputs = as_inexact(inputs, "inputs")
        width = self.gram.shape[0]
        if not inputs.ndim or inputs.shape[-1] != width:
            raise ValueError(f"`inputs` must end in {width} features; got shape {inputs.shape}.")
        vectors = inputs.reshape(-1, width).astype(self.gram.dtype)
        return InputStatistics(self.gram + vectors.T @ vectors, self.count + vectors.shape[0])
