"""What the linear layers inside a block are given, however the block calls them."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.extend.core as jex
import jax.numpy as jnp
from jax.interpreters import batching
from jaxtyping import Array, Float

from ._jaxprs import LOOPS, bind, called
from ._leaves import name_of

_tap = jex.Primitive("tap")  # passes its operand on, under a name
_tap.def_impl(lambda x, *, name: x)
_tap.def_abstract_eval(lambda x, *, name: x)


def _tap_batch(args: tuple[Array], dims: tuple[int], *, name: str) -> tuple[Array, int]:
    (x,), (dim,) = args, dims
    return _tap.bind(jnp.moveaxis(x, dim, 0), name=name), 0


batching.primitive_batchers[_tap] = _tap_batch  # so that features stay the last axis


class _Tapped(eqx.Module):
    """A linear layer that says what it is given."""

    linear: eqx.nn.Linear
    name: str = eqx.field(static=True)

    def __call__(self, x: Float[Array, " in"], *, key: Any = None) -> Float[Array, " out"]:
        if jnp.shape(x) != (self.linear.in_features,):
            raise ValueError(
                f"`inputs`: {self.name!r} takes ({self.linear.in_features},) features; "
                f"got shape {jnp.shape(x)}."
            )
        return self.linear(_tap.bind(x, name=self.name), key=key)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.linear, name)  # sizes and weights, for code that asks for them


def linear_layers(block: Any) -> dict[str, eqx.nn.Linear]:
    """The linear layers of a block, by name."""
    found = jax.tree_util.tree_flatten_with_path(block, is_leaf=_is_linear)[0]
    return {name_of(path): node for path, node in found if _is_linear(node)}


def replace_linear_layers(block: Any, new: dict[str, Any]) -> Any:
    """The block with other layers in their places."""
    found, structure = jax.tree_util.tree_flatten_with_path(block, is_leaf=_is_linear)
    nodes = [new.get(name_of(path), node) if _is_linear(node) else node for path, node in found]
    return jax.tree_util.tree_unflatten(structure, nodes)


def record(
    block: Callable[[Array], Array], inputs: Float[Array, "samples ..."]
) -> tuple[Array, dict[str, list[Float[Array, "... in"]]]]:
    """Outputs of the block for every sample, and what each linear layer in it was given.

    The block is traced, with its calls of ``vmap`` and ``jit``, and walked through operation by
    operation: a layer may be called many times and inside any of these, but not in a loop.
    """
    layers = linear_layers(block)
    tapped = replace_linear_layers(block, {n: _Tapped(layer, n) for n, layer in layers.items()})
    jaxpr, shape = jax.make_jaxpr(jax.vmap(tapped), return_shape=True)(inputs)
    seen: dict[str, list[Array]] = {name: [] for name in layers}
    outputs = _walk(jaxpr.jaxpr, jaxpr.consts, jax.tree.leaves(inputs), seen)
    return jax.tree.unflatten(jax.tree.structure(shape), outputs), seen


def _is_linear(node: Any) -> bool:
    return isinstance(node, eqx.nn.Linear) and isinstance(node.in_features, int)


def _walk(jaxpr: Any, consts: Any, args: list[Any], seen: dict[str, list[Array]]) -> list[Any]:
    """Evaluate operation by operation, and note what passes the taps."""
    values: dict[Any, Any] = dict(
        zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True)
    )

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, jex.Literal) else values[atom]

    for equation in jaxpr.eqns:
        operands = [read(atom) for atom in equation.invars]
        if equation.primitive is _tap:
            seen[equation.params["name"]].append(operands[0])
            results = operands
        elif not (name := _tap_within(equation)):
            results = bind(equation, operands)
        elif equation.primitive.name in LOOPS or not (inner := called(equation)):
            raise ValueError(
                f"`blocks`: {name!r} is called inside {equation.primitive.name}, where its inputs "
                "cannot be collected; write the loop out."
            )
        else:
            results = _walk(*inner, operands, seen)
        values.update(zip(equation.outvars, results, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _tap_within(equation: Any) -> str | None:
    """The name of a tap somewhere inside an operation."""
    for inner in jex.jaxprs_in_params(equation.params):
        for deeper in inner.eqns:
            name = deeper.params["name"] if deeper.primitive is _tap else _tap_within(deeper)
            if name:
                return name
    return None
