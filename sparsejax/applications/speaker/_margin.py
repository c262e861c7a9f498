"""Softmax over angles, with a margin for the right class."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ..._checks import check_integer


class AAMSoftmax(eqx.Module):
    """−log softmax(scale·cos(θ + margin·[right class])), θ the angle to a class's direction.

    Beyond θ = π − margin, where the cosine would rise again, cos θ − margin·sin(margin).

    Parameters
    ----------
    classes, embedding
        How many speakers, and numbers in an embedding.
    key
        Of the directions.
    margin
        In radians, between 0 and π/2.
    scale
        Of the cosines.

    Attributes
    ----------
    weight
        (classes, embedding): directions of any length.
    margin, scale

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from sparsejax.applications import speaker
    >>> loss = speaker.AAMSoftmax(10, 4, jax.random.key(0))
    >>> float(loss(loss.weight[3], jnp.array(3))) < float(loss(loss.weight[3], jnp.array(4)))
    True

    Notes
    -----
    Deng et al., ArcFace (2019), equation 3.
    """

    weight: Float[Array, "classes embedding"]
    margin: float = eqx.field(static=True)
    scale: float = eqx.field(static=True)

    def __init__(
        self,
        classes: int,
        embedding: int,
        key: PRNGKeyArray,
        *,
        margin: float = 0.2,
        scale: float = 30.0,
    ):
        check_integer("classes", classes)
        check_integer("embedding", embedding)
        if not 0 <= margin < math.pi / 2:
            raise ValueError(f"`margin` must lie in [0, π/2); got {margin}.")
        if not 0 < scale < math.inf:
            raise ValueError(f"`scale` must be positive; got {scale}.")
        deviation = math.sqrt(2 / (classes + embedding))  # Glorot & Bengio (2010)
        self.weight = deviation * jax.random.normal(key, (classes, embedding))
        self.margin, self.scale = margin, scale

    def __call__(
        self, embedding: Float[Array, " embedding"], label: Int[Array, ""]
    ) -> Float[Array, ""]:
        cosines = unit(self.weight) @ unit(embedding)
        right = cosines[label]
        sine = jnp.sqrt(jnp.maximum(1 - right**2, 1e-12))  # whose slope stays finite
        later = right * math.cos(self.margin) - sine * math.sin(self.margin)
        least = math.cos(math.pi - self.margin)
        later = jnp.where(right > least, later, right - self.margin * math.sin(self.margin))
        logits = self.scale * cosines.at[label].set(later)
        return optax.softmax_cross_entropy_with_integer_labels(logits, label)


def unit(x: Float[Array, "*batch embedding"]) -> Float[Array, "*batch embedding"]:
    """Of length one; zero stays zero, without NaN in derivatives."""
    squares = jnp.sum(x**2, axis=-1, keepdims=True)
    return x * jax.lax.rsqrt(jnp.maximum(squares, jnp.finfo(x.dtype).tiny))
