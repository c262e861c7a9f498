"""Files that are complete, and what identifies the data of a run."""

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


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


def digest(*arrays: Any) -> str:
    """A short text that differs if any entry, shape or precision does."""
    found = hashlib.blake2b(digest_size=16)
    for array in map(np.asarray, arrays):
        found.update(f"{array.dtype}{array.shape}".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()
