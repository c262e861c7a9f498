"""Read GGUF files, the format of llama.cpp.

The header is parsed here rather than by ``gguf.GGUFReader``, which takes seconds over a vocabulary
and cannot say where a truncated file ends; the quantised formats are that package's.
"""

import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .._extra import require
from .._sizes import checked_size

_VERSIONS = (2, 3)
_STRING, _ARRAY = 8, 9
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?"} | {
    10: "Q",
    11: "q",
    12: "d",
}


class _Place(NamedTuple):
    """Where a tensor lies: its shape, NumPy's order, its format and its first byte."""

    shape: tuple[int, ...]
    kind: int
    start: int


class GGUF:
    """An open file: its metadata, and its tensors when asked for.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    ValueError
        If it is not a GGUF file, or ends early: the message names the field.
    """

    metadata: Mapping[str, Any]
    tensors: Mapping[str, _Place]

    def __init__(self, path: Path):
        self.name = path.name
        self._reader = reader = _Reader(path)
        if reader.size < 4 or bytes(reader.take(4)) != b"GGUF":
            raise ValueError(f"{self.name}: not a GGUF file.")
        version = reader.scalar("I")
        if version not in _VERSIONS:
            raise ValueError(f"{self.name}: version {version} of GGUF; {_VERSIONS} can be read.")
        num_tensors, num_fields = reader.scalar("Q"), reader.scalar("Q")
        self.metadata = dict(reader.field() for _ in range(num_fields))
        places = dict(reader.place() for _ in range(num_tensors))
        alignment = self.metadata.get("general.alignment", 32)
        start = -(-reader.at // alignment) * alignment
        self.tensors = {
            name: place._replace(start=start + place.start) for name, place in places.items()
        }

    def field(self, name: str) -> Any:
        """A value of the metadata; an error that names it where it is missing."""
        if name not in self.metadata:
            raise ValueError(f"{self.name}: the field {name!r} is missing.")
        return self.metadata[name]

    def size(self, name: str, default: int | None = None) -> int:
        """A positive integer of the metadata, which may be missing where there is a default."""
        value = self.field(name) if default is None else self.metadata.get(name, default)
        return checked_size(value, name, self.name)

    def tensor(self, name: str) -> np.ndarray:
        """A tensor in single precision, whatever it is stored in.

        Raises
        ------
        KeyError
            If there is none of that name.
        ValueError
            If the file ends within it, or stores it in a format that `gguf` cannot read.
        """
        gguf = require("gguf", "language")
        place = self.tensors[name]
        *rows, width = place.shape
        try:
            kind = gguf.GGMLQuantizationType(place.kind)
            per_block, num_bytes = gguf.GGML_QUANT_SIZES[kind]
        except (ValueError, KeyError) as error:
            raise self._unknown(name, place.kind) from error
        row = width // per_block * num_bytes
        data = self._reader.jump(name, place.start).take(math.prod(rows) * row)
        try:
            values = gguf.dequantize(data.reshape(*rows, row), kind)
        except NotImplementedError as error:
            raise self._unknown(name, kind.name) from error
        return np.asarray(values, np.float32).reshape(place.shape)

    def _unknown(self, name: str, kind: Any) -> ValueError:
        return ValueError(f"{self.name}: tensor {name!r} is in the format {kind}; not supported.")


class _Reader:
    """Goes through the bytes of a file, and knows the field it is in."""

    def __init__(self, path: Path):
        self.size = path.stat().st_size
        self._data = np.memmap(path, np.uint8, "r") if self.size else np.empty(0, np.uint8)
        self._file, self._field, self.at = path.name, "the header", 0

    def jump(self, field: str, at: int) -> "_Reader":
        self._field, self.at = repr(field), at
        return self

    def take(self, count: int) -> np.ndarray:
        if self.at + count > self.size:
            raise ValueError(
                f"{self._file}: truncated: {self.size} bytes end within {self._field}, which "
                f"takes up those to {self.at + count} at least."
            )
        self.at += count
        return self._data[self.at - count : self.at]

    def scalars(self, kind: str, count: int) -> tuple:
        return struct.unpack(f"<{count}{kind}", self.take(count * struct.calcsize(kind)).tobytes())

    def scalar(self, kind: str) -> Any:
        return self.scalars(kind, 1)[0]

    def string(self) -> str:
        text = self.take(self.scalar("Q")).tobytes()
        try:
            return text.decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"{self._file}: {self._field} is not text ({error}).") from error

    def field(self) -> tuple[str, Any]:
        name = self.string()
        self._field = repr(name)
        return name, self._value(self.scalar("I"))

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.string()
        if kind == _ARRAY:
            kind, count = self.scalar("I"), self.scalar("Q")
            if kind in _SCALARS:
                return list(self.scalars(_SCALARS[kind], count))
            return [self._value(kind) for _ in range(count)]
        if kind not in _SCALARS:
            raise ValueError(f"{self._file}: {self._field} has the unknown type {kind}.")
        return self.scalar(_SCALARS[kind])

    def place(self) -> tuple[str, _Place]:
        name = self.string()
        self._field = repr(name)
        shape = self.scalars("Q", self.scalar("I"))[::-1]
        kind, start = self.scalar("I"), self.scalar("Q")
        return name, _Place(shape, kind, start)
