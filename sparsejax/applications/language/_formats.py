"""Architectures by the name that ``config.json`` gives them, and what else it says."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from .._sizes import checked_size
from ._gpt import GPT, GPTConfig
from ._layouts import GPT2, LLAMA, OPT, Layout
from ._llama import Llama, LlamaConfig
from ._model import AbstractLanguageModel

_OPT_OFFSET = 2  # rows of its table of positions before the first one


class Format(NamedTuple):
    """An architecture: how to make it, its tensors, and its sizes from and to JSON."""

    make: Callable[..., AbstractLanguageModel]
    layout: Layout
    read: Callable[["Json"], Any]
    write: Callable[[Any], dict[str, Any]]


class Json:
    """What ``config.json`` says; reading it raises errors that name the field."""

    def __init__(self, values: Mapping[str, Any], file: str):
        self.values, self.file = values, file

    def __call__(self, name: str, default: Any = None) -> Any:
        """A field, which may be missing where there is a default."""
        value = self.values.get(name)
        if value is None and default is None:
            raise ValueError(f"{self.file}: the field {name!r} is missing.")
        return default if value is None else value

    def size(self, name: str, default: int | None = None) -> int:
        """A positive integer, which may be missing where there is a default."""
        return checked_size(self(name, default), name, self.file)

    def expect(self, name: str, *accepted: Any) -> None:
        """Raise unless a field, if there at all, has a value that the models here implement."""
        value = self.values.get(name, accepted[0])
        if value not in accepted:
            shown = " or ".join(map(repr, accepted))
            raise ValueError(f"{self.file}: {name!r} is {value!r}; only {shown} is supported.")


def _read_llama(json: Json) -> LlamaConfig:
    json.expect("hidden_act", "silu")
    json.expect("attention_bias", False)
    json.expect("mlp_bias", False)
    json.expect("rope_scaling", None)
    width, heads = json.size("hidden_size"), json.size("num_attention_heads")
    rotary = Json(json("rope_parameters", {}), json.file)  # since version 5 of transformers
    rotary.expect("rope_type", "default")
    return LlamaConfig(
        vocab=json.size("vocab_size"),
        width=width,
        depth=json.size("num_hidden_layers"),
        heads=heads,
        kv_heads=json.size("num_key_value_heads", heads),
        head_width=json.size("head_dim", width // heads),
        hidden=json.size("intermediate_size"),
        rotary_base=float(json("rope_theta", rotary("rope_theta", 10000.0))),
        norm_eps=float(json("rms_norm_eps", 1e-6)),
        tied=json("tie_word_embeddings", False),
    )


def _write_llama(config: LlamaConfig) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "hidden_act": "silu",
        "vocab_size": config.vocab,
        "hidden_size": config.width,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_width,
        "intermediate_size": config.hidden,
        "rope_theta": config.rotary_base,
        "rms_norm_eps": config.norm_eps,
        "tie_word_embeddings": config.tied,
    }


def _read_gpt2(json: Json) -> GPTConfig:
    json.expect("scale_attn_weights", True)
    json.expect("scale_attn_by_inverse_layer_idx", False)
    width = json.size("n_embd")
    return GPTConfig(
        vocab=json.size("vocab_size"),
        positions=json.size("n_positions"),
        width=width,
        depth=json.size("n_layer"),
        heads=json.size("n_head"),
        hidden=json.size("n_inner", 4 * width),
        activation=json("activation_function", "gelu_new"),
        norm_eps=float(json("layer_norm_epsilon", 1e-5)),
        tied=json("tie_word_embeddings", True),
    )


def _write_gpt2(config: GPTConfig) -> dict[str, Any]:
    return {
        "architectures": ["GPT2LMHeadModel"],
        "vocab_size": config.vocab,
        "n_positions": config.positions,
        "n_embd": config.width,
        "n_layer": config.depth,
        "n_head": config.heads,
        "n_inner": config.hidden,
        "activation_function": config.activation,
        "layer_norm_epsilon": config.norm_eps,
        "tie_word_embeddings": config.tied,
    }


def _read_opt(json: Json) -> GPTConfig:
    width = json.size("hidden_size")
    json.expect("do_layer_norm_before", True)
    json.expect("_remove_final_layer_norm", False)
    json.expect("enable_bias", True)
    json.expect("layer_norm_elementwise_affine", True)
    json.expect("word_embed_proj_dim", width, None)
    return GPTConfig(
        vocab=json.size("vocab_size"),
        positions=json.size("max_position_embeddings"),
        width=width,
        depth=json.size("num_hidden_layers"),
        heads=json.size("num_attention_heads"),
        hidden=json.size("ffn_dim"),
        activation=json("activation_function", "relu"),
        position_offset=_OPT_OFFSET,
        tied=json("tie_word_embeddings", True),
    )


def _write_opt(config: GPTConfig) -> dict[str, Any]:
    return {
        "architectures": ["OPTForCausalLM"],
        "do_layer_norm_before": True,
        "vocab_size": config.vocab,
        "max_position_embeddings": config.positions,
        "hidden_size": config.width,
        "word_embed_proj_dim": config.width,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.heads,
        "ffn_dim": config.hidden,
        "activation_function": config.activation,
        "tie_word_embeddings": config.tied,
    }


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "llama": Format(Llama, LLAMA, _read_llama, _write_llama),
        "gpt2": Format(GPT, GPT2, _read_gpt2, _write_gpt2),
        "opt": Format(GPT, OPT, _read_opt, _write_opt),
    }
)


def format_of(model: AbstractLanguageModel) -> str:
    """What ``config.json`` calls the architecture of a model."""
    if isinstance(model, Llama):
        return "llama"
    if isinstance(model, GPT):
        return "opt" if model.config.position_offset == _OPT_OFFSET else "gpt2"
    raise TypeError(f"`model` must be a Llama or a GPT; got {type(model).__name__}.")
