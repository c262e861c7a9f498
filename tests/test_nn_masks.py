"""Patterns, masks and scores of sparse networks, against NumPy."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from nn_models import PRUNED, awkward

import sparsejax as sj
from sparsejax import nn
from sparsejax.nn._exact import num_dropped_now


def _by_name(tree):
    flat = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in flat}


def _lowest(scores, count):
    """The first ``count`` of a stable sort, along the last axis."""
    order = np.argsort(scores, axis=-1, kind="stable")[..., :count]
    mask = np.ones(scores.shape, bool)
    np.put_along_axis(mask, order, False, axis=-1)
    return mask


def _nm(scores, keep, of):
    last = np.moveaxis(scores, 1, -1)
    mask = _lowest(last.reshape(-1, of), of - keep).reshape(last.shape)
    return np.moveaxis(mask, -1, 1)


@given(
    shape=st.sampled_from([(3, 5), (5, 40)]),
    sparsity=st.floats(0, 1),
    values=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_unstructured_is_a_stable_sort(shape, sparsity, values, seed):
    """Exact counts and the first among equals, whatever the ties."""
    scores = np.random.default_rng(seed).integers(values, size=shape).astype(np.float32)
    pattern = nn.Unstructured(sparsity)
    leaf = _lowest(scores.reshape(1, -1), int(sparsity * scores.size)).reshape(scores.shape)
    np.testing.assert_array_equal(pattern.mask(jnp.asarray(scores)), leaf)
    by_row = _lowest(scores, int(sparsity * shape[1]))
    np.testing.assert_array_equal(pattern.mask(jnp.asarray(scores), scope="row"), by_row)


@pytest.mark.parametrize(("keep", "of"), [(2, 4), (4, 8), (1, 4), (1, 1), (20, 40)])
@pytest.mark.parametrize("shape", [(3, 40), (3, 40, 2, 2)])
def test_n_of_m_runs_over_inputs(rng, keep, of, shape):
    scores = rng.integers(4, size=shape).astype(np.float32)  # with ties
    mask = np.asarray(nn.NM(keep, of).mask(jnp.asarray(scores)))
    np.testing.assert_array_equal(mask, _nm(scores, keep, of))
    groups = np.moveaxis(mask, 1, -1).reshape(-1, of)
    assert np.all(groups.sum(axis=1) == keep)
    for scope in ("row", "global"):
        again = nn.masks_of([jnp.asarray(scores)], nn.NM(keep, of), scope)[0]
        np.testing.assert_array_equal(again, mask)


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 3, 3)])
def test_blocks_and_channels(rng, shape):
    scores = rng.random(shape).astype(np.float32)
    mask = np.asarray(nn.Block((2, 3), 0.5).mask(jnp.asarray(scores)))
    blocks = scores.reshape(2, 2, 2, 3, -1).mean(axis=(1, 3, 4))
    kept = _lowest(blocks.reshape(1, -1), 2).reshape(2, 2)
    expected = np.kron(kept, np.ones((2, 3), bool)).reshape(4, 6, *(1,) * (len(shape) - 2))
    np.testing.assert_array_equal(mask, np.broadcast_to(expected, shape))
    mask = np.asarray(nn.Channel(0.5).mask(jnp.asarray(scores)))
    kept = _lowest(scores.reshape(4, -1).mean(axis=1)[None], 2)[0]
    np.testing.assert_array_equal(mask.reshape(4, -1).all(axis=1), kept)
    np.testing.assert_array_equal(mask.reshape(4, -1).any(axis=1), kept)


def test_nan_is_kept_in_sight():
    scores = jnp.array([[jnp.nan, 1.0, 2.0, 3.0]])
    assert nn.Unstructured(0.75).mask(scores).tolist() == [[True, False, False, False]]
    assert nn.Unstructured(0.5).mask(jnp.tile(scores, (1, 8)))[0, 0]


def test_counts_are_exact_beyond_single_precision():
    """0.9 of twenty million, and what a schedule makes of it."""
    assert num_dropped_now(0.9, 20_000_001, None) == 18_000_000
    assert num_dropped_now(0.9, 20_000_001, jnp.float32(0.9)) == 18_000_000


def test_default_leaves_are_weights_of_layers():
    """On a model with callables, frozen leaves and a shared matrix."""
    model = awkward()
    masks = nn.magnitude_masks(model, nn.Unstructured(0.75))
    found = _by_name(masks)
    assert set(found) == PRUNED
    for name, mask in found.items():
        weight = np.abs(_by_name(model)[name])
        expected = _lowest(weight.reshape(1, -1), weight.size * 3 // 4).reshape(weight.shape)
        np.testing.assert_array_equal(mask, expected)
    sparse = nn.apply_masks(model, masks)
    assert sparse.activation is jnp.tanh
    report = nn.sparsity_report(sparse)
    for name, leaf in report.leaves.items():
        expected = leaf.size * 3 // 4 if name in PRUNED else np.sum(_by_name(model)[name] == 0)
        assert leaf.zeros == expected
    assert report.zeros == sum(leaf.zeros for leaf in report.leaves.values())
    assert report.leaves["conv.weight"].sparsity == 0.75
    assert report.sparsity == report.zeros / report.size
    assert "conv.weight" in str(report)
    first, second = sparse.tied()
    np.testing.assert_array_equal(first.weight, second.weight)
    assert jnp.all(jnp.isfinite(sparse(jnp.ones((4, 5, 5)))))


def test_scopes(rng):
    model = {
        "a": jnp.asarray(rng.normal(size=(6, 8))),
        "b": jnp.asarray(10 * rng.normal(size=(4, 5))),
    }
    masks = nn.magnitude_masks(model, nn.Unstructured(0.5), scope="global")
    values = np.concatenate([np.abs(model["a"]).ravel(), np.abs(model["b"]).ravel()])
    expected = _lowest(values[None], 34)[0]
    both = np.concatenate([masks["a"].ravel(), masks["b"].ravel()])
    np.testing.assert_array_equal(both, expected)
    masks = nn.magnitude_masks(model, nn.Unstructured(0.5), scope="row")
    assert np.asarray(masks["b"]).sum(axis=1).tolist() == [3, 3, 3, 3]
    masks = nn.magnitude_masks(model, nn.Channel(0.3), scope="global")
    means = np.concatenate([np.abs(w).mean(axis=1) for w in model.values()])
    kept = np.concatenate([np.asarray(mask).all(axis=1) for mask in masks.values()])
    np.testing.assert_array_equal(kept, _lowest(means[None], 3)[0])


@pytest.mark.parametrize(
    "where",
    [
        "mlp.*.weight",
        ("mlp.layers.0.weight", "mlp.layers.1.weight"),
        lambda model: [layer.weight for layer in model.mlp.layers],
        lambda name, leaf: name.startswith("mlp") and leaf.ndim == 2,
    ],
)
def test_where(where):
    model = awkward()
    expected = {"mlp.layers.0.weight", "mlp.layers.1.weight"}
    assert set(_by_name(nn.magnitude(model, where))) == expected
    trained = eqx.filter(model, eqx.is_inexact_array)
    assert set(_by_name(nn.magnitude(trained, where))) == expected


def test_scores(rng):
    model = awkward()
    x = jnp.asarray(rng.normal(size=(4, 5, 5)), jnp.float32)
    loss = lambda m: jnp.sum(m(x) ** 2)  # noqa: E731
    gradient = eqx.filter_grad(loss)(model)
    scores = _by_name(nn.saliency(model, gradient))
    assert set(scores) == PRUNED
    for name in PRUNED:
        expected = np.abs(_by_name(model)[name] * _by_name(gradient)[name])
        np.testing.assert_allclose(scores[name], expected, rtol=1e-6)
    sensitivity = _by_name(nn.snip(loss, model))
    total = sum(np.sum(score) for score in scores.values())
    for name in PRUNED:
        np.testing.assert_allclose(sensitivity[name], scores[name] / total, rtol=1e-4, atol=1e-9)
    one = _by_name(nn.random_scores(model, jax.random.key(1)))
    other = _by_name(nn.random_scores(model, jax.random.key(2)))
    assert all(np.all(one[name] != other[name]) for name in PRUNED)
    W, norms = rng.normal(size=(3, 5)), rng.random(5) + 0.1
    np.testing.assert_allclose(nn.wanda_scores(W, norms), np.abs(W) * norms, rtol=1e-6)
    np.testing.assert_allclose(nn.obs_scores(W, norms), W**2 / norms, rtol=1e-6)


def test_erk_is_its_definition():
    """Densities ∝ Σ dims / Π dims but for dense layers; the overall count is met."""
    model = [jnp.ones((64, 16, 3, 3)), jnp.ones((10, 64)), jnp.ones((128, 128)), jnp.ones(3)]
    patterns = nn.erk(model, nn.Unstructured(0.8))
    assert patterns[3] is None
    densities = [1 - pattern.sparsity for pattern in patterns[:3]]
    raw = [sum(w.shape) / w.size for w in model[:3]]
    assert densities[1] == 1
    np.testing.assert_allclose(densities[0] / raw[0], densities[2] / raw[2], rtol=1e-9)
    masks = nn.magnitude_masks(model, patterns)
    kept = sum(int(jnp.sum(mask)) for mask in masks[:3])
    assert abs(kept - 0.2 * sum(w.size for w in model[:3])) <= 3
    same = nn.uniform(model, nn.Unstructured(0.8))
    assert same[:3] == [nn.Unstructured(0.8)] * 3
    with pytest.raises(TypeError, match="uniform"):
        nn.erk(model, nn.NM(2, 4))


def test_straight_through(rng):
    model, x = awkward(), jnp.asarray(rng.normal(size=(4, 5, 5)), jnp.float32)
    masks = nn.magnitude_masks(model, nn.Unstructured(0.5))
    hard = nn.apply_masks(model, masks)
    soft = nn.straight_through(model, masks)
    for name in PRUNED:
        np.testing.assert_array_equal(_by_name(soft)[name], _by_name(hard)[name])
    loss = lambda m: jnp.sum(m(x) ** 2)  # noqa: E731
    through = eqx.filter_grad(lambda m: loss(nn.straight_through(m, masks)))(model)
    dense = _by_name(eqx.filter_grad(loss)(hard))
    for name, slope in _by_name(through).items():
        np.testing.assert_allclose(slope, dense[name], rtol=1e-5, atol=1e-7)


def test_drop_and_grow(rng):
    """The smallest kept weights leave, the highest scores among the others come."""
    w = rng.normal(size=(6, 20)).astype(np.float32)
    mask = rng.random((6, 20)) < 0.4
    growth = rng.random((6, 20)).astype(np.float32)
    count = mask.sum()
    leaving = int(0.3 * count)
    new = np.asarray(nn.drop_and_grow([w], [mask], [growth], 0.3)[0])
    assert new.sum() == count
    order = np.argsort(np.where(mask, np.abs(w), np.inf), axis=None)[:leaving]
    comes = np.argsort(np.where(mask, -np.inf, growth), axis=None)[-leaving:]
    expected = mask.ravel().copy()
    expected[order], expected[comes] = False, True
    np.testing.assert_array_equal(new.ravel(), expected)
    full = np.ones((6, 20), bool)  # nothing can come, so nothing leaves
    np.testing.assert_array_equal(nn.drop_and_grow([w], [full], [growth], 0.3)[0], full)
    same = nn.drop_and_grow([w], [mask], [growth], 0.0)[0]
    np.testing.assert_array_equal(same, mask)


def test_penalise(rng):
    """Each weight in the shape its penalty wants, and only what masks drop."""
    model = awkward()
    weights = {name: np.asarray(_by_name(model)[name], np.float64) for name in PRUNED}
    rows = sum(np.linalg.norm(w.reshape(len(w), -1), axis=1).sum() for w in weights.values())
    cases = [
        (sj.penalties.L1(0.5), 0.5 * sum(np.abs(w).sum() for w in weights.values())),
        (sj.penalties.RowL2(0.5), 0.5 * rows),
        (
            sj.penalties.TotalVariation(2.0),
            2 * sum(np.abs(np.diff(w.ravel())).sum() for w in weights.values()),
        ),
    ]
    for penalty, expected in cases:
        np.testing.assert_allclose(nn.penalise(model, penalty), expected, rtol=1e-5)
    masks = nn.magnitude_masks(model, nn.Unstructured(0.5), "mlp.*.weight")
    dropped = sum(
        np.abs(weights[name][~np.asarray(mask)]).sum() for name, mask in _by_name(masks).items()
    )
    l1 = sj.penalties.L1(1.0)
    np.testing.assert_allclose(nn.penalise(model, l1, masks=masks), dropped, rtol=1e-5)
    slopes = _by_name(eqx.filter_grad(lambda m: nn.penalise(m, l1, masks=masks))(model))
    for name, mask in _by_name(masks).items():
        expected = np.where(mask, 0, np.sign(weights[name]))
        np.testing.assert_array_equal(slopes[name], expected)
    assert not np.any(slopes["conv.weight"])


BAD = {
    "no pattern": (lambda m: nn.magnitude_masks(m, "2:4"), TypeError, "pattern"),
    "M": (lambda m: nn.magnitude_masks(m, nn.NM(2, 3)), ValueError, "conv.weight.*NM"),
    "block": (
        lambda m: nn.magnitude_masks(m, nn.Block((8, 5), 0.5)),
        ValueError,
        "conv.weight.*blocks",
    ),
    "bias": (
        lambda m: nn.magnitude_masks(m, nn.NM(1, 2), "*.bias"),
        ValueError,
        "norm.bias|conv.bias",
    ),
    "nothing": (lambda m: nn.magnitude_masks(m, nn.NM(1, 2), "mlp.*.wieght"), ValueError, "wieght"),
    "no array": (lambda m: nn.magnitude_masks(m, nn.NM(1, 2), "activation"), ValueError, "`where`"),
    "scope": (lambda m: nn.magnitude_masks(m, nn.NM(1, 2), scope="all"), ValueError, "`scope`"),
    "row": (
        lambda m: nn.magnitude_masks(m, nn.Channel(0.5), scope="row"),
        ValueError,
        "`scope`: Channel",
    ),
    "several": (
        lambda m: nn.magnitude_masks(m, nn.erk(m, nn.Unstructured(0.5)), scope="global"),
        ValueError,
        "global",
    ),
    "masks of another model": (lambda m: nn.apply_masks(m.mlp, m), ValueError, "conv.weight"),
    "mask of another shape": (
        lambda m: nn.apply_masks(
            m.norm, eqx.tree_at(lambda n: n.weight, m.norm, jnp.ones(3, bool))
        ),
        (ValueError, TypeError),
        "weight|bias",
    ),
    "mask of numbers": (lambda m: nn.apply_masks(m.mlp, m.mlp), TypeError, "layers.0.weight.*bool"),
    "gradient": (lambda m: nn.saliency(m, m.mlp), ValueError, "`gradient` has a leaf at"),
    "no gradient": (
        lambda m: nn.saliency(m, eqx.filter(m, lambda x: False)),
        ValueError,
        "conv.weight",
    ),
    "growth": (
        lambda m: nn.drop_and_grow([m.norm.weight], [m.norm.weight > 0], [None], 0.1),
        ValueError,
        "growth",
    ),
    "penalty": (lambda m: nn.penalise(m, 0.1), TypeError, "`penalty`"),
    "weights of a penalty": (
        lambda m: nn.penalise(m, sj.penalties.RowL2(1.0, jnp.ones(8))),
        ValueError,
        "mlp.layers.0.weight.*weights",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    function, error, match = BAD[case]
    with pytest.raises(error, match=match):
        function(awkward())


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: nn.Unstructured(1.5), ValueError, "`sparsity`"),
        (lambda: nn.Unstructured(float("nan")), ValueError, "`sparsity`"),
        (lambda: nn.Unstructured("half"), TypeError, "`sparsity`"),
        (lambda: nn.NM(5, 4), ValueError, "`keep`"),
        (lambda: nn.NM(0, 4), ValueError, "`keep`"),
        (lambda: nn.NM(2.0, 4), TypeError, "`keep`"),
        (lambda: nn.Block((0, 2), 0.5), ValueError, "`shape`"),
        (lambda: nn.cubic(0.5, 4, 4), ValueError, "`end`"),
        (lambda: nn.cubic(0.5, 0, 4, every=0), ValueError, "`every`"),
    ],
)
def test_bad_parameters(make, error, match):
    with pytest.raises(error, match=match):
        make()
