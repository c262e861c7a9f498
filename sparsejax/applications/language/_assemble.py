"""Models from named tensors, and named tensors from models."""

from collections.abc import Callable, Collection
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ...nn._leaves import named_leaves, replace_leaves
from ._layouts import Layout
from ._model import AbstractLanguageModel


def assemble(
    make: Callable[..., AbstractLanguageModel],
    config: Any,
    layout: Layout,
    names: Collection[str],
    read: Callable[[str], np.ndarray],
    file: str,
) -> AbstractLanguageModel:
    """A model whose weights are tensors of a file.

    Parameters
    ----------
    make
        Makes the model of a configuration and a key.
    config
        The configuration.
    layout
        Which tensor is which leaf.
    names
        The tensors that the file holds.
    read
        Reads one.
    file
        What the file is called, for errors.

    Raises
    ------
    ValueError
        If a tensor is missing, has another shape, is not finite, or has no place in the model:
        the message names it.
    """
    skeleton = eqx.filter_eval_shape(make, config, jax.random.key(0))
    leaves = named_leaves(skeleton)
    found, known = {}, set(layout.outside)  # a head that is not tied to is no stranger
    for name, parts, transposed in layout.entries(config.depth, leaves):
        if name not in names:
            raise ValueError(f"{file}: the tensor {name!r} is missing.")
        known.add(name)
        shapes = [leaves[part].shape for part in parts]
        stacked = (sum(shape[0] for shape in shapes), *shapes[0][1:])
        array = read(name)
        expected = stacked[::-1] if transposed else stacked
        if array.shape != expected:
            raise ValueError(
                f"{file}: the tensor {name!r} has shape {array.shape}; the configuration asks "
                f"for {expected}."
            )
        if not np.all(np.isfinite(array)):
            raise ValueError(f"{file}: the tensor {name!r} contains NaN or infinity.")
        cuts = np.cumsum([shape[0] for shape in shapes])[:-1]
        pieces = np.split(array.T if transposed else array, cuts)
        found |= {part: jnp.asarray(piece) for part, piece in zip(parts, pieces, strict=True)}
    strangers = {name for name in names if not name.endswith(layout.ignored)} - known
    if strangers:
        raise ValueError(f"{file}: the tensor {min(strangers)!r} has no place in the model.")
    return replace_leaves(skeleton, {name: found.get(name) for name in leaves})


def disassemble(model: AbstractLanguageModel, layout: Layout) -> dict[str, np.ndarray]:
    """The tensors of a model, as a file holds them."""
    leaves = named_leaves(model)
    tensors = {}
    for name, parts, transposed in layout.entries(len(model.blocks), leaves):
        array = np.concatenate([np.asarray(leaves[part]) for part in parts])
        tensors[name] = np.ascontiguousarray(array.T if transposed else array)
    return tensors
