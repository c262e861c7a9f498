"""Llama and what shares its architecture: SmolLM2, TinyLlama, Mistral without a window."""

import dataclasses

import equinox as eqx
import jax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .._sizes import check_sizes
from ._attention import Attention
from ._model import AbstractLanguageModel, make_unembedding


@dataclasses.dataclass(frozen=True)
class LlamaConfig:
    """Sizes of a Llama.

    Attributes
    ----------
    vocab
        How many tokens there are.
    width
        Of the activations.
    depth
        How many blocks.
    heads, kv_heads, head_width
        Query heads, key and value heads (a divisor), and the width of one, which is even.
    hidden
        Width within the feed-forward half of a block.
    rotary_base
        Of the rotary position embedding.
    norm_eps
        Of the norms.
    tied
        Whether the embedding is also the head.

    Raises
    ------
    ValueError
        For sizes that are not positive or do not fit together.

    Examples
    --------
    >>> from sparsejax.applications.language import LlamaConfig
    >>> LlamaConfig(vocab=64, width=16, depth=2, heads=4, kv_heads=2, head_width=4, hidden=24).tied
    True
    """

    vocab: int
    width: int
    depth: int
    heads: int
    kv_heads: int
    head_width: int
    hidden: int
    rotary_base: float = 10000.0
    norm_eps: float = 1e-5
    tied: bool = True

    def __post_init__(self) -> None:
        check_sizes(self)
        if self.heads % self.kv_heads:
            raise ValueError(f"`kv_heads` must divide `heads` = {self.heads}; got {self.kv_heads}.")
        if self.head_width % 2:
            raise ValueError(f"`head_width` must be even; got {self.head_width}.")


class SwiGLU(eqx.Module):
    """down(silu(gate x) ⊙ up x): Shazeer, GLU variants improve Transformer (2020), (6)."""

    gate: eqx.nn.Linear
    up: eqx.nn.Linear
    down: eqx.nn.Linear

    def __init__(self, width: int, hidden: int, key: PRNGKeyArray):
        keys = jax.random.split(key, 3)
        self.gate = eqx.nn.Linear(width, hidden, use_bias=False, key=keys[0])
        self.up = eqx.nn.Linear(width, hidden, use_bias=False, key=keys[1])
        self.down = eqx.nn.Linear(hidden, width, use_bias=False, key=keys[2])

    def __call__(self, x: Float[Array, "seq width"]) -> Float[Array, "seq width"]:
        gated = jax.nn.silu(jax.vmap(self.gate)(x)) * jax.vmap(self.up)(x)
        return jax.vmap(self.down)(gated)


class LlamaBlock(eqx.Module):
    """x + attention(norm x), then x + SwiGLU(norm x)."""

    attention_norm: eqx.nn.RMSNorm
    attention: Attention
    feed_forward_norm: eqx.nn.RMSNorm
    feed_forward: SwiGLU

    def __init__(self, config: LlamaConfig, key: PRNGKeyArray):
        keys = jax.random.split(key)
        self.attention_norm = _norm(config)
        self.attention = Attention(
            config.width,
            config.heads,
            config.kv_heads,
            config.head_width,
            use_bias=False,
            rotary_base=config.rotary_base,
            key=keys[0],
        )
        self.feed_forward_norm = _norm(config)
        self.feed_forward = SwiGLU(config.width, config.hidden, keys[1])

    def __call__(self, x: Float[Array, "seq width"]) -> Float[Array, "seq width"]:
        x = x + self.attention(jax.vmap(self.attention_norm)(x))
        return x + self.feed_forward(jax.vmap(self.feed_forward_norm)(x))


class Llama(AbstractLanguageModel):
    """A Llama with random weights; ``load`` reads trained ones.

    Parameters
    ----------
    config
        Its sizes.
    key
        Of the random weights.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from sparsejax.applications.language import Llama, LlamaConfig
    >>> config = LlamaConfig(
    ...     vocab=64, width=16, depth=2, heads=4, kv_heads=2, head_width=4, hidden=24
    ... )
    >>> model = Llama(config, jax.random.key(0))
    >>> model(jnp.arange(8)).shape, model.blocks[0](jnp.ones((8, 16))).shape
    ((8, 64), (8, 16))

    Notes
    -----
    Touvron et al., LLaMA (2023), with the grouped queries of Ainslie et al., GQA (2023).
    """

    embedding: eqx.nn.Embedding
    blocks: list[LlamaBlock]
    norm: eqx.nn.RMSNorm
    unembedding: eqx.nn.Linear | None
    config: LlamaConfig = eqx.field(static=True)

    def __init__(self, config: LlamaConfig, key: PRNGKeyArray):
        first, last, *rest = jax.random.split(key, config.depth + 2)
        self.embedding = eqx.nn.Embedding(config.vocab, config.width, key=first)
        self.blocks = [LlamaBlock(config, key) for key in rest]
        self.norm = _norm(config)
        self.unembedding = make_unembedding(config.vocab, config.width, config.tied, last)
        self.config = config

    def embed(self, tokens: Int[Array, "seq"]) -> Float[Array, "seq width"]:
        return self.embedding.weight[tokens]


def _norm(config: LlamaConfig) -> eqx.nn.RMSNorm:
    return eqx.nn.RMSNorm(config.width, config.norm_eps, use_bias=False)
