"""Checks of sizes."""

import dataclasses
from collections.abc import Sequence
from typing import Any


def check_sizes(config: Any, may_be_zero: Sequence[str] = ()) -> None:
    """Raise unless every integer field of a dataclass is one and positive."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.type is not int:
            continue
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"`{field.name}` must be an integer; got {value!r}.")
        if value < (0 if field.name in may_be_zero else 1):
            raise ValueError(f"`{field.name}` must be positive; got {value}.")


def checked_size(value: Any, field: str, file: str) -> int:
    """A size that a file gives, or an error that names its field."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{file}: the field {field!r} is {value!r}; must be a positive integer.")
    return value
