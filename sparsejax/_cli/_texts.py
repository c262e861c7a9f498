"""Texts to calibrate a language model on, and others to judge it by."""

import gzip
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sparsejax.applications import language

from ._errors import UserError

_HELD_OUT = 5  # without a text of its own, one in so many pieces is held out: the last ones


class Tokens(NamedTuple):
    """Pieces of equal length, (sequences, length) each."""

    calibration: np.ndarray
    held_out: np.ndarray


def read_tokens(
    tokeniser: Any, text: Path, held_out: Path | None, sequences: int, length: int, seed: int
) -> Tokens:
    """Draw pieces to calibrate on, and as many to hold out.

    Without a text of their own, those held out come from the end of the one there is, where no
    piece to calibrate on is taken from.

    Raises
    ------
    UserError
        If a file cannot be read, or is too short.
    """
    pieces = _pieces(tokeniser, text, length)
    if held_out is None:
        cut = len(pieces) - max(len(pieces) // _HELD_OUT, 1)
        pieces, others = pieces[:cut], pieces[cut:]
    else:
        others = _pieces(tokeniser, held_out, length)
    if not len(pieces):
        raise UserError(f"{text.name}: too short to hold a part of it out; use --held-out.")
    rng = np.random.default_rng(seed)
    return Tokens(_drawn(rng, pieces, sequences), _drawn(rng, others, sequences))


def _drawn(rng: np.random.Generator, pieces: np.ndarray, count: int) -> np.ndarray:
    """Some of the pieces, in their order; all if there are fewer."""
    if len(pieces) <= count:
        return pieces
    return pieces[np.sort(rng.choice(len(pieces), count, replace=False))]


def _pieces(tokeniser: Any, path: Path, length: int) -> np.ndarray:
    if not path.is_file():
        raise UserError(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}.")
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8") as stream:
            text = stream.read()
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise UserError(f"{path.name}: cannot be read as text ({error}).") from error
    try:
        return language.chunks(tokeniser, [text], length)
    except ValueError:
        raise UserError(f"{path.name}: shorter than one piece of {length} tokens.") from None
