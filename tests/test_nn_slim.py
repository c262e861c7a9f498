"""Slimmed models against the masked ones, on inputs that slim has not seen."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax import nn

KEYS = jax.random.split(jax.random.key(0), 12)
IMAGE = jax.random.normal(KEYS[11], (3, 10, 10))


def _norm(channels, mode="batch"):
    return eqx.nn.BatchNorm(channels, "batch", mode=mode)


def _noisy(tree):
    """No bias, scale or statistic at its initial value."""

    def disturb(x):
        if not eqx.is_inexact_array(x):
            return x
        noise = np.abs(np.random.default_rng(x.size).normal(size=x.shape))
        return jnp.asarray(x + 0.2 * noise, x.dtype)

    return jax.tree.map(disturb, tree)


def _same(model, state, keep, small, small_state, x):
    masked = eqx.nn.inference_mode(nn.apply_masks(model, keep))
    small = eqx.nn.inference_mode(small)
    states = ((), ()) if state is None else ((state,), (small_state,))
    call = eqx.filter_jit(lambda model, *args: model(*args))
    expected, found = call(masked, x, *states[0]), call(small, x, *states[1])
    if state is not None:
        expected, found = expected[0], found[0]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("round_to", "widths"), [(8, (16, 16)), (1, (10, 10)), (32, (20, 20))])
def test_mlp(round_to, widths):
    model = eqx.nn.MLP(6, 3, 20, 2, key=KEYS[0])
    keep = nn.magnitude_masks(model, nn.Channel(0.5))
    small, state = nn.slim(model, None, keep, round_to=round_to)
    assert state is None
    assert tuple(layer.out_features for layer in small.layers) == (*widths, 3)
    assert tuple(layer.in_features for layer in small.layers) == (6, *widths)
    assert tuple(layer.weight.shape[0] for layer in small.layers) == (*widths, 3)
    _same(model, None, keep, small, None, jnp.linspace(-1, 1, 6))
    if round_to == 8:
        # The best of the dropped ones stay.
        size = np.abs(model.layers[0].weight).mean(axis=1)
        best = np.sort(np.argsort(-size)[:16])
        np.testing.assert_array_equal(small.layers[0].bias, model.layers[0].bias[best])
        assert int(jnp.sum(jnp.any(small.layers[0].weight != 0, axis=1))) == 10


def test_everything_dropped_leaves_one():
    model = eqx.nn.MLP(6, 3, 8, 1, key=KEYS[0])
    small, _ = nn.slim(model, None, nn.magnitude_masks(model, nn.Channel(1.0)), 1)
    assert small.layers[0].weight.shape == (1, 6)


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.bfloat16])
def test_precision_follows_the_model(dtype):
    with jax.enable_x64(True):
        first = eqx.nn.Conv1d(2, 4, 3, padding=1, dtype=dtype, key=KEYS[0])
        last = eqx.nn.Conv1d(4, 1, 3, padding=1, dtype=dtype, key=KEYS[1])
        model = eqx.nn.Sequential([first, last])
        keep = nn.magnitude_masks(model, nn.Channel(0.5), where="layers.0.weight")
        small, _ = nn.slim(model, None, keep, 1)
        x = jnp.ones((2, 5), dtype)
        found, expected = small(x), nn.apply_masks(model, keep)(x)
        assert found.dtype == dtype
        tolerance = 1e-12 if dtype == jnp.float64 else 0.02
        np.testing.assert_allclose(
            found.astype(float), expected.astype(float), rtol=0, atol=tolerance
        )


def test_batch_norm_and_borders():
    def make():
        return eqx.nn.Sequential(
            [
                eqx.nn.Conv2d(3, 16, 3, padding=1, key=KEYS[0]),
                _norm(16),
                eqx.nn.Lambda(jax.nn.relu),
                eqx.nn.Conv2d(16, 16, 3, padding=1, use_bias=False, key=KEYS[1]),
                _norm(16, "ema"),
                eqx.nn.Lambda(jax.nn.relu),
                eqx.nn.MaxPool2d(2, 2),
                eqx.nn.Conv2d(16, 8, 2, use_bias=False, key=KEYS[2]),
                eqx.nn.Lambda(jnp.ravel),
                eqx.nn.Dropout(0.5),
                eqx.nn.Linear(8 * 4 * 4, 5, key=KEYS[3]),
            ]
        )

    model, state = _noisy(eqx.nn.make_with_state(make)())
    # Weights of one layer, scales of the other norm.
    keep = nn.magnitude_masks(model, nn.Channel(0.5), where=["layers.0.weight", "layers.4.weight"])
    small, small_state = nn.slim(model, state, keep)
    assert [small.layers[i].out_channels for i in (0, 3, 7)] == [8, 8, 8]
    assert [small.layers[i].in_channels for i in (0, 3, 7)] == [3, 8, 8]
    assert [small.layers[i].input_size for i in (1, 4)] == [8, 8]
    assert {x.shape for x in jax.tree.leaves(small_state)} == {(), (8,)}
    # With zeros beyond the border a constant channel is not constant in what reads it.
    assert isinstance(small.layers[3], nn.BorderedConv)
    assert small.layers[7].use_bias
    _same(model, state, keep, small, small_state, IMAGE)
    # It can be trained, and slimmed again.
    train = lambda x: small(x, small_state, key=KEYS[0])  # noqa: E731
    train = jax.vmap(train, out_axes=(0, None), axis_name="batch")
    trained_state = eqx.filter_jit(train)(jnp.stack([IMAGE, -IMAGE]))[1]
    again = nn.magnitude_masks(small, nn.Channel(0.5))
    tiny, tiny_state = nn.slim(small, trained_state, again, 1)
    assert [tiny.layers[i].weight.shape[0] for i in (0, 3, 7)] == [4, 4, 4]
    _same(small, trained_state, again, tiny, tiny_state, IMAGE)


class Streams(eqx.Module):
    """A residual stream, a depthwise convolution, a gate and a convolution in groups."""

    stem: eqx.nn.Conv2d
    norm: eqx.nn.BatchNorm
    inner: eqx.nn.Conv2d
    back: eqx.nn.Conv2d
    depthwise: eqx.nn.Conv2d
    up: eqx.nn.Conv2d
    gate: eqx.nn.Conv2d
    grouped: eqx.nn.Conv2d
    last: eqx.nn.Linear

    def __init__(self):
        def conv(i, *sizes, padding=1, **kwargs):
            return eqx.nn.Conv2d(*sizes, padding=padding, key=KEYS[i], **kwargs)

        self.stem, self.norm = conv(0, 3, 8, 3, use_bias=False), _norm(8)
        self.inner, self.back = conv(1, 8, 8, 3), conv(2, 8, 8, 3, use_bias=False)
        self.depthwise = conv(3, 8, 8, 3, groups=8)
        self.up, self.gate = conv(4, 8, 8, 1, padding=0), conv(5, 8, 8, 1, padding=0)
        self.grouped = conv(6, 8, 8, 3, groups=4)
        self.last = eqx.nn.Linear(8, 2, key=KEYS[7])

    def __call__(self, x, state, *, key=None):
        x, state = self.norm(self.stem(x), state)
        x = jax.nn.relu(x + self.back(jax.nn.silu(self.inner(x))))
        x = jax.nn.relu(self.depthwise(x))
        x = self.grouped(self.up(x) * jax.nn.sigmoid(self.gate(x)))
        return self.last(jnp.mean(x, axis=(1, 2))), state


@pytest.fixture(scope="module")
def streams():
    return _noisy(eqx.nn.make_with_state(Streams)())


def test_streams_that_disagree_stay(streams):
    model, state = streams
    keep = nn.magnitude_masks(model, nn.Channel(0.5))
    small, small_state = nn.slim(model, state, keep, 1)
    assert small.inner.out_channels == 4
    layers = (keep.stem, keep.back, keep.depthwise)
    stem, back, depthwise = (np.any(layer.weight, axis=(1, 2, 3)) for layer in layers)
    # `inner` reads the stem; `up` and `gate` what was added to it, if it gets there.
    assert small.stem.out_channels == np.sum(stem | (back & depthwise)) < 8
    _same(model, state, keep, small, small_state, IMAGE)


def test_streams_that_agree_shrink(streams):
    model, state = streams
    masks = nn.magnitude_masks(model, nn.Channel(0.5))
    # One group of the last convolution and what it reads.
    rows = jnp.arange(8) // 2 != 1
    for name in ("up", "gate", "grouped"):
        where = lambda m, name=name: getattr(m, name).weight  # noqa: E731
        mask = jnp.broadcast_to(rows[:, None, None, None], where(masks).shape)
        masks = eqx.tree_at(where, masks, mask)
    keep = nn.shared_masks(model, state, masks)
    votes = sum(np.any(m.weight, axis=(1, 2, 3)) for m in (masks.stem, masks.back, masks.depthwise))
    kept = np.all(keep.stem.weight, axis=(1, 2, 3))
    assert kept.sum() == 4  # as many as each keeps by itself
    assert votes[kept].min() >= votes[~kept].max()
    for layer in (keep.back, keep.depthwise):
        np.testing.assert_array_equal(np.all(layer.weight, axis=(1, 2, 3)), kept)
    assert np.all(keep.last.weight)  # outputs cannot go
    small, small_state = nn.slim(model, state, keep, 1)
    assert (small.depthwise.groups, small.depthwise.in_channels) == (4, 4)
    assert (small.grouped.groups, small.grouped.in_channels, small.last.in_features) == (3, 6, 6)
    _same(model, state, keep, small, small_state, IMAGE)


class Joined(eqx.Module):
    """A stream that gets wider by zeros on either side, and then beside what it was made of."""

    first: eqx.nn.Linear
    wide: eqx.nn.Linear
    last: eqx.nn.Linear

    def __call__(self, x):
        x = self.first(x)
        wide = jax.nn.relu(self.wide(x) + jnp.pad(x, (2, 3)))
        return self.last(jnp.concatenate([wide, jnp.ones(1), x]))


def test_joined_channels():
    sizes = ((2, 6), (6, 11), (18, 2))
    model = Joined(*(eqx.nn.Linear(*s, key=key) for s, key in zip(sizes, KEYS, strict=False)))
    keep = {"first.weight": jnp.arange(6) % 3 > 0, "wide.weight": jnp.arange(11) % 3 > 1}
    shared = nn.shared_masks(model, None, keep, 1)
    rows = np.all(shared.wide.weight, axis=1)
    # The code adds two and three zeros whatever it is given.
    assert rows[:2].all()
    assert rows[8:].all()
    np.testing.assert_array_equal(rows[2:8], np.all(shared.first.weight, axis=1))
    assert rows[2:8].sum() == 4
    small, _ = nn.slim(model, None, shared, 1)
    assert small.last.in_features == rows.sum() + 1 + 4 == 14
    _same(model, None, shared, small, None, jnp.array([0.3, -2.0]))


class Attention(eqx.Module):
    table: eqx.nn.Embedding
    attention: eqx.nn.MultiheadAttention
    norm: eqx.nn.LayerNorm
    mlp: eqx.nn.MLP

    def __init__(self):
        self.table = eqx.nn.Embedding(7, 8, key=KEYS[0])
        self.attention = eqx.nn.MultiheadAttention(4, 8, key=KEYS[1])
        self.norm = eqx.nn.LayerNorm(8)
        self.mlp = eqx.nn.MLP(8, 8, 16, 1, jax.nn.gelu, key=KEYS[2])

    def __call__(self, tokens):
        x = jax.vmap(self.table)(tokens)
        x = x + self.attention(x, x, x)
        return jnp.mean(x + jax.vmap(self.mlp)(jax.vmap(self.norm)(x)), axis=0)


def test_heads():
    model = Attention()
    heads = jnp.repeat(jnp.array([True, False, True, False]), 2)
    names = ("attention.value_proj.weight", "mlp.layers.0.weight")
    keep = {names[0]: heads, names[1]: jnp.arange(16) < 9}
    tokens = jax.ShapeDtypeStruct((5,), int)
    small, _ = nn.slim(model, None, keep, example=tokens)
    assert small.attention.num_heads == 2
    assert small.attention.query_proj.weight.shape == (4, 8)
    assert small.mlp.layers[0].out_features == 16
    whole = {name: jnp.broadcast_to(mask[:, None], (mask.size, 8)) for name, mask in keep.items()}
    _same(model, None, whole, small, None, jnp.array([1, 6, 3, 3]))
    with pytest.raises(ValueError, match="`example` is needed"):
        nn.slim(model, None, keep)
    # A LayerNorm averages over the stream, whose width therefore stays.
    stream = {"attention.output_proj.weight": heads}
    with pytest.raises(
        ValueError, match=r"'attention\.output_proj\.weight' drops can go: they are"
    ):
        nn.slim(model, None, stream, example=tokens)


def _two(function):
    layers = [eqx.nn.Linear(4, 8, key=KEYS[0]), eqx.nn.Lambda(function)]
    return eqx.nn.Sequential([*layers, eqx.nn.Linear(8, 2, key=KEYS[1])])


def test_what_cannot_be_followed():
    keep = {"layers.0.weight": jnp.arange(8) < 4}
    with pytest.raises(ValueError, match="does not work with fewer channels"):
        nn.slim(_two(lambda x: jnp.reshape(x, (8, 1))[:, 0]), None, keep, 1)
    counted = lambda x: x / (1 + x.shape[0])  # noqa: E731
    with pytest.raises(ValueError, match="computes something else"):
        nn.slim(_two(counted), None, keep, 1)
    for function, why in ((jax.nn.softmax, "taken together by"), (jnp.sort, "an operand of sort")):
        with pytest.raises(ValueError, match=rf"'layers\.0\.weight' drops .* are {why}"):
            nn.slim(_two(function), None, keep, 1)


def test_bad_input(streams):
    model, state = streams
    linear = eqx.nn.Linear(4, 4, key=KEYS[0])
    with pytest.raises(ValueError, match="they are its outputs"):
        nn.slim(linear, None, nn.magnitude_masks(linear, nn.Channel(0.5)), 1)
    with pytest.raises(ValueError, match="`state` is needed"):
        nn.slim(model, None, {})
    with pytest.raises(ValueError, match=r"`keep` has a leaf at 'nowhere'"):
        nn.slim(model, state, {"nowhere": jnp.ones(8, bool)})
    with pytest.raises(ValueError, match=r"`keep`: 'stem\.weight' has shape \(7,\)"):
        nn.slim(model, state, {"stem.weight": jnp.ones(7, bool)})
    with pytest.raises(TypeError, match=r"`keep`: 'stem\.weight' must be a boolean"):
        nn.slim(model, state, {"stem.weight": jnp.ones(8)})
    mlp = eqx.nn.MLP(4, 2, 8, 1, key=KEYS[0])
    keep = nn.magnitude_masks(mlp, nn.Channel(0.5))
    for round_to in (0, 1.5, True):
        with pytest.raises(ValueError, match="`round_to` must be a positive integer"):
            nn.slim(mlp, None, keep, round_to)
    with pytest.raises(TypeError, match="`model` must be callable"):
        nn.slim([linear], None, {})
