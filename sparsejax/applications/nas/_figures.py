"""Figures of a cell and of a search.

As in ``sparsejax.plotting``: each draws on the Axes it is given, or opens a figure, and returns it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from ...plotting._axes import axes_or_new, colour, tidy
from ._architecture import one_hot
from ._search import Searched
from ._space import Space

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_cell(cell: Int[np.ndarray, " edges"], space: Space, ax: Axes | None = None) -> Axes:
    """Nodes from left to right, and an arrow with its operation for every edge that has one.

    Parameters
    ----------
    cell, space
        As from ``discretise``.
    ax
        Where to draw; a new figure by default.

    Raises
    ------
    ValueError
        If the space has no such cell.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> from sparsejax.applications import nas
    >>> ax = nas.draw_cell([2, 0, 1], nas.SPACES["small"])
    >>> sorted(text.get_text() for text in ax.texts if text.get_text())
    ['0', '1', '2', 'conv3', 'skip']
    """
    one_hot(cell, space)  # or it is no cell
    ax = axes_or_new(ax)
    for (source, target), op in zip(space.edges, np.asarray(cell).tolist(), strict=True):
        if op < 0 or space.operations[op] == "none":
            continue
        # Arcs above and below by turns, the higher the longer: few of them cross.
        bend = 0.0 if target - source == 1 else 0.35 * (-1) ** source * (1 + 0.1 * source)
        arrow = {"arrowstyle": "-|>", "connectionstyle": f"arc3,rad={-bend}", "shrinkA": 13}
        arrow |= {"shrinkB": 13, "color": colour(op), "linewidth": 1.6}
        ax.annotate("", (target, 0), (source, 0), arrowprops=arrow)
        height = bend * (target - source) / 2
        ax.text(
            (source + target) / 2,
            height + 0.03,
            space.operations[op],
            ha="center",
            va="bottom",
            color=colour(op),
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
        )
    nodes = range(space.inputs + space.nodes)
    ax.scatter(nodes, [0] * len(nodes), s=420, facecolor="white", edgecolor="0.2", zorder=3)
    for node in nodes:
        ax.text(node, 0, str(node), ha="center", va="center", zorder=4)
    reach = 0.35 * (1 + 0.1 * len(nodes)) * (len(nodes) - 1) / 2
    ax.set(xlim=(-0.4, len(nodes) - 0.6), ylim=(-reach, reach))
    ax.set_aspect("equal")  # or arcs are not where their labels are
    ax.axis("off")
    return ax


def draw_search(searched: Searched, ax: Axes | None = None) -> Axes:
    """Loss on the samples for the architecture, and entropy of the weights, by step; a line a seed.

    Parameters
    ----------
    searched
        As from ``search``.
    ax
        Where to draw; a new figure by default.

    Examples
    --------
    See ``search``.
    """
    ax = axes_or_new(ax)
    steps = [entry.done for entry in searched.history]
    for i, name in enumerate(("losses", "entropies")):
        values = np.array([getattr(entry, name) for entry in searched.history])
        lines = ax.plot(steps, values, color=colour(i), alpha=0.6)
        lines[0].set_label(("loss", "entropy (nats an edge)")[i])
    ax.set(xlabel="step", ylim=(0, None))
    ax.legend(frameon=False)
    tidy(ax)
    return ax
