"""Pruning and proximal steps as the last transformation of an Optax chain."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from nn_models import PRUNED, awkward

import sparsejax as sj
from sparsejax import nn

IMAGE = jnp.sin(jnp.arange(100.0)).reshape(4, 5, 5)


def _by_name(tree):
    flat = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in flat}


def _loss(model):
    return jnp.sum((model(IMAGE) - 1.0) ** 2)


def _step_of(optimiser):
    @eqx.filter_jit
    def step(model, state):
        gradient = eqx.filter_grad(_loss)(model)
        updates, state = optimiser.update(gradient, state, eqx.filter(model, eqx.is_inexact_array))
        return eqx.apply_updates(model, updates), state

    return step


def _init(optimiser, model):
    return optimiser.init(eqx.filter(model, eqx.is_inexact_array))


def _zeros(model):
    return {
        name: leaf.zeros for name, leaf in nn.sparsity_report(model).leaves.items() if leaf.zeros
    }


def test_the_schedule_is_followed_to_one_weight():
    """Exact zeros after every step, nested from step to step; other leaves go on learning."""
    schedule = nn.cubic(0.8, 0, 4)
    optimiser = optax.chain(optax.adam(1e-2), nn.prune_updates(schedule, nn.Unstructured(0.8)))
    model, step = awkward(), _step_of(optimiser)
    state, before = _init(optimiser, model), {}
    sizes = {name: _by_name(model)[name].size for name in PRUNED}
    first = model
    for count in range(6):
        model, state = step(model, state)
        sparsity = float(schedule(count))
        expected = {n: int(sparsity * size + 1e-3) for n, size in sizes.items()}
        assert _zeros(model) == {name: zeros for name, zeros in expected.items() if zeros}
        masks = {name: np.asarray(mask) for name, mask in _by_name(state[1].masks).items()}
        for name, mask in masks.items():
            np.testing.assert_array_equal(np.asarray(_by_name(model)[name]) != 0, mask)
            assert not np.any(mask & ~before.get(name, mask))
        before = masks
    assert np.all(np.asarray(model.mlp.layers[0].bias != first.mlp.layers[0].bias))
    assert model.activation is jnp.tanh
    one, other = model.tied()
    np.testing.assert_array_equal(one.weight, other.weight)


def test_the_masks_are_of_the_moved_weights(rng):
    """What is dropped is smallest after the optimiser's step, not before."""
    w, u = rng.normal(size=(2, 5, 40)).astype(np.float32)
    prune = nn.prune_updates(0.5, nn.Unstructured(0.9))  # the smaller of the two counts
    updates, state = prune.update([jnp.asarray(u)], prune.init([w]), [jnp.asarray(w)])
    smallest = np.argsort(np.abs(w + u), axis=None)[:100]
    expected = (w + u).ravel()
    expected[smallest] = 0
    np.testing.assert_array_equal((w + np.asarray(updates[0])).ravel(), expected)
    assert state.count == 1


@pytest.mark.parametrize(
    ("pattern", "scope"),
    [(nn.NM(2, 4), "leaf"), (nn.Channel(0.5), "leaf"), (nn.Unstructured(0.7), "global")],
)
def test_patterns_and_scopes(pattern, scope):
    optimiser = optax.chain(
        optax.sgd(1e-2), nn.prune_updates(nn.one_shot(1.0, 1), pattern, scope=scope)
    )
    model, step = awkward(), _step_of(optimiser)
    model, state = step(model, _init(optimiser, model))
    assert not _zeros(model)
    model, state = step(model, state)
    masks = _by_name(state[1].masks)
    for name, mask in masks.items():
        np.testing.assert_array_equal(np.asarray(_by_name(model)[name]) != 0, mask)
    total = sum(mask.size for mask in masks.values())
    dropped = sum(int(jnp.sum(~mask)) for mask in masks.values())
    assert dropped == int(pattern.sparsity * total)


def test_bfloat16_and_a_pattern_for_each_leaf():
    params = {"a": jnp.linspace(-1, 1, 24, dtype=jnp.bfloat16).reshape(4, 6), "b": jnp.ones((2, 2))}
    patterns = {"a": nn.Unstructured(0.25), "b": None}
    prune = nn.prune_updates(1.0, patterns)
    gradient = jax.tree.map(lambda p: jnp.full(p.shape, 0.01, jnp.float32), params)
    updates, _ = prune.update(gradient, prune.init(params), params)
    new = optax.apply_updates(params, updates)
    assert new["a"].dtype == jnp.bfloat16
    assert int(jnp.sum(new["a"] == 0)) == 6
    assert not jnp.any(new["b"] == 0)


