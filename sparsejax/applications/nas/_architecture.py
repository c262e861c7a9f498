"""Cells with one operation on an edge: chosen from weights, counted, listed."""

import itertools
import math

import numpy as np
from jaxtyping import Float, Int

from ._space import Space

MOST = 100_000  # of cells in a list


def discretise(
    weights: Float[np.ndarray, "*seeds edges operations"], space: Space
) -> Int[np.ndarray, "*seeds edges"]:
    """On every edge the operation of largest weight, by its number; −1 where there is none.

    Where the space keeps some edges of every node, these are the ones whose largest weight (of
    operations other than ``none``, which is never chosen then) is largest.

    Parameters
    ----------
    weights
        As from a relaxation.
    space
        Of the cells.

    Raises
    ------
    ValueError
        If ``weights`` does not fit the space or has NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsejax.applications import nas
    >>> weights = np.array([[0.1, 0.2, 0.7], [0.5, 0.3, 0.2], [0.0, 0.0, 0.0]])
    >>> nas.discretise(weights, nas.SPACES["small"]).tolist()
    [2, 0, -1]
    """
    weights = np.asarray(weights)
    if weights.shape[-2:] != space.shape or np.isnan(weights).any():
        raise ValueError(
            f"`weights` must be numbers of shape (..., {space.shape[0]}, {space.shape[1]}); got "
            f"shape {weights.shape}."
        )
    allowed = np.where(space.mask, weights, -1.0)
    if space.keep is not None and "none" in space.operations:
        allowed[..., space.operations.index("none")] = -1.0
    chosen, largest = allowed.argmax(-1), allowed.max(-1)
    kept = largest > 0
    if space.keep is not None:
        for entering in space.entering:
            order = np.argsort(-largest[..., entering], axis=-1, kind="stable")
            dropped = entering[order[..., space.keep :]]
            np.put_along_axis(kept, dropped, False, axis=-1)
    return np.where(kept, chosen, -1)


def one_hot(
    cells: Int[np.ndarray, "*seeds edges"], space: Space
) -> Float[np.ndarray, "*seeds edges operations"]:
    """Weights of one for the chosen operations, of zero for others: a cell for ``Supernet``.

    Parameters
    ----------
    cells, space
        As of ``discretise``.

    Raises
    ------
    ValueError
        If the space has no such cell.

    Examples
    --------
    >>> from sparsejax.applications import nas
    >>> nas.one_hot([2, 0, -1], nas.SPACES["small"]).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    cells = np.asarray(cells)
    edges, operations = space.shape
    if cells.shape[-1:] != (edges,) or not np.issubdtype(cells.dtype, np.integer):
        raise ValueError(f"`cells` must be integers, one for each of {edges} edges.")
    weights = cells[..., None] == np.arange(operations)
    if not np.all((cells == -1) | np.any(weights & space.mask, axis=-1)):
        raise ValueError(f"`cells` has operations that {space.name!r} does not allow there.")
    return weights.astype(np.float32)


def all_cells(space: Space) -> Int[np.ndarray, "cells edges"]:
    """Every cell of a space that keeps all edges.

    Parameters
    ----------
    space
        A small one.

    Raises
    ------
    ValueError
        If there are too many, or the space keeps only some edges.

    Examples
    --------
    >>> from sparsejax.applications import nas
    >>> nas.all_cells(nas.SPACES["small"]).shape
    (27, 3)
    """
    if space.keep is not None:
        raise ValueError(f"`space` must keep all edges; {space.name!r} keeps {space.keep} a node.")
    counts = [int(row.sum()) for row in space.mask]
    if math.prod(counts) > MOST:
        raise ValueError(f"`space` has {math.prod(counts)} cells; at most {MOST} are listed.")
    return np.array(list(itertools.product(*(np.flatnonzero(row) for row in space.mask))))


def count_operation(
    cells: Int[np.ndarray, "*seeds edges"], space: Space, name: str
) -> Int[np.ndarray, "*seeds"]:
    """How many edges have an operation.

    Parameters
    ----------
    cells, space
        As of ``discretise``.
    name
        Of the operation; zero if the space has none such.

    Examples
    --------
    >>> from sparsejax.applications import nas
    >>> int(nas.count_operation([1, 1, 2], nas.SPACES["small"], "skip"))
    2
    """
    number = space.operations.index(name) if name in space.operations else -2
    return np.sum(np.asarray(cells) == number, axis=-1)


def entropy(weights: Float[np.ndarray, "*seeds edges operations"]) -> Float[np.ndarray, "*seeds"]:
    """−Σ p log p of the operations of an edge, in nats, the mean over edges; p sums to one.

    Zero where every edge has one operation or none.

    Parameters
    ----------
    weights
        Of operations, as from a relaxation.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsejax.applications import nas
    >>> round(float(nas.entropy(np.array([[0.5, 0.5], [1.0, 0.0]]))), 4)  # log(2)/2
    0.3466
    """
    weights = np.asarray(weights, float)
    total = weights.sum(-1, keepdims=True)
    p = weights / np.where(total > 0, total, 1.0)
    return -np.sum(p * np.log(np.where(p > 0, p, 1.0)), axis=-1).mean(-1)
