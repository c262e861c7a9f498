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


def number(meaning: str, holds: Callable[[float], bool]) -> Callable[[str], float]:
    """A type of arguments: numbers of which something holds, not of NaN."""

    def parse(text: str) -> float:
        try:
            found = float(text)
        except ValueError:
            found = math.nan
        if not holds(found):
            raise ArgumentTypeError(f"must be a number {meaning}, not {text!r}")
        return found

    return parse


positive = number("> 0", lambda x: 0 < x < math.inf)


def add_counts(parser: ArgumentParser, *options: tuple[str, int, int | None, str]) -> None:
    """Options that are whole numbers: the name, the least, the default, and what it counts."""
    for name, least, default, of in options:
        shown = of if default is None else f"{of} (default: %(default)s)"
        parser.add_argument(
            f"--{name}", type=count(least), default=default, metavar="N", help=shown
        )
