"""Derivatives of solutions: closed forms, central differences, and every order and transform.

Central differences of a solve at machine precision err by about h² + ε/h; with h = 1e-5 that is
below 1e-8, so a relative 1e-5 judges the derivative and not the difference.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from jax.experimental import sparse as jsparse
from registry import SOLVERS, every_solver

import sparsejax as sj
from sparsejax import losses, penalties

pytestmark = pytest.mark.usefixtures("float64")

N, P = 30, 50
H = 1e-5


def _solve(problem, **more):
    return sj.solve(problem, tol=1e-15, throw=False, **more)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, P))
    w = np.zeros(P)
    w[:6] = rng.normal(size=6)
    y = X @ w + 0.3 * rng.normal(size=N) + 1
    return X, y, rng.normal(size=P)


@pytest.fixture(scope="module")
def arguments(data):
    """strength, feature weights, sample weights, X and y of one Lasso with intercept."""
    X, y, _ = data
    rng = np.random.default_rng(1)
    return tuple(map(jnp.asarray, (0.08, 1 + rng.random(P), 0.5 + rng.random(N), X, y)))


NAMES = ["strength", "weights", "sample_weight", "X", "y"]
every_argument = pytest.mark.parametrize("k", range(5), ids=NAMES)


def _functional(direction, strength, weights, sample_weight, X, y):
    """A scalar of the solution that sees every coefficient and the intercept."""
    problem = sj.Problem(
        X, y, losses.Squared(sample_weight), penalties.L1(strength, weights), fit_intercept=True
    )
    solution = _solve(problem)
    return solution.coef @ direction + 0.5 * solution.intercept


@pytest.fixture(scope="module")
def functional(data):
    return partial(_functional, jnp.asarray(data[2]))


def _directional(f, arguments, k, tangent):
    """Central difference of f along a direction of its k-th argument."""

    def at(t):
        return f(*arguments[:k], arguments[k] + t * tangent, *arguments[k + 1 :])

    return (at(H) - at(-H)) / (2 * H)


@pytest.fixture(scope="module")
def gradients(functional, arguments):
    return jax.grad(functional, tuple(range(5)))(*arguments)


@pytest.fixture(scope="module")
def tangent_of(functional, arguments):
    """Forward mode, one program for all directions."""
    return jax.jit(lambda *tangents: jax.jvp(functional, arguments, tangents)[1])


@every_argument
def test_grad_and_jvp_against_central_differences(k, functional, arguments, gradients, tangent_of):
    tangent = jnp.asarray(np.random.default_rng(k).normal(size=arguments[k].shape))
    expected = _directional(functional, arguments, k, tangent)
    assert abs(expected) > 1e-3
    np.testing.assert_allclose(jnp.vdot(gradients[k], tangent), expected, rtol=1e-5)
    tangents = [jnp.zeros_like(a) for a in arguments]
    tangents[k] = tangent
    np.testing.assert_allclose(tangent_of(*tangents), jnp.vdot(gradients[k], tangent), rtol=1e-10)


@pytest.mark.parametrize("k", [pytest.param(0, marks=pytest.mark.slow), 3], ids=["strength", "X"])
def test_one_argument_alone(k, functional, arguments, gradients):
    np.testing.assert_allclose(jax.grad(functional, k)(*arguments), gradients[k], atol=1e-12)


@pytest.mark.parametrize("k", [1, 2], ids=["weights", "sample_weight"])
@pytest.mark.slow
def test_jacfwd_equals_jacrev(k, arguments):
    def coef(x):
        moved = (*arguments[:k], x, *arguments[k + 1 :])
        problem = sj.Problem(
            moved[3], moved[4], losses.Squared(moved[2]), penalties.L1(*moved[:2]), True
        )
        return _solve(problem).coef

    forward, backward = jax.jacfwd(coef)(arguments[k]), jax.jacrev(coef)(arguments[k])
    assert forward.shape == (P, arguments[k].size)
    np.testing.assert_allclose(forward, backward, atol=1e-11)
    off = np.asarray(coef(arguments[k]) == 0)
    assert off.any()
    np.testing.assert_array_equal(forward[off], 0.0)


@pytest.mark.parametrize("k", [0, 2], ids=["strength", "sample_weight"])
@pytest.mark.slow
def test_hessian(k, functional, arguments):
    hessian = jax.hessian(functional, k)(*arguments)
    gradient = jax.jit(jax.grad(functional, k))
    tangent = jnp.asarray(np.random.default_rng(k).normal(size=arguments[k].shape))
    expected = _directional(gradient, arguments, k, tangent)
    scale = np.max(np.abs(hessian)) + 1e-8
    product = hessian * tangent if k == 0 else hessian @ tangent
    np.testing.assert_allclose(product / scale, expected / scale, atol=1e-5)
    np.testing.assert_allclose(hessian, jnp.transpose(hessian), atol=1e-9 * scale)


@pytest.mark.slow
def test_second_derivative_of_the_lasso_in_its_strength_vanishes(data):
    """The path is piecewise linear."""
    X, y, v = data

    def f(s):
        return _solve(sj.Problem(X, y, penalty=penalties.L1(s))).coef @ v

    slope, bend = jax.grad(f)(0.1), jax.hessian(f)(0.1)
    assert abs(slope) > 1e-2
    assert abs(bend) < 1e-9


def _closed_form(X, y, coef, strength, direction):
    """d(direction·w)/d strength = −direction_S · (X_SᵀX_S/n)⁻¹ sign(w_S)."""
    support = coef != 0
    block = X[:, support]
    solution = np.linalg.solve(block.T @ block / len(y), direction[support])
    return -solution @ np.sign(coef[support]), support


@pytest.mark.parametrize("strength", [0.5, 0.1, 0.02])
def test_strength_against_the_closed_form(data, strength):
    X, y, v = data

    def f(s):
        solution = _solve(sj.Problem(X, y, penalty=penalties.L1(s)))
        return solution.coef @ v, solution.coef

    gradient, coef = jax.grad(f, has_aux=True)(strength)
    expected, support = _closed_form(X, y, np.asarray(coef), strength, v)
    assert support.sum() > 1
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)


@pytest.mark.slow
def test_correlated_hypergradient():
    """The design on which jaxopt's conjugate gradients are silently wrong: n=500, p=3000, ρ=.95."""
    rng = np.random.default_rng(0)
    n, p, rho = 500, 3000, 0.95
    X = np.empty((2 * n, p))
    X[:, 0] = rng.normal(size=2 * n)
    for j in range(1, p):
        X[:, j] = rho * X[:, j - 1] + np.sqrt(1 - rho**2) * rng.normal(size=2 * n)
    w = np.zeros(p)
    w[:: p // 30] = rng.normal(size=w[:: p // 30].size)
    y = X @ w + rng.normal(size=2 * n)
    (X, held_out), (y, target) = np.split(X, 2), np.split(y, 2)
    strength = 0.02 * np.max(np.abs(X.T @ y)) / n

    @jax.jit
    def error(s):
        solution = _solve(sj.Problem(X, y, penalty=penalties.L1(s)))
        return jnp.mean((held_out @ solution.coef - target) ** 2), solution.coef

    value_and_grad = jax.jit(jax.value_and_grad(error, has_aux=True))
    (_, coef), gradient = value_and_grad(strength)
    coef = np.asarray(coef)
    pull = 2 * held_out.T @ (held_out @ coef - target) / n
    expected, support = _closed_form(X, y, coef, strength, pull)
    assert support.sum() > 50
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)
    h = 1e-6 * strength
    up, down = error(strength + h), error(strength - h)
    np.testing.assert_array_equal(up[1] != 0, down[1] != 0)
    np.testing.assert_allclose(gradient, (up[0] - down[0]) / (2 * h), rtol=1e-5)


