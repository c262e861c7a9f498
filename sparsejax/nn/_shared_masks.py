"""Masks of channels on which all agree."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from ._channels import along, by_factor, channels, marked_channels, whole_masks
from ._dims import Dim, Factors, expand, segments
from ._example import call_of
from ._leaves import named_leaves, replace_leaves
from ._slim import rounded


def shared_masks(
    model: Any, state: Any, masks: Any, round_to: int = 1, *, example: Any = None
) -> Any:
    """Masks of channels by vote: layers that write the same channels drop the same ones.

    What is written into one residual stream can only be removed together. Every masked leaf that
    writes a channel votes. As many stay as these leaves keep on average, and one at least: those
    with the most votes, and among equals those of largest weights. Channels that cannot be removed,
    such as the outputs of the model, are not masked.

    Parameters
    ----------
    model, state, masks, example
        As of ``slim``, with ``masks`` for ``keep``. A channel of a leaf counts as dropped if all
        its entries are.
    round_to
        Widths are rounded up to a multiple of this.

    Returns
    -------
    masks
        A pytree of the model's shape, for the same leaves: for ``penalise``, ``apply_masks`` and
        ``slim``.

    Examples
    --------
    >>> import equinox as eqx, jax, jax.numpy as jnp, sparsejax as sj
    >>> class Residual(eqx.Module):
    ...     first: eqx.nn.Linear
    ...     second: eqx.nn.Linear
    ...     last: eqx.nn.Linear
    ...     def __call__(self, x):
    ...         x = self.first(x)
    ...         return self.last(x + self.second(x))
    >>> keys = jax.random.split(jax.random.key(0), 3)
    >>> model = Residual(*(eqx.nn.Linear(4, 4, key=key) for key in keys))
    >>> masks = {"first.weight": jnp.array([True, False, False, True])}
    >>> masks |= {"second.weight": jnp.array([True, False, True, False])}
    >>> shared = sj.nn.shared_masks(model, None, masks)
    >>> kept = shared.second.weight.all(axis=1)
    >>> kept[:2].tolist(), int(kept.sum())
    ([True, False], 2)

    Notes
    -----
    Voting over the norms of residual groups: Jiang et al., Pruning-aware sparse regularization for
    network pruning (2022), section 3.
    """
    given = whole_masks(model, masks, "masks")
    call = call_of(eqx.nn.inference_mode(model), state, example)
    found = channels(model, state, call, with_values=False)
    leaves = named_leaves(model)
    _, worth = marked_channels(found, given, leaves)
    votes: dict[Dim, list[np.ndarray]] = {}
    sizes: dict[Factors, list[int]] = {}
    for name, mask in given.items():
        rows = mask.reshape(mask.shape[0], -1).any(axis=1)
        sizes.setdefault(segments(expand(found.axes[name][0])), []).append(int(rows.sum()))
        for dim, keep in by_factor(found.axes[name][0], rows, np.any):
            if dim.fixed is None:
                votes.setdefault(dim, []).append(keep)
    wanted = {dim: np.mean(keep, axis=0) for dim, keep in votes.items()}
    counts = {parts: round(sum(size) / len(size)) for parts, size in sizes.items()}
    kept = rounded(found, wanted, worth, round_to, counts)
    new: dict[str, Any] = dict.fromkeys(leaves)
    for name, mask in given.items():
        rows = along(found.axes[name][0], kept)
        rows = np.ones(mask.shape[0], bool) if rows is None else rows
        columns = rows.reshape(-1, *(1,) * (mask.ndim - 1))
        new[name] = jnp.asarray(np.broadcast_to(columns, mask.shape))
    return replace_leaves(model, new)
