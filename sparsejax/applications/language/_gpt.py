"""GPT-2 and OPT: learned positions, layer norms before each half of a block, biases throughout."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .._sizes import check_sizes
from ._attention import Attention
from ._model import AbstractLanguageModel, make_unembedding

ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = MappingProxyType(
    {
        "relu": jax.nn.relu,
        "gelu": partial(jax.nn.gelu, approximate=False),
        "gelu_new": partial(jax.nn.gelu, approximate=True),
    }
)


@dataclasses.dataclass(frozen=True)
class GPTConfig:
    """Sizes of a GPT-2 or an OPT.

    Attributes
    ----------
    vocab
        How many tokens there are.
    positions
        The longest sequence.
    width
        Of the activations.
    depth
        How many blocks.
    heads
        How many; must divide the width.
    hidden
        Width within the feed-forward half of a block.
    activation
        ``"gelu_new"`` (GPT-2), ``"relu"`` (OPT) or ``"gelu"``.
    position_offset
        Rows of the table of positions before the first one: 2 in OPT.
    norm_eps
        Of the norms.
    tied
        Whether the embedding is also the head.

    Raises
    ------
    ValueError
        For sizes that are not positive or do not fit together, or another activation.

    Examples
    --------
    >>> from sparsejax.applications.language import GPTConfig
    >>> GPTConfig(vocab=64, positions=32, width=16, depth=2, heads=4, hidden=64).activation
    'gelu_new'
    """

    vocab: int
    positions: int
    width: int
    depth: int
    heads: int
    hidden: int
    activation: str = "gelu_new"
    position_offset: int = 0
    norm_eps: float = 1e-5
    tied: bool = True

    def __post_init__(self) -> None:
        check_sizes(self, may_be_zero=("position_offset",))
        if self.width % self.heads:
            raise ValueError(f"`heads` must divide `width` = {self.width}; got {self.heads}.")
        if self.activation not in ACTIVATIONS:
            known = ", ".join(map(repr, ACTIVATIONS))
            raise ValueError(f"`activation` must be one of {known}; got {self.activation!r}.")


class FeedForward(eqx.Module):
    """down(activation(up x))."""

    up: eqx.nn.Linear
    down: eqx.nn.Linear
    activation: str = eqx.field(static=True)

    def __init__(self, config: GPTConfig, key: PRNGKeyArray):
        keys = jax.random.split(key)
        self.up = eqx.nn.Linear(config.width, config.hidden, key=keys[0])
        self.down = eqx.nn.Linear(config.hidden, config.width, key=keys[1])
        self.activation = config.activation

    def __call__(self, x: Float[Array, "seq width"]) -> Float[Array, "seq width"]:
        return jax.vmap(self.down)(ACTIVATIONS[self.activation](jax.vmap(self.up)(x)))


class GPTBlock(eqx.Module):
    """x + attention(norm x), then x + feed_forward(norm x)."""

    attention_norm: eqx.nn.LayerNorm
    attention: Attention
    feed_forward_norm: eqx.nn.LayerNorm
    feed_forward: FeedForward

    def __init__(self, config: GPTConfig, key: PRNGKeyArray):
        keys = jax.random.split(key)
        self.attention_norm = eqx.nn.LayerNorm(config.width, config.norm_eps)
        self.attention = Attention(
            config.width,
            config.heads,
            config.heads,
            config.width // config.heads,
            use_bias=True,
            rotary_base=None,
            key=keys[0],
        )
        self.feed_forward_norm = eqx.nn.LayerNorm(config.width, config.norm_eps)
        self.feed_forward = FeedForward(config, keys[1])

    def __call__(self, x: Float[Array, "seq width"]) -> Float[Array, "seq width"]:
        x = x + self.attention(jax.vmap(self.attention_norm)(x))
        return x + self.feed_forward(jax.vmap(self.feed_forward_norm)(x))


class GPT(AbstractLanguageModel):
    """A GPT-2 or OPT with random weights; ``load`` reads trained ones.

    Parameters
    ----------
    config
        Its sizes.
    key
        Of the random weights.

    Raises
    ------
    ValueError
        When called with more tokens than there are positions.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from sparsejax.applications.language import GPT, GPTConfig
    >>> config = GPTConfig(vocab=64, positions=32, width=16, depth=2, heads=4, hidden=64)
    >>> GPT(config, jax.random.key(0))(jnp.arange(8)).shape
    (8, 64)

    Notes
    -----
    Radford et al., Language models are unsupervised multitask learners (2019); Zhang et al., OPT
    (2022).
    """

    embedding: eqx.nn.Embedding
    position: eqx.nn.Embedding
    blocks: list[GPTBlock]
    norm: eqx.nn.LayerNorm
    unembedding: eqx.nn.Linear | None
    config: GPTConfig = eqx.field(static=True)

    def __init__(self, config: GPTConfig, key: PRNGKeyArray):
        first, second, last, *rest = jax.random.split(key, config.depth + 3)
        self.embedding = eqx.nn.Embedding(config.vocab, config.width, key=first)
        rows = config.positions + config.position_offset
        self.position = eqx.nn.Embedding(rows, config.width, key=second)
        self.blocks = [GPTBlock(config, key) for key in rest]
        self.norm = eqx.nn.LayerNorm(config.width, config.norm_eps)
        self.unembedding = make_unembedding(config.vocab, config.width, config.tied, last)
        self.config = config

    def embed(self, tokens: Int[Array, "seq"]) -> Float[Array, "seq width"]:
        if tokens.size > self.config.positions:
            raise ValueError(
                f"`tokens` must be at most {self.config.positions}, the model's positions; "
                f"got {tokens.size}."
            )
        places = jnp.arange(tokens.size) + self.config.position_offset
        return self.embedding.weight[tokens] + self.position.weight[places]
