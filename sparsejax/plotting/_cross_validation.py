"""Held-out errors along a path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ._axes import FAINT, axes_or_new, strength_axis, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike


def cross_validation(
    strengths: ArrayLike,
    errors: ArrayLike,
    *,
    marks: Mapping[str, float] | None = None,
    ylabel: str = "held-out mean squared error",
    ax: Axes | None = None,
) -> Axes:
    """Draw held-out errors against the strength: each fold, their mean and its standard error.

    Parameters
    ----------
    strengths
        Shape (k,).
    errors
        Shape (folds, k): the error of each fold at each strength.
    marks
        Strengths to mark by a vertical line, by label: say, the chosen one.
    ylabel
        What the errors are.
    ax
        Axes to draw on; a new figure's by default.

    Raises
    ------
    ValueError
        If `errors` is not of shape (folds, k).

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> import sparsejax as sj
    >>> errors = [[1.0, 0.4, 0.6], [0.9, 0.5, 0.5]]
    >>> ax = sj.plotting.cross_validation([1.0, 0.1, 0.01], errors, ax=Figure().subplots())
    >>> ax.get_ylabel()
    'held-out mean squared error'
    """
    strengths, errors = np.asarray(strengths), np.asarray(errors)
    if errors.ndim != 2 or errors.shape[1] != strengths.size:
        raise ValueError(
            f"errors must have shape (folds, {strengths.size}), not {errors.shape}: one row a fold."
        )
    ax = axes_or_new(ax)
    mean = errors.mean(axis=0)
    ax.plot(strengths, errors.T, color=FAINT, linewidth=0.8, zorder=1)
    if len(errors) > 1:
        spread = errors.std(axis=0, ddof=1) / np.sqrt(len(errors))
        band = {"color": "C0", "alpha": 0.2, "linewidth": 0, "label": "± standard error"}
        ax.fill_between(strengths, mean - spread, mean + spread, **band)
    ax.plot(strengths, mean, color="C0", linewidth=1.8, label=f"mean of {len(errors)} folds")
    strength_axis(ax, strengths, marks)
    ax.set_ylabel(ylabel)
    ax.set_title("Cross-validation")
    tidy(ax)
    ax.legend(fontsize="small", frameon=False)
    return ax
