"""The vision transformer: its formula, its regulariser, its heads, and how it is trained."""

import csv
import dataclasses
import math
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special

import sparsejax as sj
from sparsejax.applications import vision

CONFIG = vision.ViTConfig(
    image=8, patch=4, width=12, depth=2, heads=3, hidden=20, classes=4, channels=2
)
MODEL = vision.ViT(dataclasses.replace(CONFIG, layer_scale=True), jax.random.key(0))
IMAGES = np.random.default_rng(0).normal(size=(24, 2, 8, 8)).astype(np.float32)
LABELS = np.arange(24) % 4
SPARSE = vision.vit_loss(0.3, "all", sj.penalties.L1(1e-3))


def _linear(layer, x):
    return x @ np.asarray(layer.weight).T + np.asarray(layer.bias)


def _norm(layer, x):
    x = x - x.mean(-1, keepdims=True)
    scaled = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6)
    return scaled * np.asarray(layer.weight) + np.asarray(layer.bias)


def _by_numpy(model, image):
    """Logits and maps from the formulas, head by head."""
    config, x = model.config, []
    for i in range(0, config.image, config.patch):
        for j in range(0, config.image, config.patch):
            patch = image[:, i : i + config.patch, j : j + config.patch]
            weight = np.asarray(model.patch.weight).reshape(config.width, -1)
            x.append(weight @ patch.ravel() + np.asarray(model.patch.bias).ravel())
    x = np.stack([np.asarray(model.class_token)[0], *x]) + np.asarray(model.positions)
    all_maps = []
    for block in model.blocks:
        h, a = _norm(block.attention_norm, x), block.attention
        query, key, value = _linear(a.query, h), _linear(a.key, h), _linear(a.value, h)
        mixed, maps = [], []
        for part in np.split(np.arange(query.shape[1]), a.heads):
            scores = query[:, part] @ key[:, part].T / math.sqrt(len(part))
            maps.append(scipy.special.softmax(scores, axis=1))
            mixed.append(maps[-1] @ value[:, part])
        x = x + _linear(a.output, np.concatenate(mixed, axis=1)) * np.asarray(block.attention_scale)
        h = _linear(block.fc1, _norm(block.feed_forward_norm, x))
        h = h * scipy.special.ndtr(h)  # GELU
        x = x + _linear(block.fc2, h) * np.asarray(block.feed_forward_scale)
        all_maps.append(np.stack(maps))
    return _linear(model.classifier, _norm(model.norm, x)[0]), all_maps


def _scrambled(model):
    """With norms, scales and biases that are not ones and zeros."""
    leaves, structure = jax.tree.flatten(model)
    rng = np.random.default_rng(1)
    return jax.tree.unflatten(structure, [x + 0.1 * rng.normal(size=x.shape) for x in leaves])


def test_model_is_its_formula():
    model = _scrambled(MODEL)
    logits, maps = jax.jit(lambda model, image: model.with_maps(image))(model, IMAGES[0])
    expected, expected_maps = _by_numpy(model, IMAGES[0])
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.stack(maps), np.stack(expected_maps), rtol=1e-4, atol=1e-6)
    features = eqx.tree_at(lambda m: m.classifier, model, None)(IMAGES[0])
    np.testing.assert_allclose(_linear(model.classifier, features), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("config", "size"),
    [
        (vision.VIT_B16, 86_859_496),
        (dataclasses.replace(vision.VIT_B16, image=224), 86_567_656),
        (dataclasses.replace(vision.VIT_S14, image=518), 22_056_192),
    ],
    ids=["B/16 at 384", "B/16 at 224", "S/14 at 518"],
)
def test_sizes_are_the_published_ones(config, size):
    """As counted in timm and, less its mask token, in DINOv2."""
    model = eqx.filter_eval_shape(vision.ViT, config, jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(model)) == size


def test_attention_penalty_is_its_formula():
    maps = [np.random.default_rng(i).dirichlet(np.ones(5), size=(2, 3, 5)) for i in range(2)]
    expected = [np.mean(np.log(1 + one**2)) for one in maps]
    assert vision.attention_penalty(maps) == pytest.approx(expected[1], rel=1e-5)
    assert vision.attention_penalty(maps, "all") == pytest.approx(np.mean(expected), rel=1e-5)


