"""What the figures share: axes, colours, the axis of strengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

FAINT = "0.78"
_DASHES = ("-", "--", ":", "-.")


def axes_or_new(ax: Axes | None) -> Axes:
    """The axes given, or those of a new pyplot figure."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(7.0, 4.5), layout="constrained")[1]


def colour(i: int) -> str:
    """The i-th colour of Matplotlib's cycle."""
    return f"C{i % 10}"


def marked_line(ax: Axes, i: int, x: ArrayLike, y: ArrayLike, label: str) -> None:
    """The i-th of several lines, told apart by colour and marker."""
    ax.plot(x, y, color=colour(i), marker="o^sDvP"[i % 6], markersize=4, label=label)


def tidy(ax: Axes) -> None:
    """Fewer lines around, faint ones behind."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.25, linewidth=0.6)


def strength_axis(ax: Axes, strengths: np.ndarray, marks: Mapping[str, float] | None) -> None:
    """Mark strengths; logarithmic and decreasing: read from the empty model on the left."""
    marked = {label: float(strength) for label, strength in (marks or {}).items()}
    for i, (label, strength) in enumerate(marked.items()):
        style = _DASHES[(i + 1) % len(_DASHES)]
        ax.axvline(strength, color="0.2", linestyle=style, linewidth=1.0, label=label)
    shown = [*strengths.tolist(), *marked.values()]
    ax.set_xscale("log")
    ax.set_xlim(max(shown), min(shown) * 0.95)
    if max(shown) < 200 * min(shown):
        # Matplotlib's own labels, powers of ten, are too few or run into each other.
        from matplotlib.ticker import LogLocator, NullFormatter

        ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("strength (log scale, weaker to the right)")


def check_names(feature_names: Sequence[str] | None, count: int) -> None:
    """``ValueError`` unless there is one name a feature, or none at all."""
    if feature_names is not None and len(feature_names) != count:
        raise ValueError(
            f"feature_names must have one name a feature ({count}), not {len(feature_names)}."
        )
