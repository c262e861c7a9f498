"""One pass over the chunks of a table."""

import os
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg.lapack import dtpqrt  # type: ignore[attr-defined]  # not in the stubs

from ._moments import Moments

_BLOCK = 32  # columns that LAPACK eliminates together


class _State(NamedTuple):
    factor: np.ndarray  # that of Moments
    rows: tuple[int, ...]  # of each chunk so far
    num_tasks: int  # 0 where y is a vector


def accumulate(
    chunks: Iterable[tuple[Any, Any]], state: str | os.PathLike[str] | None = None
) -> Moments:
    """The moments of a table that comes in chunks of rows, each read once and forgotten.

    Parameters
    ----------
    chunks
        Pairs of X (rows, p) and y (rows,), or (rows, tasks): from ``npy_chunks``,
        ``parquet_chunks`` or any iterator.
    state
        A file for what has been accumulated, replaced after every chunk. Where it exists, its
        chunks are skipped, and what comes out is the same to the last bit as without an
        interruption.

    Returns
    -------
    Moments
        From which ``Moments.problem`` makes the problem of the whole table.

    Raises
    ------
    ValueError
        For a chunk of other width, without rows, or with NaN or infinity; no chunks at all; or a
        ``state`` that cannot be read or belongs to another table. The message names the chunk,
        counted from 0; those before it are in ``state``.
    TypeError
        For a chunk that is no pair, or text.

    Notes
    -----
    Everything in float64, whatever the chunks and JAX's precision are. R is brought up to date by
    Householder reflections of [R; 1 X y] (LAPACK's dtpqrt: 2·rows·k² operations, memory for a chunk
    and R). The Gram matrix would take half of that, but is never formed: its rounding, of the size
    of the largest eigenvalue, would drown directions in which X is 1e-8 times as long.

    Examples
    --------
    >>> import numpy as np, sparsejax as sj
    >>> rng = np.random.default_rng(0)
    >>> chunks = ((rng.normal(size=(50, 3)), rng.normal(size=50)) for _ in range(4))
    >>> sj.streaming.accumulate(chunks).shape
    (200, 3)
    """
    path = None if state is None else Path(state)
    known = _load(path) if path is not None and path.exists() else None
    done, read = 0 if known is None else len(known.rows), 0
    for chunk in chunks:
        name = f"chunk {read}"
        X, y = _pair(chunk, name)
        if known is not None and read < done:
            _check_seen(known, read, X, path)
        else:
            known = _added(known, X, y, name)
            if path is not None:
                _save(path, known)
        read += 1
    if read < done:
        raise ValueError(f"`chunks` ended after {read}, but {path} has {done} of them.")
    if known is None:
        raise ValueError("`chunks` must not be empty.")
    return Moments(known.factor, sum(known.rows), known.num_tasks or None)


def _check_seen(known: _State, index: int, X: Any, path: Path | None) -> None:
    if len(X) != known.rows[index]:
        raise ValueError(
            f"chunk {index} has {len(X)} rows, but had {known.rows[index]} when `state` was "
            f"written: {path} belongs to another table, or to other chunks of it."
        )


def _added(known: _State | None, X: Any, y: Any, name: str) -> _State:
    """What is known with one chunk more; the triangle before it is overwritten."""
    block = _block(X, y, name)
    width, num_tasks = block.shape[1], 0 if np.ndim(y) == 1 else np.shape(y)[1]
    if known is None:
        known = _State(np.zeros((width, width), order="F"), (), num_tasks)
    if (width, num_tasks) != (len(known.factor), known.num_tasks):
        sides = (_sides(width, num_tasks), _sides(len(known.factor), known.num_tasks))
        raise ValueError("{} has {}, but those before it have {}.".format(name, *sides))
    size, rows = min(_BLOCK, width), len(block)
    # The rectangle below the triangle is eliminated; nothing else is known to be zero.
    factor, _, _, info = dtpqrt(0, size, known.factor, block, overwrite_a=True, overwrite_b=True)
    assert info == 0
    return _State(factor, (*known.rows, rows), num_tasks)


def _sides(width: int, num_tasks: int) -> str:
    targets = f"{num_tasks} columns of targets" if num_tasks else "one target"
    return f"{width - 1 - (num_tasks or 1)} features and {targets}"


def _pair(chunk: Any, name: str) -> tuple[Any, Any]:
    try:
        X, y = chunk
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a pair of X and y; got {type(chunk).__name__}.") from None
    return X, y


def _block(X: Any, y: Any, name: str) -> np.ndarray:
    """[1 X y] of a chunk, once everything about it is right."""
    X, y = _numbers(X, f"X of {name}"), _numbers(y, f"y of {name}")
    if X.ndim != 2 or y.ndim not in (1, 2) or len(X) != len(y) or 0 in (*X.shape, *y.shape):
        raise ValueError(
            f"{name} must hold X (rows, features) and y (rows,) or (rows, targets), not empty; got "
            f"shapes {X.shape} and {y.shape}."
        )
    y = y.reshape(len(y), -1)
    block = np.empty((len(X), 1 + X.shape[1] + y.shape[1]), order="F")
    block[:, 0], block[:, 1 : 1 + X.shape[1]], block[:, 1 + X.shape[1] :] = 1.0, X, y
    if not np.isfinite(block).all():
        row, column = (int(i) for i in np.argwhere(~np.isfinite(block))[0])
        where = f"column {column - 1} of X" if column <= X.shape[1] else "y"
        raise ValueError(f"{name} contains NaN or infinity (first in its row {row}, {where}).")
    return block


def _numbers(x: Any, name: str) -> np.ndarray:
    x = np.asarray(x)
    if x.dtype.kind not in "biuf":
        raise TypeError(f"{name} must be numbers in a dense array; got {x.dtype}.")
    return x


def _save(path: Path, state: _State) -> None:
    """The state, all of it or none: a file of another name takes the place of the old one."""
    new = path.with_name(f"{path.name}.new")
    with open(new, "wb") as file:
        np.savez(file, **state._asdict())
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)


def _load(path: Path) -> _State:
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            factor, rows, num_tasks = (archive[name] for name in _State._fields)
        return _State(np.asfortranarray(factor), tuple(rows.tolist()), int(num_tasks))
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"`state` {path} was not written by accumulate: remove it to begin anew ({error})."
        ) from error
