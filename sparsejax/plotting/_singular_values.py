"""The spectrum of matrices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ._axes import axes_or_new, marked_line, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike


def singular_values(matrices: Mapping[str, ArrayLike], *, ax: Axes | None = None) -> Axes:
    """Draw singular values in decreasing order, one line a matrix, on a logarithmic axis.

    Those that are zero to rounding are not drawn; the legend says how many others there are.

    Parameters
    ----------
    matrices
        For each label a matrix, such as the coefficients of several tasks.
    ax
        Axes to draw on; a new figure's by default.

    Raises
    ------
    ValueError
        If one of them is not a matrix.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> import sparsejax as sj
    >>> ax = sj.plotting.singular_values({"W": np.ones((4, 3))}, ax=Figure().subplots())
    >>> ax.get_legend_handles_labels()[1]
    ['W: rank 1']
    """
    ax = axes_or_new(ax)
    for i, (label, matrix) in enumerate(matrices.items()):
        matrix = np.asarray(matrix)
        if matrix.ndim != 2:
            raise ValueError(f"{label!r} must be a matrix; got shape {matrix.shape}.")
        values = np.linalg.svd(matrix, compute_uv=False)
        # NumPy's own threshold for a rank.
        least = values.max(initial=0.0) * max(matrix.shape) * np.finfo(values.dtype).eps
        values = values[values > least]
        label = f"{label}: rank {values.size}"
        marked_line(ax, i, np.arange(1, values.size + 1), values, label)
    ax.set_yscale("log")
    ax.set_xlabel("number")
    ax.set_ylabel("singular value")
    ax.set_title("Singular values")
    tidy(ax)
    ax.legend(fontsize="small", frameon=False)
    return ax
