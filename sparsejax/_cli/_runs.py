"""What commands share that run for long: bars, a folder to go on from, results."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sparsejax.nn._leaves import named_leaves

from ._errors import SolveError, explained
from ._folder import checked_target, output_folder
from ._report import print_written


def unfinished_of(target: Path) -> Path:
    """Where a run is kept until it has ended; raises as ``checked_target``."""
    target = checked_target(target)
    return target.with_name(f"{target.name}-unfinished")


@contextmanager
def progress_bars(console: Console) -> Iterator[Progress]:
    """Progress on the terminal; what the library says of its troubles becomes a line there."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress, explained():
        try:
            yield progress
        except FloatingPointError as error:
            raise SolveError(str(error)) from error


@contextmanager
def results(target: Path, unfinished: Path, console: Console) -> Iterator[Path]:
    """An ``output_folder``; once it is published, nothing is left unfinished."""
    with output_folder(target) as folder:
        yield folder
        files = sorted(file.name for file in folder.iterdir())
    shutil.rmtree(unfinished, ignore_errors=True)
    print_written(files, target, console)


def save_leaves(tree: Any, file: Path) -> None:
    """The arrays of a tree, by name, as NPZ."""
    leaves = named_leaves(tree)
    arrays = {name: np.asarray(leaf) for name, leaf in leaves.items() if leaf is not None}
    np.savez(file, allow_pickle=False, **arrays)
