"""Checks of sizes."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from .._checks import check_integer


def check_sizes(config: Any, may_be_zero: Sequence[str] = ()) -> None:
    """Raise unless every integer field of a dataclass is one and positive."""
    for field in dataclasses.fields(config):
        if field.type is int:
            least = 0 if field.name in may_be_zero else 1
            check_integer(field.name, getattr(config, field.name), least)


def checked_size(value: Any, field: str, file: str) -> int:
    """A size that a file gives, or an error that names its field."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{file}: the field {field!r} is {value!r}; must be a positive integer.")
    return value
