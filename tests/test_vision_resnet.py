"""Residual networks and MaskSparsity: counts from the papers, slimming, and stages that resume."""

import gzip
import struct

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sparsejax import nn
from sparsejax.applications import vision

KEY = jax.random.key(0)


@pytest.mark.parametrize(
    ("depth", "macs", "weights"),
    [
        (20, 40.55e6, 0.270e6),
        (56, 125.49e6, 0.853e6),
        (110, 252.89e6, 1.728e6),
        (50, 4.089e9, 25.557e6),
    ],
)
def test_counts_of_the_papers(depth, macs, weights):
    if depth == 50:
        made, size = lambda: vision.resnet50(KEY), 224
    else:
        made, size = lambda: vision.cifar_resnet(depth, KEY), 32
    model, state = eqx.filter_eval_shape(made)
    image = jax.ShapeDtypeStruct((3, size, size), jnp.float32)
    call = lambda model, x, state: model(x, state)[0]  # noqa: E731
    found = nn.count_macs(call, eqx.nn.inference_mode(model), image, state)
    assert round(found / macs, 3 if depth == 50 else 4) == 1
    total = sum(leaf.size for leaf in jax.tree.leaves(model) if hasattr(leaf, "size"))
    assert round(total, -3) == weights


def test_bottlenecks_share_a_stream():
    def make():
        conv = eqx.nn.Conv2d(2, 4, 3, padding=1, use_bias=False, key=KEY)
        norm = eqx.nn.BatchNorm(4, "batch", mode="batch")
        blocks = [vision.Bottleneck(4, 2, 2, KEY), vision.Bottleneck(8, 2, 1, KEY)]
        return vision.ResNet(conv, norm, None, blocks, eqx.nn.Linear(8, 3, key=KEY))

    model, state = eqx.filter_jit(eqx.nn.make_with_state(make))()
    rng = np.random.default_rng(0)
    scales = [jnp.asarray(rng.normal(size=x.shape), x.dtype) for x in vision.norm_scales(model)]
    model = eqx.tree_at(vision.norm_scales, model, scales)
    biases = lambda m: [n.bias for block in m.blocks for n in block.norms]  # noqa: E731
    noise = [jnp.asarray(rng.normal(size=x.shape), x.dtype) for x in biases(model)]
    model = eqx.tree_at(biases, model, noise)
    example = jax.ShapeDtypeStruct((2, 6, 6), float)
    keep = vision.scale_masks(model, state, nn.Channel(0.5), 1, example=example)
    first, second = keep.blocks
    stream = [first.norms[2], first.shortcut_norm, second.norms[2]]
    votes = [
        np.argsort(np.argsort(np.abs(block.weight))) >= 4
        for block in (
            model.blocks[0].norms[2],
            model.blocks[0].shortcut_norm,
            model.blocks[1].norms[2],
        )
    ]
    kept, votes = np.asarray(stream[0].weight), np.sum(votes, axis=0)
    assert votes[kept].min() >= votes[~kept].max()
    for norm in stream[1:]:
        np.testing.assert_array_equal(norm.weight, kept)
    small, small_state = nn.slim(model, state, keep, 1, example=example)
    assert small.head.in_features == small.blocks[1].convs[0].in_channels == kept.sum() == 4
    assert small.blocks[0].convs[1].in_channels == small.blocks[0].convs[1].out_channels == 1
    _same(model, state, keep, small, small_state)


def _same(model, state, keep, small, small_state):
    masked = eqx.nn.inference_mode(nn.apply_masks(model, keep))
    x = jax.random.normal(KEY, (2, 10, 10))  # of another size than the examples
    call = eqx.filter_jit(lambda model, *args: model(*args)[0])
    expected = call(masked, x, state)
    found = call(eqx.nn.inference_mode(small), x, small_state)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_padded_streams_shrink():
    model, state = eqx.filter_jit(vision.cifar_resnet)(8, KEY, channels=2, widths=(4, 8, 16))
    noise = np.random.default_rng(0)
    noisy = lambda x: jnp.asarray(x + noise.normal(size=x.shape), x.dtype)  # noqa: E731
    is_vector = lambda x: eqx.is_inexact_array(x) and x.ndim == 1  # noqa: E731
    vectors, rest = eqx.partition(model, is_vector)
    model = eqx.combine(jax.tree.map(noisy, vectors), rest)
    example = jax.ShapeDtypeStruct((2, 6, 6), float)
    keep = vision.scale_masks(model, state, nn.Channel(0.5), 1, example=example)
    small, small_state = nn.slim(model, state, keep, 1, example=example)
    norms = [small.norm, *(norm for block in small.blocks for norm in block.norms)]
    assert [norm.input_size for norm in norms] == [2, 2, 2, 4, 4, 8, 8]
    _same(model, state, keep, small, small_state)


