"""The sparse layer is the dense one, under every transformation."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj


@pytest.fixture(name="layers")
def _layers():
    linear = eqx.nn.Linear(12, 7, key=jax.random.key(0))
    masks = sj.nn.magnitude_masks(linear, sj.nn.Unstructured(0.8))
    dense = sj.nn.apply_masks(linear, masks)
    dense = eqx.tree_at(lambda m: m.weight, dense, dense.weight.at[2].set(0.0))  # an empty row
    return sj.nn.SparseLinear.of(dense), dense


X = jax.random.normal(jax.random.key(1), (3, 4, 12))


def test_equals_the_dense_layer(layers):
    sparse, dense = layers
    assert sparse.data.size == jnp.sum(dense.weight != 0)
    close = lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6)  # noqa: E731
    close(sparse(X[0, 0]), dense(X[0, 0]))
    close(jax.jit(jax.vmap(sparse))(X[0]), jax.vmap(dense)(X[0]))
    close(jax.vmap(jax.vmap(sparse))(X), jax.vmap(jax.vmap(dense))(X))
    pair = jax.tree.map(lambda a: jnp.stack([a, 2 * a]), sparse.data)
    several = jax.vmap(lambda data: eqx.tree_at(lambda m: m.data, sparse, data)(X[0, 0]))(pair)
    close(several[1] - several[0], dense(X[0, 0]) - dense.bias)


def test_a_batch_is_one_product(layers):
    """Under `vmap` too: mapping the product itself is a hundred times slower."""
    text = str(jax.make_jaxpr(jax.vmap(jax.vmap(layers[0])))(X))
    assert text.count("bcsr_dot_general") == 1


def test_derivatives(layers):
    def loss(model, x):
        return jnp.sum(jax.vmap(model)(x) ** 3)

    (sparse, dense), x = layers, X[0]
    got, of_x = eqx.filter_grad(lambda m: loss(m, x))(sparse), jax.grad(loss, 1)(sparse, x)
    expected = eqx.filter_grad(lambda m: loss(m, x))(dense)
    kept = np.nonzero(np.asarray(dense.weight))
    np.testing.assert_allclose(got.data, expected.weight[kept], rtol=1e-4)
    np.testing.assert_allclose(got.bias, expected.bias, rtol=1e-4)
    np.testing.assert_allclose(of_x, jax.grad(loss, 1)(dense, x), rtol=1e-4, atol=1e-5)


def test_bad_input_is_named(layers):
    sparse, dense = layers
    with pytest.raises(TypeError, match="`linear` must be"):
        sj.nn.SparseLinear.of(sparse)
    with pytest.raises(TypeError, match="`linear` is traced"):
        eqx.filter_jit(sj.nn.SparseLinear.of)(dense)
    with pytest.raises(ValueError, match="`x` must have shape"):
        sparse(X[0])
