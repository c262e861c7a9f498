"""Which features are selected at which strength."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ._axes import axes_or_new, check_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def selection(
    selected: Any,
    *,
    feature_names: Sequence[str] | None = None,
    top: int = 25,
    ax: Axes | None = None,
) -> Axes:
    """Draw a heat map of selection: a row a feature, a column a strength.

    Of stability selection the colour is the share of fits that select the feature, of a path it
    is on where the coefficient (of any task) is not zero. Features selected most are at the top.

    Parameters
    ----------
    selected
        What `sparsejax.resampling.stability_selection` or `sparsejax.path` returns, or anything
        with `strengths` (k,) and either `probabilities` (k, p) or `coefs` (k, p) or (k, p, tasks).
    feature_names
        p names; feature numbers by default.
    top
        How many features to draw at most; those that are never selected are not.
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
    >>> stable = SimpleNamespace(
    ...     strengths=np.array([1.0, 0.1]), probabilities=np.array([[0.0, 0.2], [0.3, 0.9]])
    ... )
    >>> ax = sj.plotting.selection(stable, feature_names=["age", "dose"], ax=Figure().subplots())
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['dose', 'age']
    """
    strengths, shares = np.asarray(selected.strengths), _shares(selected)
    check_names(feature_names, shares.shape[1])
    scores = shares.max(axis=0)
    # By the largest share, then by how early a feature comes in.
    order = np.lexsort((-shares.sum(axis=0), -scores))[:top]
    rows = [j for j in order if scores[j] > 0]
    columns = np.argsort(-strengths)
    ax = axes_or_new(ax)
    shown = ax.imshow(
        shares[np.ix_(columns, rows)].T, cmap="viridis", vmin=0, vmax=1, aspect="auto"
    )
    ax.figure.colorbar(shown, ax=ax, label="share of fits that select it")
    names = [str(j) if feature_names is None else str(feature_names[j]) for j in rows]
    ax.set_yticks(range(len(rows)), names, fontsize="small")
    ticks = np.unique(np.linspace(0, strengths.size - 1, min(strengths.size, 6)).astype(int))
    ax.set_xticks(ticks, [f"{strength:.2g}" for strength in strengths[columns][ticks]])
    ax.set_xlabel("strength (weaker to the right)")
    ax.set_title("Selection")
    return ax


def _shares(selected: Any) -> np.ndarray:
    if hasattr(selected, "probabilities"):
        return np.asarray(selected.probabilities)
    on = np.asarray(selected.coefs) != 0
    return on.any(axis=tuple(range(2, on.ndim))).astype(float)
