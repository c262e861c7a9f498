"""How a model is called, and with what, where the caller does not say."""

import inspect
from collections.abc import Iterator
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

# Sizes of images that are tried, the usual ones first.
_SIZES = (32, 28, 224, 64, 96, 128, 256, 16, 8, 48, 4, 24, 20, 12, 10, 40, 56, 84, 100, 112, 160)


class Call(NamedTuple):
    """A call of a model on one sample.

    Attributes
    ----------
    inputs
        What stands for the sample, and a key that is there for those who ask.
    """

    inputs: tuple[Any, ...]

    def __call__(self, model: Any, state: Any, inputs: tuple[Any, ...]) -> Any:
        """The outputs, without the state."""
        *samples, key = inputs
        left, positional, named = list(samples), [], {}
        for parameter in inspect.signature(model).parameters.values():
            keyword = parameter.kind is parameter.KEYWORD_ONLY
            if parameter.name == "state" and state is not None:
                positional.append(state)
            elif parameter.name == "key":
                if keyword:
                    named["key"] = key
                elif parameter.default is parameter.empty:
                    positional.append(key)
            elif left and not keyword:
                # *args take all that are left.
                count = len(left) if parameter.kind is parameter.VAR_POSITIONAL else 1
                positional += left[:count]
                del left[:count]
        output = model(*positional, **named)
        return output if state is None else output[0]


def call_of(model: Any, state: Any, example: Any) -> Call:
    """The call on an example, which is found by trial where it is None."""
    if not callable(model):
        raise TypeError(f"`model` must be callable; got {type(model).__name__}.")
    stateful = any(isinstance(x, eqx.nn.StateIndex) for x in _nodes(model))
    if stateful and state is None:
        raise ValueError("`state` is needed: the model has layers with a state, such as BatchNorm.")
    key = jax.random.key(0)
    if example is not None:
        samples = example if isinstance(example, tuple) else (example,)
        return Call((*map(_concrete, samples), key))
    weights = [leaf for leaf in jax.tree.leaves(model) if eqx.is_inexact_array(leaf)]
    dtype = weights[0].dtype if weights else jnp.result_type(float)
    for shape in _shapes(model):
        call = Call((_concrete(jax.ShapeDtypeStruct(shape, dtype)), key))
        try:
            eqx.filter_eval_shape(call, model, state, call.inputs)
        except Exception:  # whatever a model raises for inputs that it does not take
            continue
        return call
    raise ValueError(
        "`example` is needed: what the model is called with, apart from state and key, without a "
        "batch axis (a tuple if there are several; jax.ShapeDtypeStruct will do)."
    )


def _nodes(model: Any) -> list[Any]:
    return jax.tree.leaves(model, is_leaf=lambda x: isinstance(x, eqx.nn.StateIndex))


def _concrete(sample: Any) -> Any:
    """Values for a shape."""
    if not isinstance(sample, jax.ShapeDtypeStruct):
        return jnp.asarray(sample)
    dtype = jax.dtypes.canonicalize_dtype(sample.dtype)
    if jnp.issubdtype(dtype, jnp.inexact):
        # NumPy need not compile for every shape.
        return jnp.asarray(np.random.default_rng(0).normal(size=sample.shape), dtype)
    return jnp.zeros(sample.shape, dtype)


def _shapes(model: Any) -> Iterator[tuple[int, ...]]:
    """Of single samples, by the layers that may be the first to see them."""
    kinds = (eqx.nn.Linear, eqx.nn.Conv, eqx.nn.ConvTranspose)
    layers = jax.tree.leaves(model, is_leaf=lambda x: isinstance(x, kinds))
    shapes: dict[tuple[int, ...], None] = {}
    for layer in layers:
        if isinstance(layer, kinds[1:]):
            axes = layer.num_spatial_dims
            shapes |= dict.fromkeys((layer.in_channels, *(size,) * axes) for size in _SIZES)
    for layer in layers:
        if isinstance(layer, eqx.nn.Linear) and isinstance(layer.in_features, int):
            shapes |= dict.fromkeys([(layer.in_features,), (8, layer.in_features)])
    yield from shapes
    yield ()