def _network():
    def make():
        conv = eqx.nn.Conv2d(1, 8, 3, use_bias=False, key=KEY)
        norm = eqx.nn.BatchNorm(8, "batch", mode="batch")
        pool = eqx.nn.Lambda(lambda x: jnp.mean(jax.nn.relu(x), axis=(1, 2)))
        return eqx.nn.Sequential([conv, norm, pool, eqx.nn.Linear(8, 2, key=KEY)])

    return eqx.nn.make_with_state(make)()


def _data():
    labels = jnp.arange(32) % 2
    images = jax.random.normal(KEY, (32, 1, 6, 6)) + labels[:, None, None, None]
    return images, labels


def test_only_the_masked_scales_shrink_and_a_run_resumes(tmp_path):
    (model, state), (images, labels) = _network(), _data()
    sgd = optax.sgd(0.1)
    stages = []

    def run(folder, strength=2.0, stop=None, **steps):
        def callback(stage, done, losses):
            stages.append((stage, done, losses.shape))
            if (stage, done) == stop:
                raise KeyboardInterrupt

        return vision.mask_sparsity(
            model,
            state,
            images,
            labels,
            vision.Steps(**{"baseline": 4, "sparse": 4, "masked": 4, "tuning": 2} | steps),
            key=KEY,
            strength=strength,
            drop=nn.Channel(0.5),
            round_to=1,
            batch=16,
            every=2,
            optimiser=lambda steps: sgd,
            tuning_optimiser=lambda steps: sgd,
            checkpoint=folder,
            callback=callback,
        )

    found = run(None)
    assert stages[::2] == [(s, 2, (2,)) for s in ("baseline", "sparse", "masked", "tuning")]
    assert {name: len(x) for name, x in found.losses.items()} == {
        "baseline": 4, "sparse": 4, "masked": 4, "tuning": 2,
    }  # fmt: skip
    assert found.model.layers[0].out_channels == int(found.masks.layers[1].weight.sum()) == 4
    assert 0 <= vision.accuracy(found.model, found.state, images, labels) <= 1
    # The whole ℓ1 norm pulls in the usual global sparsity: the kept scales end up smaller.
    control = run(None, masked=0, tuning=0)
    kept = run(None, tuning=0)
    np.testing.assert_array_equal(control.masks.layers[1].weight, kept.masks.layers[1].weight)
    scale = lambda found: jnp.mean(jnp.abs(found.model.layers[1].weight))  # noqa: E731
    assert scale(control) < 0.8 * scale(kept)
    # Interrupted within a stage, it ends in the same bits.
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stop=("masked", 2))
    stages.clear()
    again = run(tmp_path)
    assert stages[0] == ("masked", 4, (2,))
    for a, b in zip(*map(jax.tree.leaves, (found[:3], again[:3])), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match=r"`checkpoint`: .* other strength"):
        run(tmp_path, strength=1.0)


def test_thresholds():
    model, state = _network()
    scales = jnp.array([0.0, 1.0, -0.02, 0.005, -0.01, 0.5, 2.0, -3.0])
    model = eqx.tree_at(vision.norm_scales, model, [scales])
    masks = vision.scale_masks(model, state, 0.01, 1)
    assert masks.layers[1].weight.tolist() == [False, True, True, False, False, True, True, True]