def test_loss_is_the_sum_of_its_parts():
    model = _scrambled(MODEL)
    logits, maps = zip(*(_by_numpy(model, image) for image in IMAGES[:3]), strict=True)
    fit = -np.mean([scipy.special.log_softmax(one)[i] for i, one in enumerate(logits)])
    attention = np.mean([np.mean(np.log(1 + one**2)) for each in maps for one in each])
    weights = [leaf for name, leaf in _named(model).items() if vision.prunable(name, leaf)]
    size = sum(np.abs(weight).sum() for weight in weights)
    expected = fit + 0.3 * attention + 1e-3 * size
    assert SPARSE(model, IMAGES[:3], LABELS[:3]) == pytest.approx(expected, rel=1e-5)


def _named(model):
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_flatten_with_path(model)[0]
    }


def test_the_papers_exclusions():
    masks = sj.nn.magnitude_masks(
        MODEL, sj.nn.Unstructured(0.6), where=vision.prunable, scope="global"
    )
    pruned = set(_named(masks))
    inside = ["attention_norm", "feed_forward_norm", "fc1", "fc2"]
    inside += [f"attention.{name}" for name in ("query", "key", "value", "output")]
    expected = {f"blocks.{i}.{name}.weight" for i in range(2) for name in inside}
    assert pruned == expected | {"patch.weight", "classifier.weight"}
    kept = sum(int(mask.sum()) for mask in jax.tree.leaves(masks))
    total = sum(mask.size for mask in jax.tree.leaves(masks))
    assert total - kept == math.floor(0.6 * total)


KEEP = [np.array([True, False, True]), np.array([False, True, False])]


def test_a_model_without_heads_is_the_one_with_silenced_heads():
    model = _scrambled(MODEL)
    small = vision.remove_heads(model, KEEP)
    silenced = sj.nn.apply_masks(model, vision.head_masks(model, KEEP))
    assert [block.attention.heads for block in small.blocks] == [2, 1]
    assert small.blocks[1].attention.query.out_features == 4
    assert small.blocks[1].attention.output.in_features == 4
    logits, maps = jax.jit(lambda m, x: jax.vmap(m.with_maps)(x))(small, IMAGES[:3])
    np.testing.assert_allclose(logits, jax.vmap(silenced)(IMAGES[:3]), rtol=1e-5, atol=1e-5)
    assert [one.shape[1] for one in maps] == [2, 1]
    expected, _ = _by_numpy(small, IMAGES[0])
    np.testing.assert_allclose(logits[0], expected, rtol=1e-4, atol=1e-5)
    assert sj.nn.count_macs(small, IMAGES[0]) < sj.nn.count_macs(model, IMAGES[0])


def test_sensitivity_of_heads_by_finite_differences():
    model, loss = _scrambled(MODEL), jax.jit(vision.vit_loss(0.0))

    def gated(block, head, gate):
        gates = np.ones(12, np.float32)
        gates[4 * head : 4 * head + 4] = gate
        where = lambda m: m.blocks[block].attention.output.weight  # noqa: E731
        return eqx.tree_at(where, model, where(model) * gates)

    def slope(block, head, i):
        up, down = (
            loss(gated(block, head, 1 + step), IMAGES[i : i + 1], LABELS[i : i + 1])
            for step in (0.05, -0.05)
        )
        return abs(float(up - down)) / 0.1

    scores = vision.head_sensitivities(model, loss, IMAGES[:4], LABELS[:4])
    for block in range(2):
        expected = [np.mean([slope(block, head, i) for i in range(4)]) for head in range(3)]
        expected /= np.linalg.norm(expected)
        np.testing.assert_allclose(scores[block], expected, rtol=0.03, atol=2e-3)


def test_magnitude_of_heads():
    attention = MODEL.blocks[0].attention
    output, value = np.asarray(attention.output.weight), np.asarray(attention.value.weight)
    expected = [
        np.linalg.norm(output[:, 4 * h : 4 * h + 4] @ value[4 * h : 4 * h + 4]) for h in range(3)
    ]
    np.testing.assert_allclose(vision.head_magnitudes(MODEL)[0], expected, rtol=1e-5)


