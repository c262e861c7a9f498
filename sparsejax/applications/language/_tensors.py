"""Safetensors files: named arrays."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import numpy as np

from .._extra import require
from .._files import write_atomically


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
        safetensors = require("safetensors", "language")
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
    save_file = require("safetensors.numpy", "language").save_file
    # Hugging Face's own loader insists on being told a framework.
    write_atomically(path, lambda file: save_file(dict(tensors), str(file), {"format": "pt"}))