@pytest.mark.parametrize(
    "penalty",
    [sj.penalties.L1(3.0), sj.penalties.RowL2(30.0), sj.penalties.MCP(3.0), sj.penalties.L0(0.05)],
    ids=lambda penalty: type(penalty).__name__,
)
def test_proximal_steps(penalty):
    """Each step is prox(w − rate·gradient), with exact zeros."""
    rate = optax.linear_schedule(2e-2, 1e-2, 3)
    optimiser = optax.chain(optax.sgd(rate), nn.prox_updates(penalty, rate))
    model, step = awkward(), _step_of(optimiser)
    state, gradient = _init(optimiser, model), eqx.filter_jit(eqx.filter_grad(_loss))
    for count in range(2):
        slopes, old = _by_name(gradient(model)), _by_name(model)
        model, state = step(model, state)
        new = _by_name(model)
        for name in PRUNED:
            moved = old[name] - rate(count) * slopes[name]
            moved = moved.reshape(moved.shape[0], -1) if penalty.takes_tasks else moved.ravel()
            expected = penalty.prox(moved, rate(count)).reshape(new[name].shape)
            np.testing.assert_allclose(new[name], expected, rtol=1e-4, atol=1e-6)
            np.testing.assert_array_equal(new[name] == 0, expected == 0)
    assert set(_zeros(model)) == PRUNED


def test_frozen_leaves_pass():
    """Full models as params, and updates without a frozen leaf."""
    model = awkward()
    gradient = eqx.filter_grad(_loss)(model)
    gradient = eqx.tree_at(lambda g: g.conv.weight, gradient, None)
    for last in (
        nn.prune_updates(0.5, nn.Unstructured(0.5), scope="global"),
        nn.prox_updates(sj.penalties.L1(1.0), 0.1),
    ):
        state = last.init(model)
        updates, _ = last.update(gradient, state, model)
        new = eqx.apply_updates(model, updates)
        np.testing.assert_array_equal(new.conv.weight, model.conv.weight)
        assert set(_zeros(new)) <= PRUNED - {"conv.weight"}
        assert _zeros(new)
        assert jax.tree.structure(updates) == jax.tree.structure(gradient)


def test_a_checkpoint_goes_on_in_the_same_bits(tmp_path):
    optimiser = optax.chain(
        optax.adam(1e-2),
        nn.prox_updates(sj.penalties.L1(0.01), 1e-2),
        nn.prune_updates(nn.cubic(0.5, 0, 5), nn.Unstructured(0.5)),
    )
    model, step = awkward(), _step_of(optimiser)
    like = state = _init(optimiser, model)
    for count in range(4):
        model, state = step(model, state)
        if count == 1:
            eqx.tree_serialise_leaves(tmp_path / "run.eqx", (model, state))
    again = eqx.tree_deserialise_leaves(tmp_path / "run.eqx", (awkward(), like))
    for _ in range(2):
        again = step(*again)
    arrays = lambda tree: jax.tree.leaves(eqx.filter(tree, eqx.is_array))  # noqa: E731
    for one, other in zip(arrays((model, state)), arrays(again), strict=True):
        np.testing.assert_array_equal(one, other)


def test_schedules():
    steps = np.arange(12)
    t = np.clip((steps - 2) / 6, 0, 1)
    expected = 0.9 * (1 - (1 - t) ** 3)
    np.testing.assert_allclose(jax.vmap(nn.cubic(0.9, 2, 8))(steps), expected, rtol=1e-6)
    stairs = np.asarray(jax.vmap(nn.cubic(0.9, 2, 8, every=4))(steps))
    np.testing.assert_allclose(
        stairs[[2, 5, 6, 7, 8]], [0, 0, expected[6], expected[6], 0.9], rtol=1e-6
    )
    assert [float(nn.one_shot(0.5, 3)(step)) for step in (2, 3)] == [0, 0.5]
    assert float(nn.constant(0.25)(0)) == 0.25


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: nn.prune_updates(0.5, "2:4"), TypeError, "`pattern`"),
        (lambda: nn.prune_updates(0.5, nn.NM(2, 4), scope="all"), ValueError, "`scope`"),
        (
            lambda: nn.prune_updates(0.5, nn.NM(2, 3)).init([jnp.ones((2, 4))]),
            ValueError,
            "'?0'?.*NM",
        ),
        (lambda: nn.prox_updates("l1", 0.1), TypeError, "`penalty`"),
        (
            lambda: nn.prox_updates(sj.penalties.L1(1.0), 0.1).update([], None),
            ValueError,
            "`params`",
        ),
    ],
)
def test_bad_input(make, error, match):
    with pytest.raises(error, match=match):
        make()