def test_heads_that_stay(rng):
    scores = [rng.normal(size=n) for n in (4, 2, 6)]
    for sparsity in (0.0, 0.3, 0.5, 0.75, 1.0):
        keep = vision.kept_heads(scores, sparsity)
        assert all(one.any() for one in keep)
        assert sum(one.sum() for one in keep) == max(12 - math.floor(12 * sparsity + 1e-9), 3)
        best = [one == one.max() for one in scores]
        others = [(s[~b], k[~b]) for s, k, b in zip(scores, keep, best, strict=True)]
        value, kept = (np.concatenate(part) for part in zip(*others, strict=True))
        assert value[kept].min(initial=np.inf) >= value[~kept].max(initial=-np.inf)


STEPS, BATCH = 9, 8
OPTIMISER = vision.one_cycle_sgd(STEPS, 0.1, warmup=3)
SEEDS = jax.random.split(jax.random.key(3), 2)
MODELS = eqx.filter_vmap(lambda key: vision.ViT(CONFIG, key))(SEEDS)


def _train(model=MODELS, loss=SPARSE, key=SEEDS, **options):
    options = {"steps": STEPS, "batch": BATCH, "every": 3} | options
    return vision.train(model, IMAGES, LABELS, loss, OPTIMISER, key=key, **options)


@pytest.mark.slow
def test_training_is_a_plain_loop():
    """Two models at once; the second by hand, in whose epochs every sample comes once."""
    trained = _train()
    model = jax.tree.map(lambda x: x[1], MODELS)
    state, losses = OPTIMISER.init(model), []
    step = jax.jit(jax.value_and_grad(SPARSE))
    for i in range(STEPS):
        epoch, place = divmod(i, 3)
        order = np.asarray(jax.random.permutation(jax.random.fold_in(SEEDS[1], epoch), 24))
        index = order[place * BATCH : (place + 1) * BATCH]
        loss, gradient = step(model, IMAGES[index], LABELS[index])
        change, state = OPTIMISER.update(gradient, state, model)
        model = optax.apply_updates(model, change)
        losses.append(loss)
    np.testing.assert_allclose(trained.losses[1], losses, rtol=1e-4)
    found = jax.tree.map(lambda x: x[1], trained.model)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(model), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    assert trained.losses[1, -1] < trained.losses[1, 0]


def test_an_interrupted_training_ends_in_the_same_bits(tmp_path):
    class Stop(BaseException):
        pass

    def stop(done, losses):
        assert losses.shape == (2, 3)
        raise Stop

    whole, file = _train(), tmp_path / "run.eqx"
    with pytest.raises(Stop):
        _train(checkpoint=file, callback=stop)
    seen = []
    again = _train(checkpoint=file, callback=lambda done, losses: seen.append(done))
    assert seen == [6, 9]
    assert eqx.tree_equal(again.model, whole.model)
    np.testing.assert_array_equal(again.losses, whole.losses)
    assert [path.name for path in tmp_path.iterdir()] == ["run.eqx"]
    with pytest.raises(ValueError, match="other batch"):
        _train(checkpoint=file, batch=4)
    file.write_bytes(b"nothing\n")
    with pytest.raises(ValueError, match="not one of `train`"):
        _train(checkpoint=file)


def test_the_rate_rises_and_falls():
    sizes = []
    plain = vision.one_cycle_sgd(STEPS, 0.1, warmup=3, momentum=0.0, weight_decay=0.0)
    state = plain.init(jnp.zeros(()))
    for _ in range(STEPS):
        change, state = plain.update(jnp.ones(()), state, jnp.zeros(()))
        sizes.append(-float(change))
    assert np.argmax(sizes) == 3
    assert sizes[3] == pytest.approx(0.1)
    assert np.all(np.diff(sizes[:4]) > 0)
    assert np.all(np.diff(sizes[3:]) < 0)


