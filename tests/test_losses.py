"""Losses against NumPy and against automatic differentiation of their value."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays

import sparsejax as sj

pytestmark = pytest.mark.usefixtures("float64")

N = 6
vectors = arrays(np.float64, N, elements=st.floats(-5, 5))
some_weights = (
    st.none()
    | arrays(np.float64, N, elements=st.floats(0.1, 3.0))
    | st.just(np.array([0.0, 1.0, 2.0, 0.0, 1.0, 0.5]))
)


@given(z=vectors, y=vectors, weights=some_weights)
def test_squared_value(z, y, weights):
    h = reference.row_weights(y, weights)
    expected = np.sum(h * (y - z) ** 2) / 2
    loss = sj.losses.Squared(sample_weight=weights)
    np.testing.assert_allclose(loss.value(z, y), expected, rtol=1e-13)
    np.testing.assert_allclose(loss.row_weights(jnp.asarray(y)), h, rtol=1e-13)


@given(z=vectors, y=vectors, weights=some_weights)
def test_gradient_and_curvature_are_those_of_the_value(z, y, weights):
    loss = sj.losses.Squared(sample_weight=weights)
    y = jnp.asarray(y)
    np.testing.assert_allclose(loss.gradient(z, y), jax.grad(loss.value)(z, y), atol=1e-13)
    hessian = jax.hessian(loss.value)(z, y)
    np.testing.assert_allclose(jnp.diag(loss.curvature(z, y)), hessian, atol=1e-13)


@given(y=vectors, weights=some_weights)
def test_gram_is_weighted_by_the_curvature(y, weights):
    rows, columns = np.arange(2.0 * N).reshape(2, N), np.cos(np.arange(3.0 * N)).reshape(3, N)
    gram = sj.losses.Squared(sample_weight=weights).gram(rows, columns, jnp.asarray(y))
    expected = rows * reference.row_weights(y, weights) @ columns.T
    np.testing.assert_allclose(gram, expected, rtol=1e-12, atol=1e-12)


@given(z=vectors, u=vectors, y=vectors, weights=some_weights)
def test_fenchel_gap(z, u, y, weights):
    """f(z) + f*(u) − ⟨z, u⟩, where f*(u) = Σ u²/(2h) + u·y."""
    h = reference.row_weights(y, weights)
    u = np.where(h > 0, u, 0.0)
    safe = np.where(h > 0, h, 1.0)
    conjugate = np.sum(np.where(h > 0, u**2 / (2 * safe), 0.0) + u * y)
    loss = sj.losses.Squared(sample_weight=weights)
    gap = loss.fenchel_gap(z, u, jnp.asarray(y))
    expected = np.sum(h * (y - z) ** 2) / 2 + conjugate - z @ u
    np.testing.assert_allclose(gap, expected, rtol=1e-9, atol=1e-10)
    assert loss.fenchel_gap(z, loss.gradient(z, jnp.asarray(y)), jnp.asarray(y)) <= 1e-12


def test_outside_the_domain_of_the_conjugate():
    """A sample of weight zero cannot carry a dual variable."""
    loss = sj.losses.Squared(sample_weight=np.array([0.0, 1.0]))
    zero = jnp.zeros(2)
    assert np.isinf(loss.fenchel_gap(zero, jnp.array([0.1, 0.0]), zero))


@given(z=vectors, y=vectors, factor=st.floats(1e-3, 1e3))
def test_sample_weights_are_relative(z, y, factor):
    weights = np.arange(1.0, N + 1)
    values = [sj.losses.Squared(w).value(z, y) for w in (weights, factor * weights)]
    np.testing.assert_allclose(*values, rtol=1e-12)


def test_problem_defaults_to_squared():
    problem = sj.Problem(np.eye(2), np.ones(2), penalty=sj.penalties.L1(0.1))
    assert isinstance(problem.loss, sj.losses.Squared)
    assert problem.loss.sample_weight is None
