"""Layers of Equinox whose sizes follow the arrays they hold."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.tree_util as jtu
from jaxtyping import Array

from .._modules import replace
from ._bordered_conv import BorderedConv
from ._leaves import name_of

_CONVOLUTIONS = (eqx.nn.Conv, eqx.nn.ConvTranspose)
_INNER = (
    eqx.nn.Linear,
    *_CONVOLUTIONS,
    eqx.nn.BatchNorm,
    eqx.nn.GroupNorm,
    eqx.nn.LayerNorm,
    eqx.nn.RMSNorm,
    eqx.nn.Embedding,
)
_OUTER = (eqx.nn.MLP, eqx.nn.MultiheadAttention)


def layers_with_bias(model: Any) -> set[str]:
    """The weights of layers that add what they are told to, by name."""
    names = set()

    def note(name: str, layer: Any) -> Any:
        names.add(f"{name}.weight" if name else "weight")
        return layer

    map_layers(note, model, (eqx.nn.Linear, eqx.nn.Conv))
    return names


def with_sizes(model: Any, state: Any, biases: dict[str, Array], borders: dict[str, Array]) -> Any:
    """The model with layers that know the sizes of their arrays.

    ``biases`` and ``borders`` are those of layers, by name, that had none before.
    """

    def inner(name: str, layer: Any) -> Any:
        changes = _sizes(layer, state)
        if name in biases:
            changes |= {"bias": biases[name], "use_bias": True}
        layer = replace(layer, **changes)
        return BorderedConv.of(layer, borders[name]) if name in borders else layer

    model = map_layers(inner, model, _INNER)
    return map_layers(lambda _, layer: replace(layer, **_sizes(layer, state)), model, _OUTER)


def map_layers(function: Callable[[str, Any], Any], model: Any, kinds: tuple[type, ...]) -> Any:
    """The model with what the function of names and layers makes of layers of some kinds."""
    is_layer = lambda node: isinstance(node, kinds)  # noqa: E731
    flat, structure = jtu.tree_flatten_with_path(model, is_leaf=is_layer)
    new = [function(name_of(path), x) if is_layer(x) else x for path, x in flat]
    return jtu.tree_unflatten(structure, new)


def _sizes(layer: Any, state: Any) -> dict[str, Any]:
    """The static fields that follow from arrays."""
    weight = getattr(layer, "weight", None)
    if isinstance(layer, eqx.nn.BatchNorm):
        index = layer.ema_state_index or layer.batch_state_index
        return {"input_size": state.get(index)[0].shape[-1]}
    if isinstance(layer, eqx.nn.MLP):
        widths = [x.weight.shape[-2] for x in layer.layers[:-1]]
        return {"width_size": max(widths, default=layer.width_size)}
    if isinstance(layer, eqx.nn.MultiheadAttention):
        return {"num_heads": layer.query_proj.weight.shape[-2] // layer.qk_size}
    if weight is None:
        return {}  # shared with another layer, or without any
    if isinstance(layer, eqx.nn.Linear):
        sizes = {"out_features": weight.shape[-2], "in_features": weight.shape[-1]}
        return {name: n for name, n in sizes.items() if getattr(layer, name) != "scalar"}
    if isinstance(layer, _CONVOLUTIONS):
        outputs, inputs = weight.shape[-2 - layer.num_spatial_dims :][:2]
        groups = layer.groups * outputs // layer.out_channels if layer.groups > 1 else 1
        return {"out_channels": outputs, "in_channels": groups * inputs, "groups": groups}
    if isinstance(layer, eqx.nn.GroupNorm):
        channels = weight.shape[-1]
        return {"channels": channels, "groups": layer.groups * channels // layer.channels}
    if isinstance(layer, eqx.nn.Embedding):
        return {"num_embeddings": weight.shape[-2], "embedding_size": weight.shape[-1]}
    return {"shape": weight.shape[weight.ndim - len(layer.shape) :]}
