"""Pictures of scores, errors and filters."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from scipy.special import ndtri

from ._scores import equal_error, error_rates


def draw_scores(
    scores: Float[np.ndarray, " trials"], same: Bool[np.ndarray, " trials"], ax: Axes
) -> Axes:
    """How scores of one speaker and of two are distributed, and where both errors are equal.

    Parameters
    ----------
    scores, same
        As of ``error_rates``.
    ax
        Where to draw.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from sparsejax.applications import speaker
    >>> scores, same = np.array([0.1, 0.6, 0.4, 0.9]), np.array([0, 0, 1, 1])
    >>> speaker.draw_scores(scores, same, Figure().subplots()).get_xlabel()
    'score'
    """
    error, same = equal_error(scores, same), np.asarray(same).astype(bool)
    bins = np.linspace(np.min(scores), np.max(scores), 41)
    for kind, label in ((same, "one speaker"), (~same, "two speakers")):
        ax.hist(np.asarray(scores)[kind], bins, density=True, alpha=0.6, label=label)
    ax.axvline(error.threshold, color="black", linestyle=":")
    ax.set(xlabel="score", ylabel="density", title=f"equal error rate {error.rate:.1%}")
    ax.legend()
    return ax


def draw_errors(
    scores: Float[np.ndarray, " trials"], same: Bool[np.ndarray, " trials"], ax: Axes
) -> Axes:
    """Misses against false alarms over all thresholds, on axes where normal scores are a line.

    Parameters
    ----------
    scores, same, ax
        As of ``draw_scores``.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from sparsejax.applications import speaker
    >>> scores, same = np.array([0.1, 0.6, 0.4, 0.9]), np.array([0, 0, 1, 1])
    >>> speaker.draw_errors(scores, same, Figure().subplots()).get_xlabel()
    'false alarms'
    """
    rates = error_rates(scores, same)
    ticks = np.array([0.001, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95])
    kept = (rates.misses > 0) & (rates.false_alarms > 0)
    kept &= (rates.misses < 1) & (rates.false_alarms < 1)
    ax.plot(ndtri(rates.false_alarms[kept]), ndtri(rates.misses[kept]))
    ax.axline((0, 0), slope=1, color="black", linestyle=":", linewidth=1)
    names = [f"{100 * tick:g} %" for tick in ticks]
    ax.set_xticks(ndtri(ticks), names)
    ax.set_yticks(ndtri(ticks), names)
    ax.set(xlabel="false alarms", ylabel="misses")
    return ax


def draw_filters(weight: Float[Any, "channels frequencies 2"], ax: Axes) -> Axes:
    """Sizes of complex filters, a row a channel; what is exactly zero stays blank.

    Parameters
    ----------
    weight
        Of a ``GlobalFilter``, or of one expert of a ``DynamicFilter``.
    ax
        Where to draw.

    Raises
    ------
    ValueError
        If the shape is another.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from sparsejax.applications import speaker
    >>> speaker.draw_filters(np.ones((4, 101, 2)), Figure().subplots()).get_ylabel()
    'channel'
    """
    weight = np.asarray(weight)
    if weight.ndim != 3 or weight.shape[2] != 2:
        raise ValueError(f"`weight` must be (channels, frequencies, 2); got {weight.shape}.")
    sizes = np.linalg.norm(weight, axis=2)
    shown = ax.imshow(np.where(sizes == 0, np.nan, sizes), aspect="auto", interpolation="nearest")
    ax.figure.colorbar(shown, ax=ax)
    zeros = f"{np.mean(sizes == 0):.1%} zeros"
    ax.set(xlabel="frequency (up to 50 Hz)", ylabel="channel", title=zeros)
    return ax
