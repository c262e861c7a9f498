"""Channels removed from a model, for good."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .._checks import check_integer
from ._channels import (
    Channels,
    along,
    channels,
    droppable_channels,
    marked_channels,
    whole_masks,
    why_not,
)
from ._dims import Axes, Dim, Factors, expand
from ._example import Call, call_of
from ._leaves import named_leaves, replace_leaves
from ._masks import apply_masks
from ._rebuild import with_sizes


def slim(
    model: Any, state: Any, keep: Any, round_to: int = 8, *, example: Any = None
) -> tuple[Any, Any]:
    """Remove masked channels from a model: what is left computes the same, faster.

    Parameters
    ----------
    model
        Any Equinox module. It is traced, so that channels are followed through whatever its code
        does: residual streams, flattening, pooling, gates, grouped convolutions, heads.
    state
        Of its BatchNorm layers, from ``equinox.nn.make_with_state``; None for models without.
    keep
        Masks as of ``magnitude_masks`` with ``Channel``: a pytree of the model's shape, or a dict
        of leaf names, True = keep. A mask may also be of shape (out,), one entry a channel. Scales
        of norms may be masked as well as weights.
    round_to
        Widths are rounded up to a multiple of this, at most to what they were. Some masked channels
        then stay, those of largest weights: still masked, but they can learn again.
    example
        What the model is called with for one sample, apart from state and key: an array, a
        ``jax.ShapeDtypeStruct``, or a tuple of several. By default what one of the layers could
        take, images of usual sizes included, if the model takes it.

    Returns
    -------
    model, state
        In inference they compute what ``apply_masks(model, keep)`` does. A channel goes if it is
        masked wherever it is written, so that it is constant wherever it is read; ``shared_masks``
        makes the masks of residual streams agree. What the constant adds is put into the bias of
        the layer that reads it, or, where a convolution sees zeros beyond the border, into a
        ``BorderedConv``. The inputs and outputs of the model keep their widths, and so does what a
        LayerNorm averages.

    Raises
    ------
    ValueError
        If no masked channel can go (the message says why), if the model's code does not work with
        fewer, or if masks do not fit; the message names the leaf.

    Examples
    --------
    >>> import equinox as eqx, jax, jax.numpy as jnp, sparsejax as sj
    >>> model = eqx.nn.MLP(8, 2, 32, 2, key=jax.random.key(0))
    >>> keep = sj.nn.magnitude_masks(model, sj.nn.Channel(0.5))
    >>> small, _ = sj.nn.slim(model, None, keep)
    >>> [layer.weight.shape for layer in small.layers]
    [(16, 8), (16, 16), (2, 16)]
    >>> masked, x = sj.nn.apply_masks(model, keep), jnp.ones(8)
    >>> bool(jnp.allclose(small(x), masked(x), atol=1e-6))
    True
    """
    masks = whole_masks(model, keep, "keep")
    call = call_of(eqx.nn.inference_mode(model), state, example)
    masked = apply_masks(model, masks)
    found = channels(masked, state, call)
    marked, worth = marked_channels(found, masks, named_leaves(model))
    droppable = droppable_channels(found, marked)
    drops = any(not mask.any(tuple(range(1, mask.ndim))).all() for mask in masks.values())
    if drops and not any(map(np.any, droppable.values())):
        raise ValueError(why_not(found, marked, masks))
    kept = rounded(found, {dim: ~gone for dim, gone in droppable.items()}, worth, round_to)
    small = _cut(masked, state, found, kept)
    _verify(*small, call, found.outputs)
    return small


def rounded(
    found: Channels,
    wanted: dict[Dim, np.ndarray],
    worth: dict[Dim, np.ndarray],
    round_to: int,
    counts: Mapping[Factors, int] = MappingProxyType({}),
) -> dict[Dim, np.ndarray]:
    """Which indices stay: of every axis one at least, and of widths a multiple, rounded up.

    By default those that are wanted by more than a half; or by their segments, how many of a
    width. The most wanted stay, then the most worth.
    """
    check_integer("round_to", round_to)
    axes = [expand(axis) for reader in found.readers for axis in found.axes[reader.leaf]]
    widths = {factors[0].segments() for factors in axes if len(factors) == 1}
    new: dict[Dim, np.ndarray] = {}
    # Of joined channels those of the narrower axis are settled first.
    sizes = {parts: sum(part.size for part in parts) for parts in widths}
    for parts in [*sorted(sizes, key=sizes.__getitem__), *((dim,) for dim in wanted)]:
        left = [part for part in parts if part in wanted and part not in new]
        if not left:
            continue
        of_left, worth_left = (
            np.concatenate([of[part] for part in left]) for of in (wanted, worth)
        )
        settled = sum(int(new[p].sum()) if p in new else p.size for p in parts if p not in left)
        count = max(counts.get(parts, settled + int(np.sum(of_left >= 0.5))), settled, 1)
        multiple = round_to if parts in widths else 1
        order = np.lexsort((-worth_left, -of_left.astype(float)))
        chosen = order[: -(-count // multiple) * multiple - settled]
        ends = np.cumsum([part.size for part in left])[:-1]
        stays = np.isin(np.arange(order.size), chosen)
        new |= zip(left, np.split(stays, ends), strict=True)
    return new


def _cut(model: Any, state: Any, found: Channels, kept: dict[Dim, np.ndarray]) -> tuple[Any, Any]:
    """The model and state with what is kept of their axes, and the constants folded in."""
    leaves = named_leaves(model)
    biases, borders = _folded(leaves, found, kept)
    for name, array in leaves.items():
        if name in found.axes:
            leaves[name] = _taken(array, found.axes[name], kept)
    if state is not None:
        values, structure = jax.tree.flatten(state)
        cut = [_taken(x, axes, kept) for x, axes in zip(values, found.state_axes, strict=True)]
        state = jax.tree.unflatten(structure, cut)
    return with_sizes(replace_leaves(model, leaves), state, biases, borders), state


def _folded(
    leaves: dict[str, Any], found: Channels, kept: dict[Dim, np.ndarray]
) -> tuple[dict[str, Array], dict[str, Array]]:
    """What constants of dropped channels add, put into biases (in place) or returned as new ones.

    Returned are biases and borders of the layers that had none, by the layer's name.
    """
    biases, borders = {}, {}
    first = zip(reversed(found.readers), reversed(found.constants), strict=True)
    for reader, constant in {reader.leaf: (reader, c) for reader, c in first}.values():
        keep = along(reader.factors, kept)
        if keep is None or reader.leaf not in found.foldable:
            continue
        weight = leaves[reader.leaf]
        value = np.where(keep | constant.varying, 0.0, constant.low)
        added = np.tensordot(np.asarray(weight, float), value, (1, 0))  # (out, *kernel)
        if not np.any(added):
            continue
        layer = reader.leaf.removesuffix("weight")
        where, new = f"{layer}bias", biases
        if reader.is_padded:
            where, new, added = f"{layer}border", borders, added[:, None]
        elif reader.is_convolution:
            added = np.sum(added, tuple(range(1, added.ndim)), keepdims=True)
        if leaves.get(where) is not None:
            leaves[where] = jnp.asarray(np.asarray(leaves[where], float) + added, weight.dtype)
        else:
            rows = (found.axes[reader.leaf][0], *((),) * (added.ndim - 1))
            new[layer.removesuffix(".")] = _taken(jnp.asarray(added, weight.dtype), rows, kept)
    return biases, borders


def _taken(array: Array, axes: Axes, kept: dict[Dim, np.ndarray]) -> Array:
    """By NumPy, which need not compile for every shape."""
    keeps = [along(axis, kept) for axis in axes]
    if all(keep is None for keep in keeps):
        return array
    values = np.asarray(array)
    for i, keep in enumerate(keeps):
        values = values if keep is None else np.compress(keep, values, axis=i)
    return jnp.asarray(values)


def _verify(model: Any, state: Any, call: Call, expected: list[Array]) -> None:
    """Raise unless the model still computes what it did."""
    inference = eqx.nn.inference_mode(model)
    try:
        outputs = eqx.filter_jit(call)(inference, state, call.inputs)
    except Exception as error:
        raise ValueError(f"`model` does not work with fewer channels: {error}") from error
    for new, old in zip(jax.tree.leaves(outputs), expected, strict=True):
        tolerance = float(jnp.finfo(jnp.result_type(old, jnp.float32)).eps) ** 0.5
        if jnp.issubdtype(old.dtype, jnp.inexact):
            tolerance = float(jnp.finfo(old.dtype).eps) ** 0.5
        if not jnp.all(jnp.abs(new - old) <= tolerance * jnp.max(jnp.abs(old))):
            raise ValueError(
                "`model` computes something else with fewer channels: its code depends on their "
                "number in a way that cannot be followed."
            )
