"""Packages that only this room needs."""

import importlib
from types import ModuleType


def require(name: str) -> ModuleType:
    """Import a package of the extra ``language``, or say what to install."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"This needs {name}, which is not installed: pip install 'sparsejax[language]'."
        ) from error