def test_statistics_are_averages_over_batches():
    """Whatever the momentum; of the second norm for inputs that the first has normalised."""

    def make():
        norms = [eqx.nn.BatchNorm(1, "batch", momentum=0.99, mode=m) for m in ("batch", "ema")]
        scale = eqx.nn.Lambda(lambda x: x**3)
        return eqx.nn.Sequential([norms[0], scale, norms[1]])

    model, state = eqx.nn.make_with_state(make)()
    images = np.random.default_rng(0).normal(2.0, 3.0, (14, 1, 2, 2)).astype(np.float32)
    fitted = vision.fitted_state(model, state, images, 4)

    def moments(batches):
        return np.mean(np.mean(batches, (1, 2, 3, 4))), np.mean(np.var(batches, (1, 2, 3, 4)))

    def normal(batches):
        kept = {"axis": (1, 2, 3, 4), "keepdims": True}
        return (batches - np.mean(batches, **kept)) / np.sqrt(np.var(batches, **kept) + 1e-5)

    batches = images[:12].reshape(3, 4, 1, 2, 2).astype(float)
    (mean, variance), last = moments(batches), moments(normal(batches) ** 3)
    x = images[13].astype(float)
    x = ((x - mean) / np.sqrt(variance + 1e-5)) ** 3
    expected = (x - last[0]) / np.sqrt(last[1] + 1e-5)
    found, _ = eqx.nn.inference_mode(model)(images[13], fitted)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    with pytest.raises(ValueError, match="`batch` must be at most the 14 images"):
        vision.fitted_state(model, state, images, 64)


def test_bad_sizes():
    with pytest.raises(ValueError, match="`depth` must be"):
        vision.cifar_resnet(21, KEY)
    with pytest.raises(ValueError, match="`widths` must be"):
        vision.cifar_resnet(20, KEY, widths=(16, 8, 8))


def _idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    with gzip.open(path, "wb") as file:
        file.write(header + array.tobytes())


def test_fashion_mnist(tmp_path, rng):
    pixels = rng.integers(0, 256, (5, 28, 28), dtype=np.uint8)
    _idx(tmp_path / "t10k-images-idx3-ubyte.gz", pixels)
    labels = tmp_path / "t10k-labels-idx1-ubyte.gz"
    _idx(labels, np.arange(5, dtype=np.uint8))
    found = vision.load_fashion_mnist(tmp_path, "test")
    np.testing.assert_array_equal(found.images[:, 0], pixels / np.float32(255))
    assert found.images.dtype == np.float32
    assert found.labels.tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(FileNotFoundError, match=r"train-images-idx3-ubyte\.gz: no such file"):
        vision.load_fashion_mnist(tmp_path)
    with pytest.raises(ValueError, match="`split` must be"):
        vision.load_fashion_mnist(tmp_path, "validation")
    whole = labels.read_bytes()
    _idx(labels, np.arange(4, dtype=np.uint8))
    with pytest.raises(ValueError, match="5 images, but 4 labels"):
        vision.load_fashion_mnist(tmp_path, "test")
    labels.write_bytes(whole[:-9])
    with pytest.raises(ValueError, match=r"labels-idx1-ubyte\.gz: truncated"):
        vision.load_fashion_mnist(tmp_path, "test")
    labels.write_bytes(gzip.compress(gzip.decompress(whole)[:-1]))
    with pytest.raises(ValueError, match=r"says \(5,\), but has 4"):
        vision.load_fashion_mnist(tmp_path, "test")
    labels.write_bytes(gzip.compress(b"PK"))
    with pytest.raises(ValueError, match="not an IDX file"):
        vision.load_fashion_mnist(tmp_path, "test")


def test_cifar10(tmp_path, rng):
    rows = rng.integers(0, 256, (3, 3073), dtype=np.uint8)
    rows[:, 0] = [3, 0, 9]
    file = tmp_path / "test_batch.bin"
    file.write_bytes(rows.tobytes())
    found = vision.load_cifar10(tmp_path, "test")
    assert found.labels.tolist() == [3, 0, 9]
    # Planes of red, green and blue, each row by row.
    assert found.images[2, 1, 4, 5] == rows[2, 1 + 1024 + 4 * 32 + 5] / np.float32(255)
    with pytest.raises(FileNotFoundError, match=r"data_batch_1\.bin: no such file; .* test_batch"):
        vision.load_cifar10(tmp_path)
    file.write_bytes(rows.tobytes()[:-1])
    with pytest.raises(ValueError, match=r"test_batch\.bin: 9218 bytes are no multiple"):
        vision.load_cifar10(tmp_path, "test")
    rows[1, 0] = 10
    file.write_bytes(rows.tobytes())
    with pytest.raises(ValueError, match="labels beyond 9"):
        vision.load_cifar10(tmp_path, "test")
