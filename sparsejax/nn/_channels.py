"""Which channels of a model can go."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ._axis_rules import Node
from ._dependencies import Constants, Reader, Walk
from ._dims import Axes, Dim, Factors, expand, fix, new_axes, segments
from ._example import Call
from ._leaves import named_leaves, replace_leaves
from ._masks import checked_masks
from ._rebuild import layers_with_bias


class Channels(NamedTuple):
    """What is known of the axes of a model.

    Attributes
    ----------
    leaves
        Every array, by name.
    axes, state_axes
        Of these arrays, and of those of the state.
    readers, constants
        The layers that sum over channels, and what they find; no constants where nothing was
        computed.
    foldable
        The weights of layers that can take a constant into their bias.
    outputs
        Of the model.
    """

    leaves: dict[str, Array]
    axes: dict[str, Axes]
    state_axes: list[Axes]
    readers: list[Reader]
    constants: list[Constants]
    foldable: set[str]
    outputs: Any


def channels(model: Any, state: Any, call: Call, with_values: bool = True) -> Channels:
    """Trace a model in inference, and follow its axes."""
    inference = eqx.nn.inference_mode(model)
    leaves = named_leaves(inference)
    arrays = {name: leaf for name, leaf in leaves.items() if eqx.is_array(leaf)}

    def function(values: list[Array], state: Any, inputs: Any) -> Any:
        named = leaves | dict(zip(arrays, values, strict=True))
        return call(replace_leaves(inference, named), state, inputs)

    arguments = (list(arrays.values()), state, call.inputs)
    closed = jax.make_jaxpr(function)(*arguments)
    axes = {name: new_axes(leaf.shape) for name, leaf in arrays.items()}
    state_axes = [new_axes(leaf.shape) for leaf in jax.tree.leaves(state)]
    walk = Walk()

    def run(values: list[Array], state: Any, inputs: Any) -> Any:
        orders = (tuple(range(value.ndim)) for value in values)
        nodes = [
            Node(value, None, axes[name], (name, order))
            for (name, value, order) in zip(arrays, values, orders, strict=True)
        ]
        nodes += [Node(x, None, a) for x, a in zip(jax.tree.leaves(state), state_axes, strict=True)]
        for x in jax.tree.leaves(inputs):
            varying = jnp.ones(x.shape, bool)
            nodes.append(Node(x, varying, new_axes(x.shape, "inputs of the model")))
        outputs = walk.run(closed.jaxpr, closed.consts, nodes)
        fix((dim for node in outputs for axis in node.axes for dim in axis), "its outputs")
        return walk.constants, [node.value for node in outputs]

    evaluate = jax.jit(run) if with_values else lambda *args: jax.eval_shape(run, *args)
    constants, outputs = evaluate(*arguments)
    constants = [Constants(*map(np.asarray, c)) for c in constants] if with_values else []
    foldable = layers_with_bias(model)
    return Channels(arrays, axes, state_axes, walk.readers, constants, foldable, outputs)


def whole_masks(model: Any, keep: Any, argument: str) -> dict[str, np.ndarray]:
    """The masks by name, those of one entry a channel spread over the channel."""
    leaves = named_leaves(model)
    given = named_leaves(keep)

    def spread(name: str, mask: Any) -> Any:
        leaf: Any = leaves.get(name)
        if not eqx.is_array(leaf) or not eqx.is_array_like(mask):
            return mask
        if jnp.shape(mask) != leaf.shape[:1]:
            return mask
        columns = jnp.reshape(mask, (-1, *(1,) * (leaf.ndim - 1)))
        return jnp.broadcast_to(columns, leaf.shape)

    whole = {name: spread(name, mask) for name, mask in given.items()}
    found = checked_masks(model, whole, argument)
    return {name: np.asarray(mask) for name, mask in found.items() if mask is not None}


def by_factor(axis: Factors, values: np.ndarray, together: Any) -> Iterator[tuple[Dim, np.ndarray]]:
    """Values along an axis, taken together for every index of each segment of its factors."""
    factors = expand(axis)
    cube = values.reshape([dim.size for dim in factors])
    for i, dim in enumerate(factors):
        found = together(cube, axis=tuple(j for j in range(len(factors)) if j != i))
        yield from zip(dim.segments(), split(found, dim), strict=True)


def split(values: np.ndarray, dim: Dim) -> list[np.ndarray]:
    """Values along a dim by its segments."""
    return np.split(values, np.cumsum([segment.size for segment in dim.segments()])[:-1])


def along(axis: Factors, kept: dict[Dim, np.ndarray]) -> np.ndarray | None:
    """Which entries of an axis are kept; None for all."""
    factors = expand(axis)
    if all(kept[dim].all() for dim in segments(factors) if dim in kept):
        return None
    entries = np.ones([dim.size for dim in factors], bool)
    for i, dim in enumerate(factors):
        own = np.concatenate([kept.get(part, np.ones(part.size, bool)) for part in dim.segments()])
        entries &= own.reshape([-1 if j == i else 1 for j in range(len(factors))])
    return entries.reshape(-1)


def marked_channels(
    found: Channels, masks: dict[str, np.ndarray], leaves: dict[str, Any]
) -> tuple[dict[Dim, np.ndarray], dict[Dim, np.ndarray]]:
    """Which indices masks drop altogether, and how much of the weights lies there."""
    marked: dict[Dim, np.ndarray] = {}
    worth: dict[Dim, np.ndarray] = {}
    for name, mask in masks.items():
        size = np.abs(np.asarray(leaves[name], np.float64))
        size /= max(size.sum(), np.finfo(float).tiny)  # leaves count alike
        for i, axis in enumerate(found.axes[name]):
            others = tuple(j for j in range(mask.ndim) if j != i)
            for dim, gone in by_factor(axis, ~mask.any(others), np.all):
                marked[dim] = marked.get(dim, False) | gone
            for dim, total in by_factor(axis, size.sum(others), np.sum):
                worth[dim] = worth.get(dim, 0.0) + total
    return marked, worth


def droppable_channels(found: Channels, marked: dict[Dim, np.ndarray]) -> dict[Dim, np.ndarray]:
    """Those marked indices that no reader misses."""
    droppable = {dim: gone & (dim.fixed is None) for dim, gone in marked.items()}
    for reader, constant in zip(found.readers, found.constants, strict=True):
        for dim, fine in by_factor(reader.factors, _harmless(found, reader, constant), np.all):
            if dim in droppable:
                droppable[dim] = droppable[dim] & fine
    return droppable


def _harmless(found: Channels, reader: Reader, constant: Constants) -> np.ndarray:
    """Indices that are not needed, or constant in a way that the layer can do without."""
    weight = np.asarray(found.leaves[reader.leaf])
    others = tuple(i for i in range(weight.ndim) if i != reader.axis)
    unread = ~np.any(weight != 0, axis=others)
    zero = (constant.low == 0) & (constant.high == 0)
    same = [c for r, c in zip(found.readers, found.constants, strict=True) if r.leaf == reader.leaf]
    low, high = (function([c[k] for c in same], 0) for function, k in ((np.min, 1), (np.max, 2)))
    rounding = 8 * float(jnp.finfo(low.dtype).eps) * np.maximum(np.abs(low), np.abs(high))
    can_fold = reader.leaf in found.foldable and reader.axis == 1
    return unread | (~constant.varying & (zero | (can_fold & (high - low <= rounding))))


def why_not(found: Channels, marked: dict[Dim, np.ndarray], masks: dict[str, np.ndarray]) -> str:
    """Of the first leaf with masked channels."""
    for name in masks:
        for dim in segments(expand(dim for axis in found.axes[name] for dim in axis)):
            if np.any(marked[dim]):
                why = dim.fixed or _who_needs(found, dim)
                return f"`keep`: none of the channels that {name!r} drops can go: they are {why}."
    return "`keep` drops parts of groups of channels, of which only whole ones can go."


def _who_needs(found: Channels, dim: Dim) -> str:
    reader = next((r.leaf for r in found.readers if dim in segments(expand(r.factors))), None)
    return (
        f"not constant, or not in a way that can be done without, where {reader!r} reads them "
        "(shared_masks makes the masks of layers that write one stream agree)"
    )
