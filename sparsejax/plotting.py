"""Figures of a regularisation path, a cross-validation curve and a convergence trace.

Every function draws on the Matplotlib Axes it is given and returns it. With ``ax=None`` it opens a
new pyplot figure, as an interactive user expects; with an Axes it never touches pyplot's global
state. Matplotlib is imported inside the functions: ``import sparsejax`` does not pay for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

_FAINT = "0.78"
_DASHES = ("-", "--", ":", "-.")


def _axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(7.0, 4.5), layout="constrained")[1]


def _colour(i: int) -> str:
    return f"C{i % 10}"


def _tidy(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.25, linewidth=0.6)


def _strength_axis(ax: Axes, strengths: np.ndarray, marks: Mapping[str, float] | None) -> None:
    """Mark strengths; logarithmic and decreasing: read from the empty model on the left."""
    marked = {label: float(strength) for label, strength in (marks or {}).items()}
    for i, (label, strength) in enumerate(marked.items()):
        style = _DASHES[(i + 1) % len(_DASHES)]
        ax.axvline(strength, color="0.2", linestyle=style, linewidth=1.0, label=label)
    shown = [*strengths.tolist(), *marked.values()]
    ax.set_xscale("log")
    ax.set_xlim(max(shown), min(shown) * 0.95)
    ax.set_xlabel("strength (log scale, weaker to the right)")


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
    if feature_names is not None and len(feature_names) != coefs.shape[1]:
        raise ValueError(
            f"feature_names must have one name a feature ({coefs.shape[1]}), not "
            f"{len(feature_names)}."
        )
    ax = _axes(ax)
    at = np.argmin(strengths)
    if marks:
        at = np.argmin(np.abs(np.log(strengths / next(iter(marks.values())))))
    named = [j for j in np.argsort(-np.abs(coefs[at]), kind="stable")[:top] if coefs[at, j] != 0]
    others = np.setdiff1d(np.flatnonzero(np.any(coefs != 0, axis=0)), named)
    if others.size:
        ax.plot(strengths, coefs[:, others], color=_FAINT, linewidth=0.7, zorder=1)
    for i, j in enumerate(named):
        name = str(j) if feature_names is None else feature_names[j]
        ax.plot(
            strengths, _entered(coefs[:, j]), color=_colour(i), linewidth=1.5, label=name, zorder=2
        )
    ax.axhline(0.0, color="0.4", linewidth=0.8, zorder=1)
    _strength_axis(ax, strengths, marks)
    ax.set_ylabel("coefficient")
    ax.set_title("Regularisation path")
    _tidy(ax)
    if named or marks:
        ax.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    return ax


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
    ax = _axes(ax)
    mean = errors.mean(axis=0)
    ax.plot(strengths, errors.T, color=_FAINT, linewidth=0.8, zorder=1)
    if len(errors) > 1:
        spread = errors.std(axis=0, ddof=1) / np.sqrt(len(errors))
        band = {"color": "C0", "alpha": 0.2, "linewidth": 0, "label": "± standard error"}
        ax.fill_between(strengths, mean - spread, mean + spread, **band)
    ax.plot(strengths, mean, color="C0", linewidth=1.8, label=f"mean of {len(errors)} folds")
    _strength_axis(ax, strengths, marks)
    ax.set_ylabel(ylabel)
    ax.set_title("Cross-validation")
    _tidy(ax)
    ax.legend(fontsize="small", frameon=False)
    return ax


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
    ax = _axes(ax)
    floor = np.finfo(np.float64).eps
    for i, (label, (abscissae, gaps)) in enumerate(traces.items()):
        gaps = np.maximum(np.asarray(gaps, dtype=np.float64), floor)
        ax.plot(
            np.asarray(abscissae),
            gaps,
            color=_colour(i),
            marker="o^sDvP"[i % 6],
            markersize=4,
            label=label,
        )
    if tol is not None:
        ax.axhline(tol, color="0.4", linestyle="--", linewidth=1.0, label=f"tolerance {tol:g}")
    ax.set_yscale("log")
    if logx:
        ax.set_xscale("log")
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    ax.set_title("Convergence")
    _tidy(ax)
    ax.legend(fontsize="small", frameon=False)
    return ax