def test_ridge_against_its_closed_form(data):
    X, y, v = data

    def f(s):
        return _solve(sj.Problem(X, y, penalty=penalties.ElasticNet(s, 0.0))).coef @ v

    system = X.T @ X / N + 0.3 * np.eye(P)
    expected = -v @ np.linalg.solve(system, np.linalg.solve(system, X.T @ y / N))
    np.testing.assert_allclose(jax.grad(f)(0.3), expected, rtol=1e-6)


@pytest.mark.slow
def test_elastic_net(data):
    X, y, v = data

    def f(strength, ratio):
        problem = sj.Problem(X, y, penalty=penalties.ElasticNet(strength, ratio))
        return _solve(problem).coef @ v

    point = (jnp.array(0.1), jnp.array(0.7))
    gradients = jax.grad(f, (0, 1))(*point)
    for k in range(2):
        np.testing.assert_allclose(gradients[k], _directional(f, point, k, 1.0), rtol=1e-5)
    bend = jax.grad(jax.grad(f))(*point)
    np.testing.assert_allclose(bend, _directional(jax.grad(f), point, 0, 1.0), rtol=1e-4)


@pytest.mark.parametrize("solver", ["working-set", "fista"])
def test_box_bounds(solver, data):
    """A coefficient at its bound moves with the bound, and so do the others around it."""
    X, y, v = data
    X, v = X[:, :20], v[:20]

    @jax.jit
    def f(low, high):
        problem = sj.Problem(X, y, penalty=penalties.Box(low, high))
        return _solve(problem, solver=SOLVERS[solver]()).coef @ v

    point = (-0.2 * jnp.ones(20), jnp.array(0.3))
    gradients = jax.grad(f, (0, 1))(*point)
    tangent = jnp.asarray(np.random.default_rng(0).normal(size=20))
    expected = _directional(f, point, 0, tangent), _directional(f, point, 1, 1.0)
    assert min(map(abs, expected)) > 1e-3
    np.testing.assert_allclose(jnp.vdot(gradients[0], tangent), expected[0], rtol=1e-5)
    np.testing.assert_allclose(gradients[1], expected[1], rtol=1e-5)


