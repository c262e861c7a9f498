"""Read a user's table into a design and a target, and say in one line what is wrong with it."""

import csv
import difflib
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ._errors import UserError

_MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})


class Table(NamedTuple):
    """Numbers ready to fit: X (n, p), y (n,), and what the columns are called."""

    X: np.ndarray
    y: np.ndarray
    names: tuple[str, ...]
    target: str


def read_table(path: Path, target: str | None, drop: Sequence[str] = ()) -> Table:
    """Read a CSV, TSV, Parquet or NPZ file.

    Parameters
    ----------
    path
        The file; its extension says what it is.
    target
        The target column, or the array of an NPZ file ("y" if None).
    drop
        Columns to leave out.

    Raises
    ------
    UserError
        For every problem with the file or its content.
    """
    if path.suffix.lower() not in _READERS:
        known = ", ".join(_READERS)
        raise UserError(f"{path.name}: cannot tell the format from the extension; use {known}.")
    if not path.is_file():
        raise UserError(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}.")
    try:
        table = _READERS[path.suffix.lower()](path, target, drop)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path.name}: cannot be read ({error}).") from error
    _check_numbers(table, path.name)
    return table


def _check_numbers(table: Table, file: str) -> None:
    if table.X.shape[0] == 0:
        raise UserError(f"{file}: the table is empty: it has no rows.")
    if table.X.shape[1] == 0:
        raise UserError(f"{file}: no feature columns are left beside the target.")
    for name, column in zip((*table.names, table.target), (*table.X.T, table.y), strict=True):
        bad = np.flatnonzero(~np.isfinite(column))
        if bad.size:
            what = "infinite" if np.isinf(column[bad[0]]) else "missing or NaN"
            raise UserError(
                f"{file}: column {name!r} is {what} in row {bad[0] + 1} ({bad.size} such rows); "
                "fill or remove them, or leave the column out with --drop."
            )
    if np.ptp(table.y) == 0:
        raise UserError(
            f"{file}: target {table.target!r} is constant ({table.y[0]:g}): nothing to fit."
        )


def _split(columns: dict[str, np.ndarray], target: str | None, drop: Sequence[str], file: str):
    if target is None:
        raise UserError(f"--target is needed: which column of {file} is to be predicted?")
    for name in (target, *drop):
        if name not in columns:
            raise UserError(f"{file}: no column {name!r}{_suggest(name, columns)}")
    if target in drop:
        raise UserError(f"--drop names the target {target!r}.")
    kept = {name: column for name, column in columns.items() if name not in drop}
    text = [name for name, column in kept.items() if column.dtype.kind not in "fiub"]
    if text:
        shown = ", ".join(map(repr, text[:5])) + (f" and {len(text) - 5} more" if text[5:] else "")
        raise UserError(
            f"{file}: column{'s' * (len(text) > 1)} {shown} not numeric (such as "
            f"{_example(kept[text[0]])!r}); encode as numbers, or leave out with --drop."
        )
    y = kept.pop(target).astype(np.float64)
    X = np.empty((y.size, len(kept)))
    for j, column in enumerate(kept.values()):
        X[:, j] = column
    return Table(X, y, tuple(kept), target)


def _suggest(name: str, columns: Sequence[str] | dict[str, np.ndarray]) -> str:
    folded = {column.lower(): column for column in columns}
    close = difflib.get_close_matches(name.lower(), folded, n=3, cutoff=0.6)
    if close:
        return "; did you mean " + " or ".join(repr(folded[key]) for key in close) + "?"
    some = ", ".join(map(repr, list(columns)[:5])) + (", …" if len(columns) > 5 else "")
    return f"; the columns are {some}."


