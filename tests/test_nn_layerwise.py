"""Pruning block by block, and what linear layers see however they are called."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax import nn
from sparsejax.nn._taps import record


class Block(eqx.Module):
    """A small transformer block: layers under ``vmap``, ``jit``, ``checkpoint`` and twice."""

    attention: eqx.nn.MultiheadAttention
    up: eqx.nn.Linear
    down: eqx.nn.Linear
    norm: eqx.nn.RMSNorm

    def __init__(self, key):
        keys = jax.random.split(key, 3)
        self.attention = eqx.nn.MultiheadAttention(2, 8, key=keys[0])
        self.up = eqx.nn.Linear(8, 16, key=keys[1])
        self.down = eqx.nn.Linear(16, 8, use_bias=False, key=keys[2])
        self.norm = eqx.nn.RMSNorm(8)

    def __call__(self, x):
        h = jax.vmap(self.norm)(x)
        x = x + self.attention(h, h, h)
        return x + jax.checkpoint(jax.jit(lambda h: self.feed(h)))(jax.vmap(self.norm)(x))

    def feed(self, h):
        up = jax.nn.silu(jax.vmap(self.up, in_axes=1, out_axes=1)(h.T).T)
        return jax.vmap(self.down)(up * jax.vmap(self.up)(2 * h))


class Looped(eqx.Module):
    linear: eqx.nn.Linear

    def __call__(self, x):
        return jax.lax.scan(lambda x, _: (self.linear(x), None), x, length=2)[0]


LAYERS = [f"attention.{name}_proj" for name in ("query", "key", "value", "output")] + ["up", "down"]
BLOCKS = [Block(jax.random.key(i)) for i in range(3)]
INPUTS = jax.random.normal(jax.random.key(9), (10, 5, 8))
HELD_OUT = jax.random.normal(jax.random.key(8), (4, 5, 8))
PATTERN = nn.NM(2, 4)


def _seen_by_hand(block, x):
    """(calls, in) of every layer for one sample, from the block's formula."""
    h = jax.vmap(block.norm)(x)
    attention = block.attention
    query, key, value = (
        jax.vmap(getattr(attention, f"{n}_proj"))(h).reshape(5, 2, 4)
        for n in ("query", "key", "value")
    )
    weights = jax.nn.softmax(jnp.einsum("shd,thd->hst", query, key) / 2, axis=-1)
    mixed = jnp.einsum("hst,thd->shd", weights, value).reshape(5, 8)
    after = jax.vmap(block.norm)(x + jax.vmap(attention.output_proj)(mixed))
    up = jax.vmap(block.up)
    hidden = jax.nn.silu(up(after)) * up(2 * after)
    seen = dict.fromkeys(LAYERS[:3], h) | {"attention.output_proj": mixed, "down": hidden}
    return seen | {"up": jnp.concatenate([after, 2 * after])}


def test_layers_are_seen_however_they_are_called():
    block = BLOCKS[0]
    outputs, seen = jax.jit(lambda x: record(block, x))(INPUTS)
    np.testing.assert_allclose(outputs, jax.vmap(block)(INPUTS), rtol=1e-5, atol=1e-6)
    expected = jax.vmap(lambda x: _seen_by_hand(block, x))(INPUTS)
    assert set(seen) == set(LAYERS)
    for name, calls in seen.items():
        found = jnp.concatenate(calls, axis=1)
        np.testing.assert_allclose(found, expected[name], rtol=1e-4, atol=1e-5)


def _by_hand(method):
    """The pipeline, written out: all layers of a block see its unpruned forward pass.

    The method gets the weight, inputs from pruned blocks and from dense ones.
    """
    inputs, dense, held_out = INPUTS, INPUTS, HELD_OUT
    for block in BLOCKS:
        seen, full, other = (
            jax.vmap(lambda x, b=block: _seen_by_hand(b, x))(stream)
            for stream in (inputs, dense, held_out)
        )
        pruned, errors = block, {}
        for name in LAYERS:
            at = lambda b, name=name: _get(b, name)  # noqa: E731
            X, D, Z = (s[name].reshape(-1, s[name].shape[-1]) for s in (seen, full, other))
            W = at(block).weight
            weight = method(W, X, D)
            pruned = eqx.tree_at(lambda b, at=at: at(b).weight, pruned, weight)
            errors[name] = jnp.sum(((weight - W) @ Z.T) ** 2) / jnp.sum((W @ Z.T) ** 2)
        inputs, held_out = jax.vmap(pruned)(inputs), jax.vmap(pruned)(held_out)
        dense = jax.vmap(block)(dense)
        yield pruned, errors


def _refitted_to_dense_outputs(W, X, D):
    """Wanda's mask, and damped least squares to what the dense model makes of its inputs."""
    mask = np.asarray(nn.wanda(W, jnp.linalg.norm(X, axis=0), PATTERN)[1])
    W, X, D = (np.asarray(a, float) for a in (W, X, D))
    weight, ridge = np.zeros_like(W), np.sqrt(0.01 * np.mean(np.sum(X**2, axis=0)))
    for i, row in enumerate(mask):
        A = np.concatenate([X[:, row], ridge * np.eye(row.sum())])
        weight[i, row] = np.linalg.lstsq(A, np.concatenate([D @ W[i], ridge * W[i, row]]))[0]
    return jnp.asarray(weight, jnp.float32)


