"""Gaps against time or steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ._axes import axes_or_new, marked_line, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike


def convergence(
    traces: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    tol: float | None = None,
    xlabel: str = "seconds",
    ylabel: str = "relative duality gap",
    logx: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw gaps against time or steps, one line a solver, both axes logarithmic.

    Parameters
    ----------
    traces
        For each label the abscissae and the gaps, two sequences of one length. A gap of exactly
        zero is drawn at the machine precision, where a logarithmic axis can show it.
    tol
        A tolerance to mark by a horizontal line.
    xlabel, ylabel
        What the axes show.
    logx
        Whether the abscissa is logarithmic.
    ax
        Axes to draw on; a new figure's by default.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> import sparsejax as sj
    >>> traces = {"FISTA": ([0.1, 0.2], [1e-2, 1e-4])}
    >>> sj.plotting.convergence(traces, tol=1e-3, ax=Figure().subplots()).get_yscale()
    'log'
    """
    ax = axes_or_new(ax)
    floor = np.finfo(np.float64).eps
    for i, (label, (abscissae, gaps)) in enumerate(traces.items()):
        gaps = np.maximum(np.asarray(gaps, dtype=np.float64), floor)
        marked_line(ax, i, np.asarray(abscissae), gaps, label)
    if tol is not None:
        ax.axhline(tol, color="0.4", linestyle="--", linewidth=1.0, label=f"tolerance {tol:g}")
    ax.set_yscale("log")
    if logx:
        ax.set_xscale("log")
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    ax.set_title("Convergence")
    tidy(ax)
    ax.legend(fontsize="small", frameon=False)
    return ax