def _example(column: np.ndarray) -> str:
    """The first cell that is not a number."""
    for cell in column:
        if str(cell).strip().lower() not in _MISSING and _number(str(cell)) is None:
            return str(cell)
    return str(column[0])


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _read_csv(path: Path, target: str | None, drop: Sequence[str]) -> Table:
    with path.open(newline="", encoding="utf-8-sig") as stream:
        first = next((line for line in stream if line.strip()), "")
        # That which makes the most cells: quoted ones may hold the others.
        delimiter = max(",;\t", key=lambda mark: len(next(csv.reader([first], delimiter=mark), ())))
        stream.seek(0)
        rows = [row for row in csv.reader(stream, delimiter=delimiter) if row]
    if not rows:
        raise UserError(f"{path.name}: the table is empty.")
    header = [cell.strip() for cell in rows.pop(0)]
    _check_header(header, drop, path.name)
    for i, row in enumerate(rows):
        if len(row) != len(header):
            raise UserError(
                f"{path.name}: row {i + 1} has {len(row)} cells, the header has {len(header)}."
            )
    cells = zip(*rows, strict=True) if rows else ((),) * len(header)
    columns = {name: _numeric(column) for name, column in zip(header, cells, strict=True)}
    return _split(columns, target, drop, path.name)


def _check_header(header: list[str], drop: Sequence[str], file: str) -> None:
    if all(_number(cell) is not None for cell in header):
        raise UserError(f"{file}: the first line holds numbers; it must name the columns.")
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise UserError(f"{file}: the column name {repeated[0]!r} occurs more than once.")
    if "" in header and "" not in drop:
        raise UserError(
            f"{file}: column {header.index('') + 1} has no name; give it one or, if it is the "
            "index that pandas writes, leave it out with --drop ''."
        )


def _numeric(cells: Sequence[str]) -> np.ndarray:
    """Cells as numbers, blanks and their synonyms as NaN; the cells themselves if any is text."""
    try:
        return np.array(
            ["nan" if cell.strip().lower() in _MISSING else cell for cell in cells], dtype=str
        ).astype(np.float64)
    except ValueError:
        return np.array(cells, dtype=object)


def _read_parquet(path: Path, target: str | None, drop: Sequence[str]) -> Table:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise UserError(
            "Parquet needs pyarrow, which is not installed: pip install 'sparsejax[table]'."
        ) from None
    try:
        table = pq.read_table(path)
    except pa.ArrowException as error:
        raise UserError(f"{path.name}: not a readable Parquet file ({error}).") from error
    columns = {
        name: column.to_numpy()
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
    return _split(columns, target, drop, path.name)


def _read_npz(path: Path, target: str | None, drop: Sequence[str]) -> Table:
    if drop:
        raise UserError("--drop is for tables with named columns, not for NPZ archives.")
    target = target or "y"
    arrays = _arrays(path)
    for name in ("X", target):
        if name not in arrays:
            raise UserError(f"{path.name}: no array {name!r}; it holds {', '.join(arrays)}.")
        if arrays[name].dtype.kind not in "fiub":
            raise UserError(f"{path.name}: array {name!r} does not hold real numbers.")
    X, y = arrays["X"], arrays[target]
    if X.ndim != 2 or y.shape != X.shape[:1]:
        raise UserError(
            f"{path.name}: needs X of shape (n, p) and {target} of shape (n,), not {X.shape} and "
            f"{y.shape}."
        )
    names = arrays.get("feature_names")
    if names is None:
        names = np.array([f"x{j}" for j in range(X.shape[1])])
    if names.shape != X.shape[1:]:
        raise UserError(
            f"{path.name}: feature_names must have {X.shape[1]} entries, one for each column of X, "
            f"not the shape {names.shape}."
        )
    return Table(
        X.astype(np.float64), y.astype(np.float64), tuple(map(str, names.tolist())), target
    )


def _arrays(path: Path) -> dict[str, np.ndarray]:
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path.name}: not an NPZ archive.")
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path.name}: not a readable NPZ archive ({error}).") from error


_READERS: dict[str, Callable[[Path, str | None, Sequence[str]], Table]] = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".parquet": _read_parquet,
    ".npz": _read_npz,
}
