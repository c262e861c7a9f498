"""Copies of modules with some fields changed."""

import dataclasses
from typing import Any, TypeVar

import equinox as eqx

_Module = TypeVar("_Module", bound=eqx.Module)


def replace(module: _Module, **changes: Any) -> _Module:
    """The module with some fields changed, static ones too, and nothing converted or checked again.

    For values that are known to be right; ``dataclasses.replace`` would run the constructor.
    """
    new = object.__new__(type(module))
    for field in dataclasses.fields(module):  # type: ignore[arg-type]  # modules are dataclasses
        value = changes[field.name] if field.name in changes else getattr(module, field.name)
        object.__setattr__(new, field.name, value)
    return new
