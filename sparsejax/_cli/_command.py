import math
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console


@dataclass(frozen=True)
class Command:
    """A subcommand: `add_arguments` fills its parser, `run` works and may raise UserError."""

    name: str
    help: str
    description: str
    add_arguments: Callable[[ArgumentParser], None]
    run: Callable[[Namespace, Console], None]
    double: bool = True  # whether it computes in double precision, unless told not to


def count(least: int) -> Callable[[str], int]:
    """A type of arguments: whole numbers from `least` on."""

    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise ArgumentTypeError(f"must be a whole number >= {least}, not {text!r}")
        return int(text)

    return parse


def positive(text: str) -> float:
    """A type of arguments: finite numbers above zero."""
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found < math.inf:
        raise ArgumentTypeError(f"must be a number > 0, not {text!r}")
    return found
