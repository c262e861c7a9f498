"""Which axes of which arrays of a model depend on each other, and where channels are constant.

The traced model is walked through operation by operation. Every array carries the names of its
axes (``Dim``), and which of its entries vary with the inputs.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ._axis_rules import Node, constant, rule, unknown, varying_product
from ._dims import Factors, fix, new_axes, regroup, unify
from ._jaxprs import bind, called

_CALLS = ("checkpoint", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "jit")
_CALLS += ("pjit", "remat2")


class Reader(NamedTuple):
    """A product or convolution that sums over channels, and what it finds there.

    Attributes
    ----------
    leaf, axis
        The weight, and which axis of it is summed over.
    factors
        Of that axis.
    is_convolution, is_padded
        Whether it is a convolution, and one that sees zeros beyond the border.
    """

    leaf: str
    axis: int
    factors: Factors
    is_convolution: bool
    is_padded: bool


class Constants(NamedTuple):
    """What a reader finds: for every index, whether it varies and the bounds of its values."""

    varying: Bool[Array | np.ndarray, " n"]
    low: Float[Array | np.ndarray, " n"]
    high: Float[Array | np.ndarray, " n"]


class Walk:
    """One walk through a traced model."""

    def __init__(self) -> None:
        self.readers: list[Reader] = []
        self.constants: list[Constants] = []

    def run(self, jaxpr: Any, consts: Sequence[Any], args: Sequence[Node]) -> list[Node]:
        """The outputs, after every operation has been noted."""
        known = [constant(value) for value in consts]
        nodes: dict[Any, Node] = dict(
            zip([*jaxpr.constvars, *jaxpr.invars], [*known, *args], strict=True)
        )

        def read(atom: Any) -> Node:
            if isinstance(atom, jex.Literal):
                return constant(jnp.asarray(atom.val, jnp.result_type(atom.val)))
            return nodes[atom]

        for equation in jaxpr.eqns:
            results = self._step(equation, [read(atom) for atom in equation.invars])
            nodes.update(zip(equation.outvars, results, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def _step(self, equation: Any, operands: list[Node]) -> list[Node]:
        name = equation.primitive.name
        inner = called(equation) if name in _CALLS else None
        if inner is not None:
            return self.run(*inner, operands)
        values = bind(equation, [node.value for node in operands])
        if name == "dot_general":
            return [self._product(equation, operands, values[0])]
        if name == "conv_general_dilated":
            return [self._convolution(equation, operands, values[0])]
        of_name = rule(name)
        are_keys = any(jnp.issubdtype(node.value.dtype, jax.dtypes.extended) for node in operands)
        if of_name is None or are_keys:
            return unknown(name, operands, values)
        return [of_name(equation, operands, values[0])]

    def _product(self, equation: Any, operands: list[Node], value: Any) -> Node:
        (summed, batch), (left, right) = equation.params["dimension_numbers"], operands
        for one, other in (*zip(*summed, strict=True), *zip(*batch, strict=True)):
            unify(left.axes[one], right.axes[other])
        pairs = list(zip(*summed, strict=True))
        if len(pairs) == 1 and right.leaf and not left.leaf:
            self._read(left, pairs[0][0], right, pairs[0][1])
        elif len(pairs) == 1 and left.leaf and not right.leaf:
            self._read(right, pairs[0][1], left, pairs[0][0])
        else:
            for one, _ in pairs:
                fix(left.axes[one], "summed over in a product of two activations")
        free = lambda node, side: tuple(  # noqa: E731
            axis
            for i, axis in enumerate(node.axes)
            if i not in summed[side] and i not in batch[side]
        )
        axes = tuple(left.axes[i] for i in batch[0]) + free(left, 0) + free(right, 1)
        return Node(value, varying_product(equation, left, right), axes)

    def _convolution(self, equation: Any, operands: list[Node], value: Any) -> Node:
        parameters, (x, kernel) = equation.params, operands
        numbers = parameters["dimension_numbers"]
        lhs, rhs, out = numbers.lhs_spec, numbers.rhs_spec, numbers.out_spec
        groups = parameters["feature_group_count"]
        channels, outputs = x.axes[lhs[1]], kernel.axes[rhs[0]]
        for axis in lhs[2:]:
            fix(x.axes[axis], "a spatial axis of a convolution")
        for axis in rhs[2:]:
            fix(kernel.axes[axis], "a spatial axis of a kernel")
        dilated = any(n != 1 for n in parameters["lhs_dilation"])
        if parameters["batch_group_count"] != 1 or not kernel.leaf or x.leaf or dilated:
            fix(channels, "read by a convolution of an unusual kind")
            fix(kernel.axes[rhs[1]], "read by a convolution of an unusual kind")
        elif groups == 1:
            unify(channels, kernel.axes[rhs[1]])
            padded = any(map(any, parameters["padding"]))
            self._read(x, lhs[1], kernel, rhs[1], is_convolution=True, is_padded=padded)
        else:
            outputs = _grouped(channels, kernel, rhs, groups)
        axes: list[Factors] = list(new_axes(value.shape, "a spatial axis"))
        axes[out[0]], axes[out[1]] = x.axes[lhs[0]], outputs
        return Node(value, varying_product(equation, x, kernel), tuple(axes))

    def _read(
        self,
        x: Node,
        axis: int,
        weight: Node,
        weight_axis: int,
        is_convolution: bool = False,
        is_padded: bool = False,
    ) -> None:
        name, order = weight.leaf  # type: ignore[misc]  # a caller has looked
        leaf_axis = order[weight_axis]
        reader = Reader(name, leaf_axis, x.axes[axis], is_convolution, is_padded)
        others = tuple(i for i in range(x.value.ndim) if i != axis)
        size = (x.value.shape[axis],)
        varying = jnp.zeros(size, bool) if x.varying is None else jnp.any(x.varying, others)
        self.readers.append(reader)
        self.constants.append(
            Constants(varying, jnp.min(x.value, others), jnp.max(x.value, others))
        )


def _grouped(channels: Factors, kernel: Node, rhs: Sequence[int], groups: int) -> Factors:
    """Groups of channels are passed on to groups of outputs; only whole ones can go."""
    outputs = kernel.axes[rhs[0]]
    size = math.prod(dim.size for dim in channels)
    split = regroup((channels,), (groups, size // groups))
    size = math.prod(dim.size for dim in outputs)
    written = regroup((outputs,), (groups, size // groups))
    unify(split[0], written[0])
    for part in (split[1], written[1], kernel.axes[rhs[1]]):
        fix(part, "within a group of a convolution")
    return outputs
