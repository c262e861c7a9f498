"""Coefficients along a regularisation path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ._axes import FAINT, axes_or_new, check_names, colour, strength_axis, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def _entered(coef: np.ndarray) -> np.ndarray:
    """Blank out zeros between zeros, so that a curve starts where its feature enters."""
    zero = np.pad(coef == 0, 1, constant_values=True)
    return np.where(zero[:-2] & zero[1:-1] & zero[2:], np.nan, coef)


def path(
    path: Any,
    *,
    feature_names: Sequence[str] | None = None,
    marks: Mapping[str, float] | None = None,
    top: int = 8,
    ax: Axes | None = None,
) -> Axes:
    """Draw every coefficient against the strength.

    The `top` features with the largest coefficients (at the first mark, or at the weakest strength)
    are coloured and named; the others are grey, and features that stay at zero are not drawn.

    Parameters
    ----------
    path
        What `sparsejax.path` returns, or anything with `strengths` (k,) and `coefs` (k, p).
    feature_names
        p names; feature numbers by default.
    marks
        Strengths to mark by a vertical line, by label.
    top
        How many features to name.
    ax
        Axes to draw on; a new figure's by default.

    Raises
    ------
    ValueError
        If `feature_names` does not have one name a feature.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> import sparsejax as sj
    >>> line = SimpleNamespace(strengths=np.array([1.0, 0.1]), coefs=np.array([[0.0], [0.9]]))
    >>> ax = sj.plotting.path(line, feature_names=["age"], ax=Figure().subplots())
    >>> ax.get_legend_handles_labels()[1]
    ['age']
    """
    strengths, coefs = np.asarray(path.strengths), np.asarray(path.coefs)
    check_names(feature_names, coefs.shape[1])
    ax = axes_or_new(ax)
    at = np.argmin(strengths)
    if marks:
        at = np.argmin(np.abs(np.log(strengths / next(iter(marks.values())))))
    named = [j for j in np.argsort(-np.abs(coefs[at]), kind="stable")[:top] if coefs[at, j] != 0]
    others = np.setdiff1d(np.flatnonzero(np.any(coefs != 0, axis=0)), named)
    if others.size:
        ax.plot(strengths, coefs[:, others], color=FAINT, linewidth=0.7, zorder=1)
    for i, j in enumerate(named):
        name = str(j) if feature_names is None else feature_names[j]
        ax.plot(
            strengths, _entered(coefs[:, j]), color=colour(i), linewidth=1.5, label=name, zorder=2
        )
    ax.axhline(0.0, color="0.4", linewidth=0.8, zorder=1)
    strength_axis(ax, strengths, marks)
    ax.set_ylabel("coefficient")
    ax.set_title("Regularisation path")
    tidy(ax)
    if named or marks:
        ax.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    return ax
