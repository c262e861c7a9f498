"""Prune a language model block by block; what is done survives the process."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Int

from ... import nn
from ...nn._layerwise import Data
from ...nn._leaves import named_leaves
from .._files import claim_folder, digest, write_atomically
from ._model import AbstractLanguageModel
from ._perplexity import embedded


class Pruned(NamedTuple):
    """A pruned model, and what was lost.

    Attributes
    ----------
    model
        With exact zeros in the linear maps of its blocks; embedding, norms and head as they were.
    errors
        For each block, by the name of its linear maps, the part of the squared norm of their
        outputs that is lost on held-out inputs.
    """

    model: AbstractLanguageModel
    errors: tuple[dict[str, float], ...]


def prune(
    model: AbstractLanguageModel,
    tokens: Int[Array | np.ndarray, "chunks length"],
    method: Any,
    pattern: nn.AbstractPattern,
    *,
    held_out: Int[Array | np.ndarray, "chunks length"],
    data: Data = "SD",
    checkpoint: str | os.PathLike[str] | None = None,
    callback: Callable[[int], None] | None = None,
) -> Pruned:
    """Prune every linear map in the blocks of a language model, without training.

    Parameters
    ----------
    model
        A ``Llama`` or a ``GPT``.
    tokens
        To calibrate on, as from ``chunks``; 128 pieces are usual.
    method
        As of ``sparsejax.nn.prune_layerwise``: a name, or ``Refitted``, or a function.
    pattern
        For every linear map.
    held_out
        Tokens that are not calibrated on, for the errors.
    data
        As of ``sparsejax.nn.prune_layerwise``.
    checkpoint
        A folder that gets a file after every block. If the process dies, the same call goes on
        after the last one and ends in the same bits. Delete it when the result is safe.
    callback
        Called with the number of finished blocks at the start and after every block.

    Returns
    -------
    pruned

    Raises
    ------
    ValueError
        If ``checkpoint`` holds a run with other arguments, or as of ``prune_layerwise``.

    Examples
    --------
    >>> import jax, sparsejax as sj
    >>> from sparsejax.applications import language
    >>> config = language.LlamaConfig(
    ...     vocab=64, width=16, depth=2, heads=4, kv_heads=2, head_width=4, hidden=24
    ... )
    >>> model = language.Llama(config, jax.random.key(0))
    >>> tokens, held_out = jax.random.randint(jax.random.key(1), (2, 4, 8), 0, 64)
    >>> pruned = language.prune(model, tokens, "sparsegpt", sj.nn.NM(2, 4), held_out=held_out)
    >>> weight = pruned.model.blocks[1].feed_forward.up.weight
    >>> float((weight == 0).mean()), len(pruned.errors[1])
    (0.5, 7)
    """
    inputs, others = embedded(model, tokens), embedded(model, held_out)
    saved = None if checkpoint is None else _Checkpoint(Path(checkpoint), model.blocks)
    resume = None
    if saved is not None:
        resume = saved.open(_fingerprint(model, tokens, held_out, method, pattern, data))
    if callback is not None:
        callback(0 if resume is None else len(resume.blocks))

    def after(result: nn.LayerwiseResult) -> None:
        if saved is not None:
            saved.add(result)
        if callback is not None:
            callback(len(result.blocks))

    result = nn.prune_layerwise(
        model.blocks,
        inputs,
        method,
        pattern,
        data=data,
        held_out=others,
        resume=resume,
        callback=after,
    )
    errors = tuple(map(_in_order, model.blocks, result.errors))
    return Pruned(eqx.tree_at(lambda m: m.blocks, model, list(result.blocks)), errors)


def _in_order(block: Any, errors: dict[str, Array]) -> dict[str, float]:
    """By the order of the maps in the block; pytrees that went through a file are sorted."""
    names = [name.removesuffix(".weight") for name in named_leaves(block)]
    return {name: float(errors[name]) for name in names if name in errors}


class _Checkpoint:
    """A folder with what identifies a run, and one file a finished block."""

    def __init__(self, folder: Path, blocks: list):
        self._folder, self._blocks = folder, blocks

    def open(self, run: dict[str, str]) -> nn.LayerwiseResult:
        """What the run had finished; nothing if it is new."""
        claim_folder(self._folder, run, "checkpoint")
        done = nn.LayerwiseResult((), (), ())
        for i, block in enumerate(self._blocks):
            if not self._file(i).exists():
                break
            like = nn.LayerwiseResult.like([block])
            done = _joined(done, eqx.tree_deserialise_leaves(self._file(i), like))
        return done

    def add(self, result: nn.LayerwiseResult) -> None:
        """Save the last block."""
        last = nn.LayerwiseResult(result.blocks[-1:], result.masks[-1:], result.errors[-1:])

        def write(scratch: Path) -> None:
            with scratch.open("wb") as stream:  # given a name, Equinox would add a suffix
                eqx.tree_serialise_leaves(stream, last)

        write_atomically(self._file(len(result.blocks) - 1), write)

    def _file(self, i: int) -> Path:
        return self._folder / f"block-{i:03d}.eqx"


def _joined(a: nn.LayerwiseResult, b: nn.LayerwiseResult) -> nn.LayerwiseResult:
    return nn.LayerwiseResult((*a.blocks, *b.blocks), (*a.masks, *b.masks), (*a.errors, *b.errors))


def _fingerprint(
    model: AbstractLanguageModel, tokens: Any, held_out: Any, method: Any, pattern: Any, data: Data
) -> dict[str, str]:
    """What must be the same for a run to go on."""
    return {
        "model": digest(*jax.tree.leaves(model)),
        "tokens": digest(tokens),
        "held_out": digest(held_out),
        "method": repr(method),
        "pattern": repr(pattern),
        "data": data,
    }
