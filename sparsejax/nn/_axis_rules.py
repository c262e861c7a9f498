"""What one operation does to the axes of its operands, and to which entries vary."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from ._dims import Axes, Dim, Factors, fix, joined, new_axes, regroup, unify
from ._jaxprs import bind

# Entry by entry: the same operation for every index.
_ELEMENTWISE = frozenset(
    "abs acos acosh add add_any and asin asinh atan atan2 atanh cbrt ceil clamp "  # noqa: SIM905
    "convert_element_type copy cos cosh div eq erf erf_inv erfc exp exp2 expm1 floor ge gt "
    "integer_pow is_finite le lgamma log log1p logistic lt max min mul ne neg nextafter not or "
    "optimization_barrier pow real reduce_precision rem round rsqrt select_n sign sin sinh sqrt "
    "square stop_gradient sub tan tanh xor".split()
)
_WINDOWS = ("reduce_window", "reduce_window_max", "reduce_window_min", "reduce_window_sum")


class Node(NamedTuple):
    """An array on the way through the model.

    Attributes
    ----------
    value
        At the example.
    varying
        Which entries vary with the inputs; None where none does.
    axes
        What its axes are.
    leaf
        The name of the leaf of the model that this is, and which of its axes come in which order.
    """

    value: Any
    varying: Bool[Array, "..."] | None
    axes: Axes
    leaf: tuple[str, tuple[int, ...]] | None = None


def constant(value: Any) -> Node:
    """A number or an array that the model's code holds, whose axes are not channels."""
    return Node(value, None, new_axes(jnp.shape(value), "a constant of the model's code"))


def _shadow(node: Node) -> Any:
    """One where the entries vary."""
    if node.varying is None:
        return jnp.zeros_like(node.value)
    return node.varying.astype(node.value.dtype)


def _matters(node: Node) -> Any:
    """One where a factor may differ from zero."""
    nonzero = node.value != 0
    return (nonzero if node.varying is None else nonzero | node.varying).astype(node.value.dtype)


def varying_product(equation: Any, left: Node, right: Node) -> Any:
    """Whatever is a sum of products varies where a factor does whose partner is not zero."""
    terms = []
    if left.varying is not None:
        terms.append(bind(equation, [_shadow(left), _matters(right)])[0] > 0)
    if right.varying is not None:
        terms.append(bind(equation, [_matters(left), _shadow(right)])[0] > 0)
    return functools.reduce(jnp.logical_or, terms) if terms else None


def _any_varying(operands: Sequence[Node], shape: tuple[int, ...]) -> Any:
    varying = [node.varying for node in operands if node.varying is not None]
    if not varying:
        return None
    return functools.reduce(jnp.logical_or, [jnp.broadcast_to(v, shape) for v in varying])


def _elementwise(equation: Any, operands: list[Node], value: Any) -> Node:
    axes: list[Factors] = [()] * value.ndim
    for node in operands:
        # Scalars go with every shape, and axes of size one with every size.
        for i, axis in enumerate(node.axes if node.value.ndim == value.ndim else ()):
            if axis and axes[i]:
                unify(axes[i], axis)
            axes[i] = axes[i] or axis
    if equation.primitive.name == "mul":
        left, right = operands
        terms = [
            Node(value, jnp.logical_and(one.varying, _matters(other) > 0), ())
            for one, other in ((left, right), (right, left))
            if one.varying is not None
        ]
        return Node(value, _any_varying(terms, value.shape), tuple(axes))
    is_same = equation.primitive.name in ("convert_element_type", "stop_gradient", "copy")
    leaf = operands[0].leaf if is_same else None
    return Node(value, _any_varying(operands, value.shape), tuple(axes), leaf)


def _moved(equation: Any, operands: list[Node], value: Any, axes: Axes, leaf: Any = None) -> Node:
    """The same entries elsewhere: the operation itself says which of them vary."""
    if all(node.varying is None for node in operands):
        return Node(value, None, axes, leaf)
    shadows = [_shadow(node) for node in operands]
    return Node(value, bind(equation, shadows)[0] > 0, axes, leaf)


def _transpose(equation: Any, operands: list[Node], value: Any) -> Node:
    (node,), order = operands, equation.params["permutation"]
    axes = tuple(node.axes[i] for i in order)
    leaf = node.leaf and (node.leaf[0], tuple(node.leaf[1][i] for i in order))
    return _moved(equation, operands, value, axes, leaf)


def _broadcast(equation: Any, operands: list[Node], value: Any) -> Node:
    node = operands[0]
    axes = list(new_axes(value.shape))
    for i, axis in enumerate(equation.params["broadcast_dimensions"]):
        if node.value.shape[i] == value.shape[axis]:
            axes[axis] = node.axes[i]
    return _moved(equation, operands[:1], value, tuple(axes))


def _reshape(equation: Any, operands: list[Node], value: Any) -> Node:
    return _moved(equation, operands, value, regroup(operands[0].axes, value.shape))


def _squeeze(equation: Any, operands: list[Node], value: Any) -> Node:
    gone = equation.params["dimensions"]
    axes = tuple(axis for i, axis in enumerate(operands[0].axes) if i not in gone)
    return _moved(equation, operands, value, axes)