@pytest.mark.slow
def test_bench_compares_models_of_the_same_seeds(tmp_path, monkeypatch):
    """On a tiny model: a row for every sparsity, gains over the same seeds, and old rows stay."""
    monkeypatch.syspath_prepend(Path(sj.__file__).parents[1])
    from bench.pruning import vit as bench

    tiny = dataclasses.replace(CONFIG, image=28, patch=14, depth=1, classes=10, channels=1)
    monkeypatch.setattr(bench, "CONFIG", tiny)
    rng = np.random.default_rng(0)
    images, labels = rng.normal(size=(400, 784)), np.arange(400) % 10
    np.savez(tmp_path / "digits.npz", X=images + labels[:, None], y=labels)
    options = ["--steps", "8", "--seeds", "2", "--regularisers", "attention, last"]
    options += ["--data", str(tmp_path / "digits.npz"), "--out", str(tmp_path)]
    for _ in range(2):  # the second time, models come from their checkpoints
        bench.main(options)
        with (tmp_path / "vit.csv").open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert len(rows) == 2 * len(bench.SPARSITIES)
    plain, other = (
        {float(row["sparsity"]): row for row in rows if row["regulariser"] == name}
        for name in ("none", "attention, last")
    )
    for sparsity in bench.SPARSITIES:
        gain = float(other[sparsity]["accuracy"]) - float(plain[sparsity]["accuracy"])
        assert float(other[sparsity]["gain"]) == pytest.approx(gain, abs=2e-4)
        assert float(plain[sparsity]["gain"]) == 0
    values = np.array([0.1, 0.4, 0.2])  # Student's t at 97.5 % with two degrees of freedom: 4.3027
    half = 4.3027 * np.std(values, ddof=1) / math.sqrt(3)
    assert bench.interval(values) == pytest.approx(half, rel=1e-4)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: dataclasses.replace(CONFIG, patch=3), ValueError, "`patch`"),
        (lambda: dataclasses.replace(CONFIG, heads=5), ValueError, "`heads`"),
        (lambda: dataclasses.replace(CONFIG, depth=0), ValueError, "`depth`"),
        (lambda: MODEL(IMAGES[0, :1]), ValueError, "`image`"),
        (lambda: vision.attention_penalty([], "all"), ValueError, "`maps`"),
        (lambda: vision.attention_penalty([IMAGES], "first"), ValueError, "`layers`"),
        (lambda: vision.vit_loss(-1.0), ValueError, "`attention`"),
        (lambda: vision.remove_heads(MODEL, KEEP[:1]), ValueError, "`keep`"),
        (lambda: vision.remove_heads(MODEL, [KEEP[0], ~KEEP[0][:2]]), ValueError, r"`keep\[1\]`"),
        (lambda: vision.head_masks(MODEL, [KEEP[0] & False, KEEP[1]]), ValueError, r"`keep\[0\]`"),
        (lambda: vision.kept_heads([np.array([np.nan])], 0.5), ValueError, "`scores`"),
        (lambda: vision.kept_heads(KEEP, 1.5), ValueError, "`sparsity`"),
        (lambda: vision.one_cycle_sgd(5, warmup=5), ValueError, "`warmup`"),
        (lambda: _train(steps=0), ValueError, "`steps`"),
        (lambda: _train(batch=25), ValueError, "`batch`"),
        (lambda: _train(key=jnp.zeros(2)), ValueError, "`key`"),
        (
            lambda: vision.train(
                MODELS, IMAGES, LABELS / 2, SPARSE, OPTIMISER, steps=1, batch=1, key=SEEDS
            ),
            ValueError,
            "`labels`",
        ),
        (
            lambda: vision.train(
                MODELS, IMAGES[1:], LABELS, SPARSE, OPTIMISER, steps=1, batch=1, key=SEEDS
            ),
            ValueError,
            "`images`",
        ),
        (
            lambda: _train(loss=lambda m, x, y: jnp.log(-jnp.sum(m.class_token**2))),
            FloatingPointError,
            "steps 0 to 3",
        ),
    ],
)
def test_bad_input(call, error, match):
    with pytest.raises(error, match=match):
        call()
