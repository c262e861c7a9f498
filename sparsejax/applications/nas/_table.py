"""Every cell of a small space, trained: what a search should have found."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ._architecture import all_cells
from ._data import Task
from ._retrain import retrain
from ._space import Space


class Table(NamedTuple):
    """The accuracy of every cell.

    Attributes
    ----------
    cells
        (cells, edges).
    accuracies
        (cells, seeds): on the samples to test with.
    """

    cells: Int[np.ndarray, "cells edges"]
    accuracies: Float[np.ndarray, "cells seeds"]

    def regret(self, cells: Int[np.ndarray, "searches edges"]) -> Float[np.ndarray, " searches"]:
        """How much lower the mean accuracy of a cell is than that of the best one."""
        means = self.accuracies.mean(axis=1)
        same = (np.asarray(cells)[:, None] == self.cells).all(axis=-1)
        if not same.any(axis=1).all():
            raise ValueError("`cells` has one that is not in the table.")
        return means.max() - means[same.argmax(axis=1)]


def table(
    space: Space,
    task: Task,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    checkpoint: str | os.PathLike[str] | None = None,
    callback: Callable[[int], None] | None = None,
    **options: Any,
) -> Table:
    """Train all cells of a space, with some seeds each, and test them.

    Parameters
    ----------
    space
        A small one that keeps all edges.
    task
        What to classify.
    seeds
        Of weights and batches; cells share them.
    checkpoint
        A folder for a file a seed; what is there is not computed again.
    callback
        Called with the number of seeds done.
    options
        ``steps``, ``batch``, ``width``, ``depth``, ``learning_rate`` and ``augment`` of
        ``retrain``.

    Returns
    -------
    table

    Raises
    ------
    ValueError
        As of ``all_cells`` and ``retrain``.

    Examples
    --------
    >>> from sparsejax.applications import nas
    >>> task = nas.mnist1d()  # doctest: +SKIP
    >>> found = nas.table(nas.SPACES["small"], task, steps=800)  # doctest: +SKIP
    """
    cells = all_cells(space)
    columns = []
    for seed in seeds:
        file = None if checkpoint is None else Path(checkpoint) / f"seed-{seed}"
        same = [seed] * len(cells)
        trained = retrain(space, cells, task.train, seeds=same, checkpoint=file, **options)
        columns.append(trained.accuracy(task.test))
        if callback is not None:
            callback(len(columns))
    return Table(cells, np.stack(columns, axis=1))