@pytest.mark.slow
def test_nonnegative_lasso(data):
    X, y, v = data

    def f(s):
        return _solve(sj.Problem(X, y, penalty=penalties.L1(s, nonnegative=True))).coef @ v

    np.testing.assert_allclose(jax.grad(f)(0.1), _directional(f, (0.1,), 0, 1.0), rtol=1e-5)


def test_zero_and_infinite_weights(data):
    X, y, v = data
    weights = np.ones(P)
    weights[:4] = [0.0, 0.0, np.inf, np.inf]

    def f(strength):
        problem = sj.Problem(X, y, penalty=penalties.L1(strength, weights=weights))
        return _solve(problem).coef @ v

    np.testing.assert_allclose(jax.grad(f)(0.1), _directional(f, (0.1,), 0, 1.0), rtol=1e-5)

    def g(finite):
        return f_weights(jnp.asarray(weights).at[4:].set(finite))

    def f_weights(w):
        return _solve(sj.Problem(X, y, penalty=penalties.L1(0.1, weights=w))).coef @ v

    gradient = jax.grad(g)(jnp.ones(P - 4))
    assert np.all(np.isfinite(gradient))
    tangent = jnp.asarray(np.random.default_rng(0).normal(size=P - 4))
    expected = _directional(g, (jnp.ones(P - 4),), 0, tangent)
    np.testing.assert_allclose(gradient @ tangent, expected, rtol=1e-5)


def test_objective_obeys_the_envelope_theorem(data):
    X, y, _ = data

    def f(strength):
        solution = _solve(sj.Problem(X, y, penalty=penalties.L1(strength)))
        return solution.objective, solution.coef

    gradient, coef = jax.grad(f, has_aux=True)(0.1)
    np.testing.assert_allclose(gradient, np.abs(coef).sum(), rtol=1e-6)


def test_vmap_of_grad_and_grad_of_vmap(functional, arguments):
    strengths = jnp.array([0.05, 0.1, 0.3])

    def f(s):
        return functional(s, *arguments[1:])

    each = [jax.grad(f)(s) for s in strengths]
    np.testing.assert_allclose(jax.vmap(jax.grad(f))(strengths), each, rtol=1e-9)

    def total(s):
        return jnp.sum(jax.vmap(f)(s))

    np.testing.assert_allclose(jax.grad(total)(strengths), each, rtol=1e-9)


@pytest.mark.slow
def test_sparse_entries_equal_dense_entries(data):
    """The gradient in the stored entries is that of the dense matrix, gathered."""
    X, y, v = data
    X = np.where(np.random.default_rng(2).random(X.shape) < 0.3, X, 0.0)

    def f(X):
        return _solve(sj.Problem(X, y, penalty=penalties.L1(0.05), fit_intercept=True)).coef @ v

    matrix = jsparse.BCOO.fromdense(jnp.asarray(X))

    def of_entries(entries):
        return f(jsparse.BCOO((entries, matrix.indices), shape=X.shape, unique_indices=True))

    gradient = jax.grad(of_entries)(matrix.data)
    dense = jax.grad(f)(jnp.asarray(X))
    rows, cols = np.asarray(matrix.indices).T
    np.testing.assert_allclose(gradient, dense[rows, cols], atol=1e-9)
    strengths = [
        jax.grad(lambda s, X=X: _solve(sj.Problem(X, y, penalty=penalties.L1(s))).coef @ v)(0.05)
        for X in (X, scipy.sparse.csc_array(X))
    ]
    np.testing.assert_allclose(*strengths, rtol=1e-9)


