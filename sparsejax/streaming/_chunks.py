"""Chunks of tables in files."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

_ROWS = 4096


def npy_chunks(
    X: str | os.PathLike[str], y: str | os.PathLike[str], rows: int = _ROWS
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Chunks of two NPY files, mapped into memory: only what is looked at is read.

    Parameters
    ----------
    X, y
        Files of (n, p) and (n,) or (n, tasks) numbers.
    rows
        Of a chunk. Passes over narrow chunks are slow: take p or more.

    Raises
    ------
    ValueError
        For files of other or different shapes, or ``rows`` below one.

    Examples
    --------
    >>> import numpy as np, sparsejax as sj, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/X.npy", np.eye(5))
    ...     np.save(f"{folder}/y.npy", np.ones(5))
    ...     chunks = sj.streaming.npy_chunks(f"{folder}/X.npy", f"{folder}/y.npy", rows=2)
    ...     [len(y) for _, y in chunks]
    [2, 2, 1]
    """
    _check_rows(rows)
    table, targets = (np.load(path, mmap_mode="r", allow_pickle=False) for path in (X, y))
    if table.ndim != 2 or targets.ndim not in (1, 2) or len(table) != len(targets):
        raise ValueError(
            f"`X` must hold a matrix and `y` a target for each of its rows; got shapes "
            f"{table.shape} and {targets.shape}."
        )
    starts = range(0, len(table), rows)
    return ((table[i : i + rows], targets[i : i + rows]) for i in starts)


def parquet_chunks(
    path: str | os.PathLike[str], target: str, drop: Sequence[str] = (), rows: int = _ROWS
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Chunks of a Parquet file, which needs ``pip install 'sparsejax[table]'``.

    Parameters
    ----------
    path
        The file. A missing value is NaN, which ``accumulate`` does not take.
    target
        The column to predict.
    drop
        Columns to leave out.
    rows
        Of a chunk; the last of a row group of the file may have fewer.

    Raises
    ------
    ImportError
        Without pyarrow.
    ValueError
        For a column that is not there, no column left, or ``rows`` below one.
    """
    _check_rows(rows)
    try:
        import pyarrow.parquet as pq
    except ImportError:
        raise ImportError("Parquet needs pyarrow: pip install 'sparsejax[table]'.") from None
    file = pq.ParquetFile(Path(path))
    names = file.schema_arrow.names
    for name in (target, *drop):
        if name not in names:
            raise ValueError(f"{Path(path).name} has no column {name!r}; it has {names}.")
    features = [name for name in names if name not in (target, *drop)]
    if not features:
        raise ValueError(f"{Path(path).name} has no column left beside {target!r}.")

    def columns(batch) -> tuple[np.ndarray, np.ndarray]:
        arrays = {name: batch.column(name).to_numpy(zero_copy_only=False) for name in features}
        X = np.column_stack(list(arrays.values()))
        return X, batch.column(target).to_numpy(zero_copy_only=False)

    batches = file.iter_batches(batch_size=rows, columns=[*features, target])
    return (columns(batch) for batch in batches)


def _check_rows(rows: int) -> None:
    if rows < 1:
        raise ValueError(f"`rows` must be at least 1; got {rows}.")