def _same_rank(equation: Any, operands: list[Node], value: Any) -> Node:
    """Slices, padding and joining: axes of the same size are the same."""
    name = equation.primitive.name
    arrays = [node for node in operands if node.value.ndim == value.ndim]
    if name == "concatenate":
        changed = {equation.params["dimension"]}
    elif name == "rev":
        changed = set(equation.params["dimensions"])
    else:
        sizes = zip(operands[0].value.shape, value.shape, strict=True)
        changed = {i for i, (before, after) in enumerate(sizes) if before != after}
    axes = list(new_axes(value.shape, f"the result of {name}"))
    for i in range(value.ndim):
        first, *others = (node.axes[i] for node in arrays)
        for other in others:
            if i not in changed:
                unify(first, other)
        if i in changed and name in ("concatenate", "pad"):
            axes[i] = _longer(equation, i, arrays)
        elif i in changed:
            fix((dim for node in arrays for dim in node.axes[i]), f"cut by {name}")
        else:
            axes[i] = first
    starts = operands[1:] if name == "dynamic_slice" else []
    if any(node.varying is not None for node in starts):
        return Node(value, jnp.ones(value.shape, bool), tuple(axes))
    if name == "dynamic_slice":
        if operands[0].varying is None:
            return Node(value, None, tuple(axes))
        inputs = [_shadow(operands[0]), *(node.value for node in starts)]
        return Node(value, bind(equation, inputs)[0] > 0, tuple(axes))
    return _moved(equation, operands, value, tuple(axes))


def _longer(equation: Any, i: int, arrays: list[Node]) -> Factors:
    """The axis of a result that consists of those of the operands, or of one and what is added."""
    if equation.primitive.name == "concatenate":
        return joined([node.axes[i] for node in arrays], [node.value.shape[i] for node in arrays])
    low, high, within = equation.params["padding_config"][i]
    axis, size, why = arrays[0].axes[i], arrays[0].value.shape[i], "added by pad"
    if min(low, high) < 0 or within:
        fix(axis, "cut or extended by pad")
        return (Dim(low + size + high + within * max(size - 1, 0), why),)
    return joined([(Dim(low, why),), axis, (Dim(high, why),)], [low, size, high])


def _gather(equation: Any, operands: list[Node], value: Any) -> Node:
    """Rows of a table: axes that are taken whole go on."""
    table, indices = operands
    numbers, sizes = equation.params["dimension_numbers"], equation.params["slice_sizes"]
    gone = {*numbers.collapsed_slice_dims, *getattr(numbers, "operand_batching_dims", ())}
    axes = list(new_axes(value.shape, "the result of an indexing"))
    taken = [i for i in range(len(sizes)) if i not in gone]
    whole = {i for i in taken if sizes[i] == table.value.shape[i]}
    for i, axis in zip(taken, numbers.offset_dims, strict=True):
        if i in whole:
            axes[axis] = table.axes[i]
    for i, axis in enumerate(table.axes):
        if i not in whole:
            fix(axis, "indexed")
    fix((dim for axis in indices.axes for dim in axis), "an index")
    varies = table.varying is not None or indices.varying is not None
    return Node(value, jnp.ones(value.shape, bool) if varies else None, tuple(axes))


def _reduce(equation: Any, operands: list[Node], value: Any) -> Node:
    (node,), summed = operands, equation.params["axes"]
    name = equation.primitive.name
    fix((dim for i in summed for dim in node.axes[i]), f"taken together by {name}")
    axes = tuple(axis for i, axis in enumerate(node.axes) if i not in summed)
    varying = None if node.varying is None else jnp.any(node.varying, tuple(map(int, summed)))
    return Node(value, varying, axes)


def _window(equation: Any, operands: list[Node], value: Any) -> Node:
    node, parameters = operands[0], equation.params
    axes = list(new_axes(value.shape, "a pooled axis"))
    for i, width in enumerate(parameters["window_dimensions"]):
        if width == 1 and node.value.shape[i] == value.shape[i]:
            axes[i] = node.axes[i]
        else:
            fix(node.axes[i], "pooled")
    if node.varying is None:
        return Node(value, None, tuple(axes))
    names = ("window_dimensions", "window_strides", "padding", "base_dilation", "window_dilation")
    how = [parameters[name] for name in names]
    zero = jnp.zeros((), node.value.dtype)
    pooled = jax.lax.reduce_window(_shadow(node), zero, jax.lax.max, *how)
    return Node(value, pooled > 0, tuple(axes))


def unknown(name: str, operands: list[Node], values: Sequence[Any]) -> list[Node]:
    """Results of an operation without a rule: new axes, and those of its operands must stay."""
    for node in operands:
        fix((dim for axis in node.axes for dim in axis), f"an operand of {name}")
    varies = any(node.varying is not None for node in operands)
    return [
        Node(
            value,
            jnp.ones(jnp.shape(value), bool) if varies else None,
            new_axes(jnp.shape(value), f"the result of {name}"),
        )
        for value in values
    ]


_Rule = Callable[[Any, list[Node], Any], Node]
_RULES: dict[str, _Rule] = {
    "broadcast_in_dim": _broadcast,
    "concatenate": _same_rank,
    "dynamic_slice": _same_rank,
    "gather": _gather,
    "pad": _same_rank,
    "reshape": _reshape,
    "rev": _same_rank,
    "slice": _same_rank,
    "squeeze": _squeeze,
    "transpose": _transpose,
}


def rule(name: str) -> _Rule | None:
    """What an operation does to axes; None if that is not known."""
    if name in _ELEMENTWISE:
        return _elementwise
    if name in _WINDOWS:
        return _window
    if name.startswith("reduce_"):
        return _reduce
    return _RULES.get(name)
