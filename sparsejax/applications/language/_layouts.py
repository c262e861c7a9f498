"""Which tensor of a file is which leaf of a model."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


class Layout(NamedTuple):
    """Names of tensors, and of the leaves that they hold.

    Attributes
    ----------
    outside
        Leaf of every tensor outside the blocks.
    block
        Prefix of a block's tensors, with a place for its number.
    inside
        Leaves of a block, by name within it; several that a file fuses lie one under another.
    transposed
        Tensors of a block that are stored (in, out).
    ignored
        Ends of the names of tensors that hold nothing the model needs.
    prefix
        What some files leave out in front of all names but that of the head.
    """

    outside: Mapping[str, str]
    block: str
    inside: Mapping[str, tuple[str, ...]]
    transposed: frozenset[str] = frozenset()
    ignored: tuple[str, ...] = ()
    prefix: str = ""

    def entries(self, depth: int, leaves: Mapping[str, Any]) -> Iterator["Entry"]:
        """Every tensor of a model of some depth, as far as it has the leaves."""
        for name, leaf in self.outside.items():
            if leaf in leaves:
                yield Entry(name, (leaf,), False)
        for i in range(depth):
            for name, parts in self.inside.items():
                inner = tuple(f"blocks.{i}.{part}" for part in parts)
                yield Entry(self.block.format(i) + name, inner, name in self.transposed)


class Entry(NamedTuple):
    """A tensor by name, the leaves that it holds, and whether it is stored (in, out)."""

    name: str
    leaves: tuple[str, ...]
    transposed: bool


def _weights(names: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    return {f"{name}.weight": (f"{leaf}.weight",) for name, leaf in names.items()}


def _biased(names: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    return {
        f"{name}.{kind}": tuple(f"{leaf}.{kind}" for leaf in leaves)
        for name, leaves in names.items()
        for kind in ("weight", "bias")
    }


LLAMA = Layout(
    outside={
        "model.embed_tokens.weight": "embedding.weight",
        "model.norm.weight": "norm.weight",
        "lm_head.weight": "unembedding.weight",
    },
    block="model.layers.{}.",
    inside=_weights(
        {
            "input_layernorm": "attention_norm",
            "self_attn.q_proj": "attention.query",
            "self_attn.k_proj": "attention.key",
            "self_attn.v_proj": "attention.value",
            "self_attn.o_proj": "attention.output",
            "post_attention_layernorm": "feed_forward_norm",
            "mlp.gate_proj": "feed_forward.gate",
            "mlp.up_proj": "feed_forward.up",
            "mlp.down_proj": "feed_forward.down",
        }
    ),
    ignored=("rotary_emb.inv_freq",),
    prefix="model.",
)

LLAMA_GGUF = Layout(
    outside={
        "token_embd.weight": "embedding.weight",
        "output_norm.weight": "norm.weight",
        "output.weight": "unembedding.weight",
    },
    block="blk.{}.",
    inside=_weights(
        {
            "attn_norm": "attention_norm",
            "attn_q": "attention.query",
            "attn_k": "attention.key",
            "attn_v": "attention.value",
            "attn_output": "attention.output",
            "ffn_norm": "feed_forward_norm",
            "ffn_gate": "feed_forward.gate",
            "ffn_up": "feed_forward.up",
            "ffn_down": "feed_forward.down",
        }
    ),
)

GPT2 = Layout(
    outside={
        "transformer.wte.weight": "embedding.weight",
        "transformer.wpe.weight": "position.weight",
        "transformer.ln_f.weight": "norm.weight",
        "transformer.ln_f.bias": "norm.bias",
        "lm_head.weight": "unembedding.weight",
    },
    block="transformer.h.{}.",
    inside=_biased(
        {
            "ln_1": ("attention_norm",),
            "attn.c_attn": ("attention.query", "attention.key", "attention.value"),
            "attn.c_proj": ("attention.output",),
            "ln_2": ("feed_forward_norm",),
            "mlp.c_fc": ("feed_forward.up",),
            "mlp.c_proj": ("feed_forward.down",),
        }
    ),
    transposed=frozenset(
        {"attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight"}
    ),
    ignored=(".attn.bias", ".attn.masked_bias"),
    prefix="transformer.",
)

OPT = Layout(
    outside={
        "model.decoder.embed_tokens.weight": "embedding.weight",
        "model.decoder.embed_positions.weight": "position.weight",
        "model.decoder.final_layer_norm.weight": "norm.weight",
        "model.decoder.final_layer_norm.bias": "norm.bias",
        "lm_head.weight": "unembedding.weight",
    },
    block="model.decoder.layers.{}.",
    inside=_biased(
        {
            "self_attn_layer_norm": ("attention_norm",),
            "self_attn.q_proj": ("attention.query",),
            "self_attn.k_proj": ("attention.key",),
            "self_attn.v_proj": ("attention.value",),
            "self_attn.out_proj": ("attention.output",),
            "final_layer_norm": ("feed_forward_norm",),
            "fc1": ("feed_forward.up",),
            "fc2": ("feed_forward.down",),
        }
    ),
    prefix="model.",
)
