"""Byte-level tokenisers out of GGUF files."""

from typing import Any

from .._extra import require
from ._gguf import GGUF

_CONTROL = 3  # the type of tokens that no text contains
_SPLITS_DIGITS = {"smollm": True, "gpt-2": False}


def tokeniser_of(file: GGUF) -> Any:
    """The tokeniser whose vocabulary and merges a GGUF file holds.

    Raises
    ------
    ValueError
        If a field is missing, or asks for another kind of tokeniser.
    """
    for name, accepted in (
        ("tokenizer.ggml.model", ("gpt2",)),
        ("tokenizer.ggml.pre", tuple(_SPLITS_DIGITS)),
    ):
        if file.field(name) not in accepted:
            raise ValueError(
                f"{file.name}: the field {name!r} is {file.field(name)!r}; only "
                f"{' or '.join(map(repr, accepted))} is supported."
            )
    tokens, kinds = file.field("tokenizer.ggml.tokens"), file.field("tokenizer.ggml.token_type")
    merges = [tuple(pair.split(" ", 1)) for pair in file.field("tokenizer.ggml.merges")]
    tokenizers = require("tokenizers", "language")
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokeniser = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, merges))
    bytewise = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    digits = tokenizers.pre_tokenizers.Digits(individual_digits=True)
    tokeniser.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [digits, bytewise] if _SPLITS_DIGITS[file.field("tokenizer.ggml.pre")] else [bytewise]
    )
    tokeniser.decoder = tokenizers.decoders.ByteLevel()
    tokeniser.add_special_tokens(
        [token for token, kind in zip(tokens, kinds, strict=True) if kind == _CONTROL]
    )
    return tokeniser
