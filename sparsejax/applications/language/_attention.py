"""Causal self-attention."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray


class Attention(eqx.Module):
    """Causal self-attention, several query heads to one key and value head if asked.

    Parameters
    ----------
    width
        Of the activations.
    heads, kv_heads
        How many query heads, and how many key and value heads that they share in equal numbers.
    head_width
        Of one head.
    use_bias
        Whether the four linear maps have one.
    rotary_base
        Base of the rotary position embedding; None for none.
    key
        Of the random weights.
    """

    query: eqx.nn.Linear
    key: eqx.nn.Linear
    value: eqx.nn.Linear
    output: eqx.nn.Linear
    heads: int = eqx.field(static=True)
    kv_heads: int = eqx.field(static=True)
    rotary_base: float | None = eqx.field(static=True)

    def __init__(
        self,
        width: int,
        heads: int,
        kv_heads: int,
        head_width: int,
        use_bias: bool,
        rotary_base: float | None,
        key: PRNGKeyArray,
    ):
        keys = jax.random.split(key, 4)
        outer, shared = heads * head_width, kv_heads * head_width
        self.query = eqx.nn.Linear(width, outer, use_bias, key=keys[0])
        self.key = eqx.nn.Linear(width, shared, use_bias, key=keys[1])
        self.value = eqx.nn.Linear(width, shared, use_bias, key=keys[2])
        self.output = eqx.nn.Linear(outer, width, use_bias, key=keys[3])
        self.heads, self.kv_heads, self.rotary_base = heads, kv_heads, rotary_base

    def __call__(self, x: Float[Array, "seq width"]) -> Float[Array, "seq width"]:
        """Mix every place with those before it."""
        query = _by_head(jax.vmap(self.query)(x), self.heads)
        key = _by_head(jax.vmap(self.key)(x), self.kv_heads)
        value = _by_head(jax.vmap(self.value)(x), self.kv_heads)
        if self.rotary_base is not None:
            query, key = rotate(query, self.rotary_base), rotate(key, self.rotary_base)
        return jax.vmap(self.output)(_attend(query, key, value))


def _by_head(x: Float[Array, "seq outer"], heads: int) -> Float[Array, "seq heads head_width"]:
    return x.reshape(x.shape[0], heads, -1)


def _attend(
    query: Float[Array, "seq heads head_width"],
    key: Float[Array, "seq kv_heads head_width"],
    value: Float[Array, "seq kv_heads head_width"],
) -> Float[Array, "seq outer"]:
    """``jax.nn.dot_product_attention`` would round double precision to single."""
    seq, kv_heads, head_width = key.shape
    query = query.reshape(seq, kv_heads, -1, head_width)
    scores = jnp.einsum("tkgd,skd->kgts", query, key) / math.sqrt(head_width)
    causal = jnp.tril(jnp.ones((seq, seq), bool))
    weights = jax.nn.softmax(jnp.where(causal, scores, -jnp.inf), axis=-1)
    return jnp.einsum("kgts,skd->tkgd", weights, value).reshape(seq, -1)


def rotate(
    x: Float[Array, "seq heads head_width"], base: float
) -> Float[Array, "seq heads head_width"]:
    """Turn the pair (x_i, x_{i + d/2}) at place t by the angle t·base^(−2i/d).

    Su et al., RoFormer (2021), (34), in the layout of Hugging Face; `_gguf` brings files that
    pair neighbours, as the paper does, into it.
    """
    half = x.shape[-1] // 2
    frequency = base ** (-jnp.arange(half) / half)
    angle = jnp.arange(x.shape[0])[:, None, None] * frequency
    cos, sin = jnp.cos(angle).astype(x.dtype), jnp.sin(angle).astype(x.dtype)
    a, b = x[..., :half], x[..., half:]
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)
