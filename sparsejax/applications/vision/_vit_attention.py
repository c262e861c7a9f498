"""Self-attention over all tokens, which shows its maps."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray


class ViTAttention(eqx.Module):
    """Self-attention over all tokens.

    Parameters
    ----------
    width
        Of the activations.
    heads
        How many; must divide the width. Fewer remain after ``remove_heads``, as wide as before.
    key
        Of the random weights.
    """

    query: eqx.nn.Linear
    key: eqx.nn.Linear
    value: eqx.nn.Linear
    output: eqx.nn.Linear
    heads: int = eqx.field(static=True)

    def __init__(self, width: int, heads: int, key: PRNGKeyArray):
        keys = jax.random.split(key, 4)
        self.query = eqx.nn.Linear(width, width, key=keys[0])
        self.key = eqx.nn.Linear(width, width, key=keys[1])
        self.value = eqx.nn.Linear(width, width, key=keys[2])
        self.output = eqx.nn.Linear(width, width, key=keys[3])
        self.heads = heads

    def __call__(
        self, x: Float[Array, "tokens width"]
    ) -> tuple[Float[Array, "tokens width"], Float[Array, "heads tokens tokens"]]:
        """What is mixed, and how much every token took from each other one."""
        query, key, value = (
            jax.vmap(linear)(x).reshape(x.shape[0], self.heads, -1)
            for linear in (self.query, self.key, self.value)
        )
        scores = jnp.einsum("thd,shd->hts", query, key) / math.sqrt(query.shape[-1])
        maps = jax.nn.softmax(scores, axis=-1)
        mixed = jnp.einsum("hts,shd->thd", maps, value).reshape(x.shape[0], -1)
        return jax.vmap(self.output)(mixed), maps
