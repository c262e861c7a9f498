"""Deep weight factorisation: its penalty, its initialisation, and what training it ends with."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import sparsejax as sj

TARGETS = np.array([3.0, -2.0, 0.9, 0.2, -0.05, 0.0])


def _mlp():
    return eqx.nn.MLP(2, 1, 16, 1, key=jax.random.key(0))


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_decay_bounds_the_power_and_meets_it_where_balanced(depth):
    rng = np.random.default_rng(depth)
    model = {"w": jnp.array(rng.normal(size=(4, 5)), jnp.float32), "b": jnp.ones(4)}
    factorised = sj.nn.factorise(model, depth, where="w")
    np.testing.assert_allclose(factorised.collapse()["w"], model["w"], rtol=1e-5)
    assert factorised.collapse()["b"] is model["b"]
    power = np.sum(np.abs(model["w"]) ** (2 / depth))
    np.testing.assert_allclose(factorised.decay(0.3), 0.3 * power, rtol=1e-5)
    drawn = sj.nn.factorise(model, depth, where="w", key=jax.random.key(1))
    power = np.sum(np.abs(drawn.collapse()["w"]) ** (2 / depth))
    assert drawn.decay(0.3) > 0.3 * power * 1.01


@pytest.mark.parametrize("depth", [2, 3, 6])
def test_drawn_weights_have_the_size_of_the_models(depth):
    model = {"w": 0.07 * jax.random.normal(jax.random.key(0), (400, 400))}
    factors = sj.nn.factorise(model, depth, key=jax.random.key(1)).factors["w"]
    weight = np.prod(factors, axis=0)
    np.testing.assert_allclose(np.mean(weight**2), np.mean(model["w"] ** 2), rtol=0.02)
    np.testing.assert_allclose(np.mean(weight), 0, atol=0.001)
    np.testing.assert_allclose(np.mean(factors > 0), 0.5, atol=0.01)
    sizes = np.abs(factors)
    np.testing.assert_allclose(sizes.max() / sizes.min(), 200 ** (1 / depth), rtol=1e-3)
    assert np.prod(sizes.min((1, 2))) > 0.005 * 0.07


@pytest.mark.parametrize("depth", [2, 3])
def test_minimisers_are_those_of_the_power(depth):
    """L-BFGS on the factors of a separable problem ends in the proximal point of ℓ_{2/D}."""
    strength = 0.3
    model = {"w": jnp.array([[1.0, -1.0, 1.0, 1.0, -1.0, 1.0]])}
    start = sj.nn.factorise(model, depth)

    def loss(factorised):
        w = factorised.collapse()["w"][0]
        return jnp.sum((w - jnp.float32(TARGETS)) ** 2) / 2 + factorised.decay(strength)

    optimiser = optax.lbfgs()

    def step(state, _):
        params, memory = state
        value, slope = optax.value_and_grad_from_state(loss)(params, state=memory)
        updates, memory = optimiser.update(
            slope, memory, params, value=value, grad=slope, value_fn=loss
        )
        return (optax.apply_updates(params, updates), memory), None

    @jax.jit
    def train(start):
        return jax.lax.scan(step, (start, optimiser.init(start)), length=100)[0][0]

    found = train(start).collapse()["w"][0]
    penalty = sj.penalties.L1(strength) if depth == 2 else sj.penalties.Lq(strength, 2 / depth)
    np.testing.assert_allclose(found, penalty.prox(jnp.float32(TARGETS), 1.0), atol=2e-3)


def test_training_a_network_ends_sparse():
    """Steps of gradient descent on y = x₁ with decay: exact zeros, and the fit is kept."""
    x = jax.random.normal(jax.random.key(1), (64, 2))
    network = sj.nn.factorise(_mlp(), 3, key=jax.random.key(2))
    assert set(network.factors) == {"layers.0.weight", "layers.1.weight"}
    np.testing.assert_array_equal(network(x[0]), network.collapse()(x[0]))
    optimiser = optax.adam(0.02)

    def loss(network):
        return jnp.mean((jax.vmap(network.collapse())(x)[:, 0] - x[:, 0]) ** 2)

    @eqx.filter_jit
    def train(network):
        arrays, static = eqx.partition(network, eqx.is_inexact_array)

        def step(state, _):
            arrays, memory = state
            slope = jax.grad(lambda a: penalised(eqx.combine(a, static)))(arrays)
            updates, memory = optimiser.update(slope, memory)
            return (optax.apply_updates(arrays, updates), memory), None

        def penalised(network):
            return loss(network) + network.decay(2e-3)

        start = (arrays, optimiser.init(arrays))
        return eqx.combine(jax.lax.scan(step, start, length=3000)[0][0], static)

    trained = train(network)
    weights = [layer.weight for layer in trained.collapse().layers]
    share = np.mean(np.concatenate([np.ravel(w == 0) for w in weights]))
    assert share > 0.5
    assert loss(trained) < 0.02


def test_arguments():
    model = {"w": jnp.zeros((2, 2))}
    for depth in (1, 2.0):
        with pytest.raises(ValueError, match="`depth` must be an integer, two or more"):
            sj.nn.factorise(model, depth)
    with pytest.raises(ValueError, match="only zeros at 'w'"):
        sj.nn.factorise(model, 2, key=jax.random.key(0))
    with pytest.raises(ValueError, match="`where`"):
        sj.nn.factorise(model, 2, where="v")
    with pytest.raises(ValueError, match="`strength` must be nonnegative"):
        sj.nn.factorise(model, 2).decay(-1.0)