@every_solver
def test_derivative_does_not_depend_on_the_solver(solver, data):
    X, y, v = data

    def f(strength, solver, **more):
        problem = sj.Problem(X, y, penalty=penalties.L1(strength))
        return sj.solve(problem, solver, throw=False, **more).coef @ v

    expected = jax.grad(f)(0.1, sj.solvers.Auto(), tol=1e-15)
    for tol in (1e-9, 1e-13):  # few iterations or many: the support decides
        np.testing.assert_allclose(jax.grad(f)(0.1, solver, tol=tol), expected, rtol=1e-6)


def test_no_dependence_on_the_start(data):
    X, y, v = data
    problem = sj.Problem(X, y, penalty=penalties.L1(0.1))
    gradient = jax.grad(lambda init: _solve(problem, init=init).coef @ v)(jnp.zeros(P))
    np.testing.assert_array_equal(gradient, 0.0)


def test_certificates_are_constants(data):
    X, y, _ = data

    def certificates(s):
        solution = _solve(sj.Problem(X, y, penalty=penalties.L1(s)))
        return solution.gap + solution.kkt

    assert jax.grad(certificates)(0.1) == 0


def test_null_support_has_zero_derivative(data):
    X, y, v = data
    problem = sj.Problem(X, y, penalty=penalties.L1(1.0))
    strength = 2 * sj.strength_max(problem)

    def f(s):
        return _solve(sj.Problem(X, y, penalty=penalties.L1(s))).coef @ v

    assert jax.grad(f)(strength) == 0


@pytest.mark.slow
def test_duplicate_columns_give_finite_derivatives(data):
    X, y, _ = data
    X = np.concatenate([X, X[:, :3]], axis=1)

    def f(s):
        return jnp.sum(X @ _solve(sj.Problem(X, y, penalty=penalties.L1(s))).coef)

    # The coefficients of twins are ambiguous, their predictions are not.
    np.testing.assert_allclose(jax.grad(f)(0.1), _directional(f, (0.1,), 0, 1.0), rtol=1e-5)


def test_columns_of_any_scale(data):
    X, y, v = data
    scales = np.logspace(-6, 6, P)

    def f(s, X, weights):
        return _solve(sj.Problem(X, y, penalty=penalties.L1(s, weights=weights)))

    plain = jax.grad(lambda s: f(s, X, np.ones(P)).coef @ v)(0.1)
    scaled = jax.grad(lambda s: f(s, X * scales, scales).coef @ (v * scales))(0.1)
    np.testing.assert_allclose(scaled, plain, rtol=1e-6)


def test_float32_derivative(data):
    X, y, v = (a.astype(np.float32) for a in data)
    with jax.enable_x64(False):

        def f(s):
            return (
                sj.solve(sj.Problem(X, y, penalty=penalties.L1(s)), tol=1e-6, throw=False).coef @ v
            )

        gradient = jax.grad(f)(jnp.float32(0.1))
        coef = sj.solve(sj.Problem(X, y, penalty=penalties.L1(0.1)), tol=1e-6, throw=False).coef
    assert gradient.dtype == jnp.float32
    expected, _ = _closed_form(*(a.astype(float) for a in (X, y)), np.asarray(coef), 0.1, v)
    np.testing.assert_allclose(gradient, expected, rtol=1e-3)


def test_throw_inside_jit(data):
    X, y, v = data

    @partial(jax.jit, static_argnums=1)
    def f(strength, throw):
        problem = sj.Problem(X, y, penalty=penalties.L1(strength))
        return sj.solve(problem, max_steps=0, throw=throw).coef @ v

    assert f(0.1, False) == 0
    with pytest.raises(Exception, match="max_steps"):
        f(0.1, True).block_until_ready()


def test_backward_costs_no_solve(data):
    """The reverse pass runs no solver: it holds no loop beside the linear solve's own."""
    X, y, v = data

    def f(s):
        return _solve(sj.Problem(X, y, penalty=penalties.L1(s))).coef @ v

    _, pullback = jax.vjp(f, jnp.array(0.1))
    program = jax.make_jaxpr(pullback)(jnp.array(1.0)).pretty_print(use_color=False)
    assert "while[" not in program.replace(" ", "")
