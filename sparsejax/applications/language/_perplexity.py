"""How well a model predicts text."""

from collections.abc import Iterable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from ..._checks import is_concrete
from ._model import AbstractLanguageModel


def chunks(tokeniser: Any, texts: Iterable[str], length: int) -> Int[np.ndarray, "chunks length"]:
    """Cut texts into pieces of so many tokens; what is left at the end of each is dropped.

    Parameters
    ----------
    tokeniser
        As from ``load_tokeniser``; nothing is put before or after a text.
    texts
        Each is cut on its own, so that no piece spans two.
    length
        Tokens in a piece, 2 or more.

    Raises
    ------
    ValueError
        If ``length`` is less than 2, or no text has so many tokens.

    Examples
    --------
    >>> import tokenizers
    >>> from sparsejax.applications.language import chunks
    >>> vocabulary = {"a": 0, "b": 1}
    >>> letters = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, []))
    >>> chunks(letters, ["abbab", "aa"], 2).tolist()
    [[0, 1], [1, 0], [0, 0]]
    """
    if length < 2:
        raise ValueError(f"`length` must be 2 or more; got {length}.")
    pieces = []
    for text in texts:
        tokens = np.array(tokeniser.encode(text, add_special_tokens=False).ids, np.int32)
        pieces.append(tokens[: tokens.size // length * length].reshape(-1, length))
    found = np.concatenate(pieces) if pieces else np.empty((0, length), np.int32)
    if not len(found):
        raise ValueError(f"`texts` must have at least {length} tokens; none has.")
    return found


def cross_entropy(
    model: AbstractLanguageModel, tokens: Int[Array | np.ndarray, "chunks length"]
) -> Float[Array, "chunks"]:
    """Mean −log p of every token but the first of each piece, given those before it.

    The pieces go through one block after the other, so that one compiled program serves all the
    blocks of a shape; within it they go one by one, which bounds the memory.

    Parameters
    ----------
    model
        A ``Llama`` or a ``GPT``.
    tokens
        As from ``chunks``.

    Raises
    ------
    ValueError
        If ``tokens`` has not two axes, or a number that is no token of the model.

    Examples
    --------
    A model that knows nothing: log 64 = 4.16.

    >>> import jax, jax.numpy as jnp
    >>> from sparsejax.applications.language import GPT, GPTConfig, cross_entropy
    >>> config = GPTConfig(vocab=64, positions=32, width=16, depth=2, heads=4, hidden=64)
    >>> model = jax.tree.map(jnp.zeros_like, GPT(config, jax.random.key(0)))
    >>> cross_entropy(model, jnp.ones((2, 8), int))
    Array([4.1588831, 4.1588831], dtype=float32)
    """
    x = embedded(model, tokens)
    for block in model.blocks:
        x = through(block, x)
    return _losses(_without_blocks(model), x, jnp.asarray(tokens))


def perplexity(
    model: AbstractLanguageModel, tokens: Int[Array | np.ndarray, "chunks length"]
) -> float:
    """exp of the mean cross-entropy of all predicted tokens.

    Parameters
    ----------
    model, tokens
        As for ``cross_entropy``.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from sparsejax.applications.language import GPT, GPTConfig, perplexity
    >>> config = GPTConfig(vocab=64, positions=32, width=16, depth=2, heads=4, hidden=64)
    >>> model = jax.tree.map(jnp.zeros_like, GPT(config, jax.random.key(0)))
    >>> round(perplexity(model, jnp.ones((2, 8), int)), 2)
    64.0
    """
    return float(jnp.exp(jnp.mean(cross_entropy(model, tokens))))


def embedded(
    model: AbstractLanguageModel, tokens: Int[Array | np.ndarray, "chunks length"]
) -> Float[Array, "chunks length width"]:
    """What goes into the first block."""
    return _embed(_without_blocks(model), _checked(tokens, model.embedding.weight.shape[0]))


@eqx.filter_jit
def through(
    block: Any, x: Float[Array, "chunks length width"]
) -> Float[Array, "chunks length width"]:
    """What comes out of a block."""
    return jax.lax.map(block, x)


def _checked(
    tokens: Int[Array | np.ndarray, "chunks length"], vocab: int
) -> Int[Array, "chunks length"]:
    """Tokens that the model knows: JAX would take the last one for any number above."""
    tokens = jnp.asarray(tokens)
    if tokens.ndim != 2 or not jnp.issubdtype(tokens.dtype, jnp.integer):
        raise ValueError(
            f"`tokens` must be integers (chunks, length); got {tokens.dtype} {tokens.shape}."
        )
    message = f"`tokens` must lie in [0, {vocab}), the model's vocabulary."
    wrong = jnp.any((tokens < 0) | (tokens >= vocab))
    if is_concrete(wrong) and bool(wrong):
        raise ValueError(message)
    return eqx.error_if(tokens, wrong, message)


def _without_blocks(model: AbstractLanguageModel) -> AbstractLanguageModel:
    """What comes before and after the blocks: changes to them then recompile nothing."""
    return eqx.tree_at(lambda m: m.blocks, model, [])


@eqx.filter_jit
def _embed(
    model: AbstractLanguageModel, tokens: Int[Array, "chunks length"]
) -> Float[Array, "chunks length width"]:
    return jax.vmap(model.embed)(tokens)


@eqx.filter_jit
def _losses(
    model: AbstractLanguageModel,
    x: Float[Array, "chunks length width"],
    tokens: Int[Array, "chunks length"],
) -> Float[Array, "chunks"]:
    def loss(piece: tuple[Array, Array]) -> Float[Array, ""]:
        x, tokens = piece
        logits = model.head(x[:-1])
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, tokens[1:]))

    return jax.lax.map(loss, (x, tokens))
