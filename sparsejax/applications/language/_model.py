"""What a language model of this room is."""

import abc
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float, Int, PRNGKeyArray


class AbstractLanguageModel(eqx.Module):
    """A decoder: tokens are embedded, go through blocks, and each predicts the next one.

    Blocks are modules of one class and act on one sample's activations, (seq, width), so that they
    can be taken one by one; their linear maps are ``equinox.nn.Linear``.
    """

    embedding: eqx.AbstractVar[eqx.nn.Embedding]
    blocks: eqx.AbstractVar[list]
    norm: eqx.AbstractVar[eqx.nn.RMSNorm | eqx.nn.LayerNorm]
    config: eqx.AbstractVar[Any]
    unembedding: eqx.AbstractVar[eqx.nn.Linear | None]  # None: the embedding's weight

    @abc.abstractmethod
    def embed(self, tokens: Int[Array, "seq"]) -> Float[Array, "seq width"]:
        """What goes into the first block."""

    def head(self, x: Float[Array, "seq width"]) -> Float[Array, "seq vocab"]:
        """Logits of the next token, from what comes out of the last block."""
        last = self.embedding if self.unembedding is None else self.unembedding
        return jax.vmap(self.norm)(x) @ last.weight.T

    def __call__(self, tokens: Int[Array, "seq"]) -> Float[Array, "seq vocab"]:
        """Logits of the next token at every place."""
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def make_unembedding(vocab: int, width: int, tied: bool, key: PRNGKeyArray) -> eqx.nn.Linear | None:
    """A random head, unless the embedding is the head."""
    return None if tied else eqx.nn.Linear(width, vocab, use_bias=False, key=key)
