"""Models of Cox's likelihood for proximal Newton: contrasts in which its Hessian is diagonal."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax import losses, penalties, solvers
from sparsejax.designs import as_design
from sparsejax.designs._contrasted import Contrasted

pytestmark = pytest.mark.usefixtures("float64")

N, P = 40, 12


def _survival(seed, n=N, p=P, levels=None):
    """Features and times that depend on the first four, rounded to a few levels for ties."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    times = rng.exponential(np.exp(-X[:, :4].sum(1) / 2))
    if levels is not None:
        times = np.ceil(levels * times)
    return X, np.column_stack([times, rng.random(n) < 0.7])


def _factors(seed):
    """Sample weights, a few of them zero."""
    weights = np.random.default_rng(seed).uniform(0.5, 2.0, N)
    weights[[3, 17]] = 0.0
    return weights


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("levels", [None, 3], ids=["apart", "tied"])
@pytest.mark.parametrize("weighted", [False, True], ids=["equal", "weighted"])
@pytest.mark.parametrize("spread", [1.0, 8.0])
def test_contrasts_factorise_the_hessian(ties, levels, weighted, spread):
    _, y = _survival(0, levels=levels)
    loss = losses.Cox(ties, _factors(1) if weighted else None)
    z, y = spread * jnp.asarray(np.random.default_rng(2).normal(size=N)), jnp.asarray(y)
    hessian = jax.hessian(lambda z: loss.value(z, y))(z)
    contrasts, curvature = loss.contrasts(z, y)
    K = jax.jacfwd(contrasts.matvec)(z)
    np.testing.assert_allclose(
        K.T @ (curvature[:, None] * K), hessian, atol=1e-14 * float(jnp.abs(hessian).max()) * N
    )
    gradient = loss.gradient(z, y)
    seen = contrasts.solve_transposed(gradient)
    np.testing.assert_allclose(K.T @ seen, gradient, atol=1e-15)
    np.testing.assert_allclose(contrasts.rmatvec(seen), gradient, atol=1e-15)


@pytest.mark.parametrize("event", [0, 1], ids=["censored", "event"])
def test_samples_of_no_weight_are_not_there(event):
    """Nor after all others, where they alone are left at risk."""
    X, y = _survival(1)
    none = np.random.default_rng(3).normal(size=(4, P))
    late = np.column_stack([y[:, 0].max() * np.array([1, 1, 1.5, 2]), np.full(4, event)])
    weights = np.r_[np.ones(N), np.zeros(4)]
    longer = sj.Problem(
        np.r_[X, none], np.r_[y, late], losses.Cox(sample_weight=weights), penalties.L1(0.02)
    )
    found = sj.solve(longer, tol=1e-12)
    expected = sj.solve(sj.Problem(X, y, losses.Cox(), penalties.L1(0.02)), tol=1e-12)
    assert np.count_nonzero(expected.coef) > 3
    np.testing.assert_allclose(found.coef, expected.coef, atol=1e-6)
    assert found.stats["num_steps"] == expected.stats["num_steps"]


def test_contrasts_survive_rates_that_vanish():
    """Where exp(z) underflows beside others, what is left is finite."""
    _, y = _survival(0)
    z, y = 500 * jnp.asarray(np.random.default_rng(2).normal(size=N)), jnp.asarray(y)
    loss = losses.Cox()
    contrasts, curvature = loss.contrasts(z, y)
    assert np.isfinite(contrasts.matvec(z)).all()
    assert np.isfinite(contrasts.solve_transposed(loss.gradient(z, y))).all()
    assert (np.asarray(curvature) >= 0).all()
    assert np.isfinite(curvature).all()


def test_contrasted_design_is_a_product_of_matrices():
    X, y = _survival(0, levels=3)
    contrasts, _ = losses.Cox().contrasts(jnp.asarray(X[:, 0]), jnp.asarray(y))
    design = Contrasted(as_design(X), contrasts)
    dense = jax.jacfwd(contrasts.matvec)(jnp.zeros(N)) @ X
    w, r = np.cos(np.arange(P)), np.sin(np.arange(N))
    np.testing.assert_allclose(design.matvec(w), dense @ w, atol=1e-13)
    np.testing.assert_allclose(design.rmatvec(r), dense.T @ r, atol=1e-13)
    np.testing.assert_allclose(design.all_columns(), dense.T, atol=1e-13)
    index = jnp.array([5, P, 2])
    expected = np.stack([dense[:, 5], np.zeros(N), dense[:, 2]])
    np.testing.assert_allclose(design.columns(index), expected, atol=1e-13)
    np.testing.assert_allclose(design.combine(index[:1], w[:1]), w[0] * dense[:, 5], atol=1e-13)
    np.testing.assert_allclose(design.square_norms(r**2), r**2 @ dense**2, rtol=1e-12)


@pytest.mark.parametrize("levels", [None, 5], ids=["apart", "tied"])
def test_few_models_where_gradients_take_thousands_of_steps(levels):
    X, y = _survival(0, 50, 60, levels)
    problem = sj.Problem(X, y, loss=losses.Cox(), penalty=penalties.L1(1.0))
    strength = float(sj.strength_max(problem)) / 20
    problem = sj.Problem(X, y, loss=losses.Cox(), penalty=penalties.L1(strength))
    found = sj.solve(problem, tol=1e-9)
    assert found.stats["solver"] == "ProxNewton"
    assert found.stats["num_steps"] <= 15
    slow = sj.solve(problem, solvers.FISTA(), tol=1e-6)
    assert slow.stats["num_steps"] > 1000
    np.testing.assert_allclose(found.objective, slow.objective, rtol=1e-9)
    np.testing.assert_allclose(found.coef, slow.coef, atol=1e-4)


def test_concave_penalties_end_in_a_stationary_point():
    X, y = _survival(0, 50, 20)
    problem = sj.Problem(X, y, loss=losses.Cox(), penalty=penalties.MCP(0.05))
    found = sj.solve(problem, tol=1e-9)
    assert found.stats["solver"] == "ProxNewton"
    assert found.stats["num_steps"] < 100
    at = X @ np.asarray(found.coef)
    pull = -X.T @ np.asarray(jax.grad(losses.Cox().value)(jnp.asarray(at), jnp.asarray(y)))
    assert np.all(problem.penalty.subdiff_distance(found.coef, -pull) <= 1e-9)
    assert 0 < np.count_nonzero(found.coef) < 20


def test_rates_that_single_precision_cannot_hold_side_by_side():
    """Predictions that differ by 200: means over what is left are those in double precision."""
    _, y = _survival(0, levels=8)
    z, v = 40 * np.random.default_rng(2).normal(size=N), np.cos(np.arange(N))
    expected = losses.Cox().contrasts(jnp.asarray(z), jnp.asarray(y))[0].matvec(jnp.asarray(v))
    with jax.enable_x64(False):
        loss, low = losses.Cox(), np.float32
        found = loss.contrasts(jnp.asarray(z, low), jnp.asarray(y, low))[0].matvec(
            jnp.asarray(v, low)
        )
    np.testing.assert_allclose(found, expected, atol=1e-4)