def _get(block, name):
    return functools.reduce(getattr, name.split("."), block)


@pytest.mark.parametrize(
    ("method", "data", "by_hand"),
    [
        ("wanda", "SD", lambda W, X, D: nn.wanda(W, jnp.linalg.norm(X, axis=0), PATTERN)[0]),
        (nn.sparsegpt, "DD", lambda W, X, D: nn.sparsegpt(W, D.T @ D, PATTERN)[0]),
        (nn.Refitted("wanda"), "KD", _refitted_to_dense_outputs),
    ],
    ids=["wanda", "sparsegpt on dense inputs", "refit to dense outputs"],
)
def test_the_pipeline_is_its_restatement(method, data, by_hand):
    options = {"held_out": HELD_OUT, "chunk": 4, "data": data}
    result = nn.prune_layerwise(BLOCKS, INPUTS, method, PATTERN, **options)
    for i, (block, errors) in enumerate(_by_hand(by_hand)):
        for name in LAYERS:
            weight = _get(result.blocks[i], name).weight
            np.testing.assert_allclose(weight, _get(block, name).weight, atol=2e-4)
            np.testing.assert_allclose(result.errors[i][name], errors[name], rtol=1e-2)
            mask = _get(result.masks[i], name).weight
            assert np.all(np.asarray(weight)[~np.asarray(mask)] == 0)
            assert int(jnp.sum(mask)) * 2 == mask.size
        masked = nn.apply_masks(result.blocks[i], result.masks[i])
        assert eqx.tree_equal(masked, result.blocks[i])


@pytest.mark.slow
def test_order_of_methods():
    """On calibration inputs: what uses more of the data loses less."""
    error = {
        method: float(nn.prune_layerwise(BLOCKS[:1], INPUTS, method, PATTERN).errors[0]["down"])
        for method in ("magnitude", "wanda", "sparsegpt", "sds")
    }
    refitted = nn.prune_layerwise(BLOCKS[:1], INPUTS, nn.Refitted("sparsegpt"), PATTERN)
    error["refitted"] = float(refitted.errors[0]["down"])
    assert error["sds"] < error["sparsegpt"]
    assert error["refitted"] < error["sparsegpt"] < error["wanda"] <= error["magnitude"]


def test_an_interrupted_run_ends_in_the_same_bits(tmp_path):
    def save(result):
        if len(result.blocks) == 2:
            eqx.tree_serialise_leaves(tmp_path / "run.eqx", result)

    run = functools.partial(
        nn.prune_layerwise, BLOCKS, INPUTS, nn.Refitted("wanda"), PATTERN, data="KD", chunk=4
    )
    full = run(callback=save)
    like = nn.LayerwiseResult.like(BLOCKS[:2])
    saved = eqx.tree_deserialise_leaves(tmp_path / "run.eqx", like)
    again = run(resume=saved)
    assert eqx.tree_equal(full, again)


def _mlp(width=8):
    return eqx.nn.MLP(width, 8, 12, 1, key=jax.random.key(0))


X = np.ones((3, 8), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (
            lambda: nn.prune_layerwise([_mlp()], X, "obd", PATTERN),
            ValueError,
            "`method`.*sparsegpt",
        ),
        (lambda: nn.prune_layerwise([_mlp()], X, 3, PATTERN), TypeError, "`method`"),
        (lambda: nn.prune_layerwise([_mlp()], X, "sds", PATTERN, data="DK"), ValueError, "`data`"),
        (
            lambda: nn.prune_layerwise([_mlp()], X, "wanda", PATTERN, data="KD"),
            ValueError,
            "`data`",
        ),
        (lambda: nn.prune_layerwise([_mlp()], X, "wanda", 0.5), TypeError, "`pattern`"),
        (
            lambda: nn.prune_layerwise([_mlp()], X, "wanda", nn.NM(4, 8)),
            ValueError,
            r"blocks\[0\].layers.1.weight",
        ),
        (
            lambda: nn.prune_layerwise([_mlp()], X[:, :4], "wanda", PATTERN),
            ValueError,
            "layers.0.*8",
        ),
        (lambda: nn.prune_layerwise([_mlp()], X[0], "wanda", PATTERN), ValueError, "`inputs`"),
        (lambda: nn.prune_layerwise([_mlp()], X * np.nan, "wanda", PATTERN), ValueError, "NaN"),
        (
            lambda: nn.prune_layerwise([_mlp()], X, "wanda", PATTERN, held_out=X[:0]),
            ValueError,
            "`held_out`",
        ),
        (
            lambda: nn.prune_layerwise([Looped(_mlp().layers[1])], X[:, :12], "wanda", PATTERN),
            ValueError,
            "linear",
        ),
        (
            lambda: nn.prune_layerwise(
                [_mlp()], X, "wanda", PATTERN, resume=nn.LayerwiseResult.like([_mlp(16)])
            ),
            ValueError,
            "`resume`",
        ),
        (
            lambda: nn.prune_layerwise(
                [], X, "wanda", PATTERN, resume=nn.LayerwiseResult.like([_mlp()])
            ),
            ValueError,
            "`resume`",
        ),
    ],
)
def test_bad_input(call, error, match):
    with pytest.raises(error, match=match):
        call()
