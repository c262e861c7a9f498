"""Llamas out of GGUF files."""

import equinox as eqx
from jaxtyping import Array, Float

from ._assemble import assemble
from ._gguf import GGUF
from ._layouts import LLAMA_GGUF
from ._llama import Llama, LlamaBlock, LlamaConfig


def llama_of(file: GGUF) -> Llama:
    """The model that a GGUF file holds.

    Raises
    ------
    ValueError
        If the architecture is another, or a field or tensor is not as it should be.
    """
    architecture = file.field("general.architecture")
    if architecture != "llama":
        raise ValueError(
            f"{file.name}: the field 'general.architecture' is {architecture!r}; only 'llama' is "
            "supported."
        )
    config = _config(file)
    model = assemble(Llama, config, LLAMA_GGUF, file.tensors, file.tensor, file.name)
    return eqx.tree_at(lambda m: m.blocks, model, [_in_halves(block) for block in model.blocks])


def _config(file: GGUF) -> LlamaConfig:
    scaling = [name for name in file.metadata if name.startswith("llama.rope.scaling.")]
    if scaling:
        raise ValueError(f"{file.name}: the field {scaling[0]!r} is not supported.")
    width, heads = file.size("llama.embedding_length"), file.size("llama.attention.head_count")
    head_width = file.size("llama.attention.key_length", width // heads)
    for name in ("llama.rope.dimension_count", "llama.attention.value_length"):
        if file.size(name, head_width) != head_width:
            raise ValueError(
                f"{file.name}: the field {name!r} is {file.field(name)}; only the width of a "
                f"head, {head_width}, is supported."
            )
    return LlamaConfig(
        vocab=len(file.field("tokenizer.ggml.tokens")),
        width=width,
        depth=file.size("llama.block_count"),
        heads=heads,
        kv_heads=file.size("llama.attention.head_count_kv", heads),
        head_width=head_width,
        hidden=file.size("llama.feed_forward_length"),
        rotary_base=float(file.metadata.get("llama.rope.freq_base", 10000.0)),
        norm_eps=float(file.field("llama.attention.layer_norm_rms_epsilon")),
        tied="output.weight" not in file.tensors,
    )


def _in_halves(block: LlamaBlock) -> LlamaBlock:
    """Bring the rows of queries and keys, which GGUF pairs as neighbours, into `rotate`'s order."""

    def reorder(weight: Float[Array, "outer width"], heads: int) -> Float[Array, "outer width"]:
        pairs = weight.reshape(heads, -1, 2, weight.shape[1])
        return pairs.swapaxes(1, 2).reshape(weight.shape)

    attention = block.attention
    return eqx.tree_at(
        lambda b: (b.attention.query.weight, b.attention.key.weight),
        block,
        (
            reorder(attention.query.weight, attention.heads),
            reorder(attention.key.weight, attention.kv_heads),
        ),
    )
