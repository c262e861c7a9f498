"""A figure of trainings.

As in ``sparsejax.plotting``: it draws on the Axes it is given, or opens a figure, and returns it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ...plotting._axes import axes_or_new, tidy
from ._evaluation import interquartile_mean
from ._train import Trained

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_curves(runs: Mapping[str, Trained], ax: Axes | None = None) -> Axes:
    """Scores as training goes on: the interquartile mean over seeds, and its 95 % interval.

    Parameters
    ----------
    runs
        By label; evaluated.
    ax
        Where to draw; a new figure by default.

    Raises
    ------
    ValueError
        If a run was not evaluated.

    Examples
    --------
    >>> import jax, matplotlib
    >>> matplotlib.use("Agg")
    >>> from sparsejax.applications import offline_rl as rl
    >>> data = rl.collect(rl.Pendulum(), 200, jax.random.key(0))
    >>> trained = rl.train(rl.BC(), data, steps=20, width=8, evaluate=rl.HeldOut(data))
    >>> rl.draw_curves({"dense": trained}).get_xlabel()
    'step'
    """
    ax = axes_or_new(ax)
    for i, (label, run) in enumerate(runs.items()):
        if not all(step.scores for step in run.history):
            raise ValueError(f"`runs`: {label!r} was trained without `evaluate`.")
        steps = [step.done for step in run.history]
        means = np.array([interquartile_mean(step.scores) for step in run.history])
        ax.plot(steps, means[:, 0], color=f"C{i}", label=label)
        ax.fill_between(steps, means[:, 1], means[:, 2], color=f"C{i}", alpha=0.2, linewidth=0)
    ax.set(xlabel="step", ylabel="score")
    ax.legend(frameon=False)
    tidy(ax)
    return ax
