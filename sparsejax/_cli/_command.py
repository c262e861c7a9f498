from argparse import ArgumentParser, Namespace
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
