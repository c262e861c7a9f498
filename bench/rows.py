"""Rows of results as CSV files."""

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def read(path: Path) -> list[dict[str, str]]:
    """What is there already."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """All rows, which have the same columns; a process that dies leaves the file as it was."""
    scratch = path.with_name(f".{path.name}-{os.getpid()}")
    with scratch.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    scratch.replace(path)


def updated(
    old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]], keys: Sequence[str]
) -> list[Mapping[str, Any]]:
    """Rows that were measured again in the place of those with the same keys, others at the end."""
    rows = {tuple(row[key] for key in keys): row for row in (*old, *new)}
    return list(rows.values())
