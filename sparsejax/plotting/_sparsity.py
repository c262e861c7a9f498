"""How sparse each layer of a network is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._axes import axes_or_new, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def sparsity(report: Any, *, ax: Axes | None = None) -> Axes:
    """Draw the part of each layer's weights that is zero, a bar a layer.

    Vectors (biases, scales of norms) are left out: only matrices and convolutions are drawn.

    Parameters
    ----------
    report
        What `sparsejax.nn.sparsity_report` returns.
    ax
        Axes to draw on; a new figure's by default.

    Raises
    ------
    ValueError
        If the report has no leaf of two axes or more.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from matplotlib.figure import Figure
    >>> import sparsejax as sj
    >>> model = {"first": jnp.eye(4), "bias": jnp.ones(4)}
    >>> ax = sj.plotting.sparsity(sj.nn.sparsity_report(model), ax=Figure().subplots())
    >>> [float(bar.get_width()) for bar in ax.patches]
    [0.75]
    """
    layers = {name: leaf for name, leaf in report.leaves.items() if len(leaf.shape) > 1}
    if not layers:
        raise ValueError("`report` has no array of two axes or more.")
    zeros = sum(leaf.zeros for leaf in layers.values())
    total = zeros / sum(leaf.size for leaf in layers.values())
    ax = axes_or_new(ax)
    names = [name.removesuffix(".weight") for name in layers]
    ax.barh(names, [leaf.sparsity for leaf in layers.values()], color="C0")
    ax.axvline(total, color="0.2", linestyle="--", linewidth=1.0, label=f"all: {total:.1%}")
    ax.invert_yaxis()  # the first layer at the top
    ax.set_xlim(0, 1)
    ax.set_xlabel("part of the weights that is zero")
    ax.set_title("Sparsity by layer")
    tidy(ax)
    ax.legend(fontsize="small", frameon=False)
    return ax
