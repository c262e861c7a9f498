"""Safetensors files: named arrays."""

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ._extra import require


class Tensors:
    """The arrays of a file, read when asked for.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    ValueError
        On entering, if it is truncated or not in the format.
    """

    names: tuple[str, ...]

    def __init__(self, path: Path):
        self._path = path

    def __enter__(self) -> "Tensors":
        safetensors = require("safetensors")
        try:
            self._file = safetensors.safe_open(str(self._path), "numpy")
        except safetensors.SafetensorError as error:
            raise ValueError(
                f"{self._path.name}: truncated, or not a safetensors file ({error})."
            ) from error
        self._file.__enter__()
        self.names = tuple(self._file.keys())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.__exit__(kind, error, trace)

    def read(self, name: str) -> np.ndarray:
        """One array; numbers of less than single precision become single."""
        array = self._file.get_tensor(name)
        return array if array.dtype == np.float64 else np.asarray(array, np.float32)


def write_tensors(tensors: Mapping[str, np.ndarray], path: Path) -> None:
    """Write a file that appears complete or not at all."""
    save_file = require("safetensors.numpy").save_file
    # Hugging Face's own loader insists on being told a framework.
    write_atomically(path, lambda file: save_file(dict(tensors), str(file), {"format": "pt"}))


def write_atomically(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` fill a scratch file beside `path`, then rename it."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    os.close(handle)
    scratch = Path(name)
    try:
        write(scratch)
        scratch.chmod(0o644)  # mkstemp's 0o600 is for secrets
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)
