"""Packages that only some of the rooms need."""

import importlib
from types import ModuleType


def require(name: str, extra: str) -> ModuleType:
    """Import a package of an extra of ours, or say what to install."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"This needs {name}, which is not installed: pip install 'sparsejax[{extra}]'."
        ) from error
