"""Figures of a field, of its error and of the weights behind it.

As in ``sparsejax.plotting``: each draws on the Axes it is given, or opens a figure, and returns it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import numpy as np

from ...nn._leaves import chosen_leaves
from ...plotting._axes import axes_or_new, tidy
from ._problem import Problem, Reference
from ._solve import predict, reference_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_solution(problem: Problem, network: Any, ax: Axes | None = None) -> Axes:
    """The field on the reference's grid; of several outputs, their Euclidean norm.

    Parameters
    ----------
    problem
        With a reference, and one axis or two.
    network
        One, as from ``Solved.network``.
    ax
        Where to draw; a new figure by default.

    Raises
    ------
    ValueError
        If there is no reference, or more than two axes.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> from sparsejax.applications import pde
    >>> problem = pde.function_fit()
    >>> networks = pde.networks(problem, width=8)
    >>> solved = pde.solve(problem, networks, steps=2, refit_steps=0)
    >>> pde.draw_solution(problem, solved.network(0)).get_xlabel()
    'x'
    """
    reference, values = _on_grid(problem, network)
    if len(reference.axes) == 1:
        ax = axes_or_new(ax)
        ax.plot(reference.axes[0], _size(reference.values), color="0.6", label="reference")
        ax.plot(reference.axes[0], _size(values), color="C3", label="network")
        ax.set_xlabel("x")
        ax.legend(frameon=False)
        tidy(ax)
        return ax
    return _image(reference, _size(values), "RdBu_r", problem.name, ax)


def draw_error(problem: Problem, network: Any, ax: Axes | None = None) -> Axes:
    """The distance between the field and the reference.

    Parameters
    ----------
    problem, network, ax
        As of ``draw_solution``.

    Raises
    ------
    ValueError
        As of ``draw_solution``.

    Examples
    --------
    See ``draw_solution``.
    """
    reference, values = _on_grid(problem, network)
    distance = np.linalg.norm(values - reference.values, axis=-1)
    if len(reference.axes) == 1:
        ax = axes_or_new(ax)
        ax.plot(reference.axes[0], distance, color="C3")
        ax.set(xlabel="x", ylabel="distance to the reference")
        tidy(ax)
        return ax
    return _image(reference, distance, "magma", "distance to the reference", ax)


def draw_weights(network: Any, layer: int, ax: Axes | None = None) -> Axes:
    """The magnitudes of a weight matrix; zeros are white.

    Parameters
    ----------
    network
        One, as from ``Solved.network``.
    layer
        Which of its matrices.
    ax
        Where to draw; a new figure by default.

    Raises
    ------
    ValueError
        If there is no such layer.

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("Agg")
    >>> from sparsejax.applications import pde
    >>> problem = pde.function_fit()
    >>> solved = pde.solve(problem, pde.networks(problem), steps=1, refit_steps=0)
    >>> pde.draw_weights(solved.network(0), 1).get_title()
    'layers.1.weight: 0.0 % zeros'
    """
    weights = chosen_leaves(eqx.filter(network, eqx.is_inexact_array), None)
    if not 0 <= layer < len(weights):
        raise ValueError(f"`layer` must be one of {len(weights)}; got {layer}.")
    name, weight = list(weights.items())[layer]
    sizes = np.abs(np.asarray(weight))
    ax = axes_or_new(ax)
    shown = ax.imshow(np.where(sizes == 0, np.nan, sizes), cmap="viridis", aspect="auto")
    ax.figure.colorbar(shown, ax=ax)
    zeros = np.mean(sizes == 0)
    ax.set(xlabel="input", ylabel="output", title=f"{name}: {100 * zeros:.1f} % zeros")
    return ax


def _on_grid(problem: Problem, network: Any) -> tuple[Reference, np.ndarray]:
    reference = reference_of(problem)
    if len(reference.axes) > 2:
        raise ValueError(f"{problem.name!r} has {len(reference.axes)} axes; one or two are drawn.")
    stacked = jax.tree.map(lambda leaf: leaf[None] if eqx.is_array(leaf) else leaf, network)
    values = predict(problem, stacked, reference.points)[0]
    return reference, values.reshape(reference.values.shape)


def _size(values: np.ndarray) -> np.ndarray:
    return values[..., 0] if values.shape[-1] == 1 else np.linalg.norm(values, axis=-1)


def _image(
    reference: Reference, values: np.ndarray, colours: str, title: str, ax: Axes | None
) -> Axes:
    ax = axes_or_new(ax)
    shown = ax.pcolormesh(*reference.axes, values.T, cmap=colours, shading="nearest")
    ax.figure.colorbar(shown, ax=ax)
    ax.set(xlabel="t", ylabel="x", title=title)
    return ax
