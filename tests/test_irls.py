"""Iteratively reweighted least squares against other solvers, NumPy and finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

import sparsejax as sj
from sparsejax import losses, penalties, solvers

pytestmark = pytest.mark.usefixtures("float64")

N, P, K = 20, 50, 4
GROUPS = np.arange(P) // 5


def _spikes(seed=0):
    """X and a vector of K spikes that few measurements determine."""
    rng = np.random.default_rng(seed)
    X, w = rng.normal(size=(N, P)), np.zeros(P)
    w[rng.choice(P, K, replace=False)] = rng.choice([-1, 1], K) * rng.uniform(1, 3, K)
    return X, w, X @ w + 0.1 * rng.normal(size=N)


def _numpy_irls(X, y, q, steps=60):
    """Chartrand & Yin's weights with ε falling at a fixed rate."""
    w = np.linalg.lstsq(X, y)[0]
    for epsilon in np.geomspace(1, 1e-8, steps):
        W = (w**2 + epsilon**2) ** (1 - q / 2)
        w = W * (X.T @ np.linalg.solve(X * W @ X.T, y))
    return w


@pytest.mark.parametrize("q", [1 / 2, pytest.param(2 / 3, marks=pytest.mark.slow)])
def test_interpolation_recovers_spikes_as_numpy_does(q):
    for seed in range(3):
        X, w, _ = _spikes(seed)
        problem = sj.Problem(X, X @ w, losses.Equality(), penalties.Lq(0.3, q))
        solution = sj.solve(problem, solvers.IRLS())
        np.testing.assert_allclose(solution.coef, w, atol=1e-12)
        np.testing.assert_array_equal(solution.coef != 0, w != 0)
        np.testing.assert_allclose(solution.coef, _numpy_irls(X, X @ w, q), atol=1e-6)
        assert solution.kkt <= 1e-12
        np.testing.assert_allclose(solution.objective, 0.3 * np.sum(np.abs(w) ** q), rtol=1e-12)


def test_interpolation_of_noise_is_a_stationary_vertex():
    """As many coefficients as samples, in balance with some force of the constraints."""
    X, _, y = _spikes(1)
    penalty = penalties.LogSum(0.5, 0.01)
    solution = sj.solve(sj.Problem(X, y, losses.Equality(), penalty))
    assert solution.stats["solver"] == "IRLS"  # the default for this pair
    coef = np.asarray(solution.coef)
    np.testing.assert_allclose(X @ coef, y, atol=1e-10)
    support = np.flatnonzero(coef)
    assert len(support) == N
    slope = 0.5 / (1 + np.abs(coef[support]) / 0.01) * np.sign(coef[support])
    force = X.T @ np.linalg.solve(X[:, support].T, slope)
    violation = np.max(np.maximum(np.abs(np.delete(force, support)) - 0.5, 0))
    np.testing.assert_allclose(solution.kkt, violation / 0.5, atol=1e-9)


CONVEX = {
    "l1": penalties.L1,
    "l1-weights": lambda s: penalties.L1(s, weights=np.r_[0.0, np.inf, np.linspace(1, 2, P - 2)]),
    "elastic-net": lambda s: penalties.ElasticNet(s, 0.5),
    "group-l2": lambda s: penalties.GroupL2(s, GROUPS),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CONVEX)
def test_convex_penalties_end_with_a_gap(name):
    """With hard constraints it is slow, and says so where its steps are used up."""
    X, _, y = _spikes()
    problem = sj.Problem(X, y, penalty=CONVEX[name](0.1))
    solution = sj.solve(problem, solvers.IRLS(), tol=1e-10)
    assert solution.gap <= 1e-10
    np.testing.assert_allclose(solution.objective, sj.solve(problem).objective, rtol=1e-7)
    problem = sj.Problem(X, y, losses.Equality(), problem.penalty)
    solution = sj.solve(problem, solvers.IRLS(), throw=False)
    assert (solution.result == sj.RESULTS.successful) == (solution.gap <= 1e-8)
    best = sj.solve(problem, tol=1e-7).objective
    np.testing.assert_allclose(solution.objective, best, rtol=1e-5)


def test_basis_pursuit_has_a_gap():
    X, w, _ = _spikes()
    problem = sj.Problem(X, X @ w, losses.Equality(), penalties.L1(1.0))
    solution = sj.solve(problem, solvers.IRLS(), tol=1e-9)
    assert solution.gap <= 1e-9
    np.testing.assert_allclose(solution.coef, w, atol=1e-9)


CONCAVE = {
    "lq": lambda s: penalties.Lq(s, 0.5),
    "log-sum": lambda s: penalties.LogSum(s, 0.1),
    "mcp": penalties.MCP,
    "scad": penalties.SCAD,
    "capped-l1": lambda s: penalties.CappedL1(s, 2 * s),
}


@pytest.mark.parametrize(
    "name", ["lq", *[pytest.param(n, marks=pytest.mark.slow) for n in CONCAVE if n != "lq"]]
)
def test_least_squares_ends_stationary_and_no_higher_than_descent(name):
    for seed in range(2):
        X, _, y = _spikes(seed)
        problem = sj.Problem(X, y, penalty=CONCAVE[name](0.2))
        solution = sj.solve(problem, solvers.IRLS(), tol=1e-10)
        assert solution.kkt <= 1e-10
        coef = np.asarray(solution.coef)
        moving = coef != 0
        pull = X.T @ (y - X @ coef) / N
        slope = np.asarray(jax.grad(problem.penalty.value)(solution.coef))
        np.testing.assert_allclose(pull[moving], slope[moving], atol=1e-9)
        value = np.mean((y - X @ coef) ** 2) / 2 + reference.value(problem.penalty, coef)
        np.testing.assert_allclose(solution.objective, value, rtol=1e-12)
        assert value <= sj.solve(problem, tol=1e-10).objective + 1e-9
        assert K <= np.count_nonzero(coef) < N


def test_primal_system_agrees_with_the_dual_one():
    """More samples than features: p×p systems, on a design whose copy below n×n ones solve."""
    X, w, _ = _spikes()
    tall = X[:, :15]
    y = tall @ w[:15] + 0.1 * np.random.default_rng(1).normal(size=N)
    wide = np.c_[tall, np.zeros((N, P - 15))]
    penalty = penalties.Lq(0.1, 0.5)
    primal, dual = (
        sj.solve(sj.Problem(A, y, penalty=penalty), solvers.IRLS(), tol=1e-10).coef
        for A in (tall, wide)
    )
    np.testing.assert_allclose(primal, dual[:15], atol=1e-9)
    assert np.any(primal)


def test_derivative_of_interpolation_is_that_of_the_solution_map():
    """A step of a proximal method would not do: stationary points need not be its fixed points."""
    X, _, y = _spikes(2)
    rng = np.random.default_rng(3)
    X_dot, y_dot, weights = rng.normal(size=X.shape), rng.normal(size=N), rng.normal(size=P)
    penalty = penalties.LogSum(0.1, 0.01)

    @jax.jit
    def moved(t):
        problem = sj.Problem(X + t * X_dot, y + t * y_dot, losses.Equality(), penalty)
        return weights @ sj.solve(problem, solvers.IRLS(), tol=1e-9).coef

    slope = (moved(1e-6) - moved(-1e-6)) / 2e-6
    np.testing.assert_allclose(jax.jvp(moved, (0.0,), (1.0,))[1], slope, rtol=1e-4)
    np.testing.assert_allclose(jax.grad(moved)(0.0), slope, rtol=1e-4)


def test_many_problems_at_once_are_the_single_ones():
    data = [_spikes(seed) for seed in range(3)]
    X, y = (jnp.array(arrays) for arrays in zip(*[(X, X @ w) for X, w, _ in data], strict=True))
    penalty = penalties.Lq(0.3, 0.5)

    def fit(X, y):
        return sj.solve(sj.Problem(X, y, losses.Equality(), penalty), solvers.IRLS()).coef

    coefs = jax.vmap(fit)(X, y)
    for k, (_, w, _) in enumerate(data):
        np.testing.assert_allclose(coefs[k], w, atol=1e-12)


def test_starts():
    """A stationary start is kept only where it is lower; zero coefficients never are for good."""
    X, _, y = _spikes()
    problem = sj.Problem(X, y, penalty=penalties.Lq(0.1, 0.5))
    solution = sj.solve(problem, solvers.IRLS(), tol=1e-10)
    assert np.any(solution.coef)
    again = sj.solve(problem, solvers.IRLS(), tol=1e-10, init=solution.coef)
    assert again.objective <= solution.objective
    strong = sj.Problem(X, y, penalty=penalties.Lq(1e3, 0.5))
    assert not np.any(sj.solve(strong, solvers.IRLS()).coef)


def test_not_enough_steps_are_no_success():
    X, w, _ = _spikes()
    problem = sj.Problem(X, X @ w, losses.Equality(), penalties.LogSum(1.0, 0.01))
    early = sj.solve(problem, solvers.IRLS(), max_steps=0, throw=False)
    assert early.result != sj.RESULTS.successful
    apart = sj.Problem(np.ones((2, 3)), np.array([1.0, 2.0]), losses.Equality(), problem.penalty)
    assert sj.solve(apart, solvers.IRLS(), throw=False).result == sj.RESULTS.infeasible


def test_a_foreign_dual_certifies_no_stationary_point():
    """With a loss without gradient, zero once passed for stationary because zero has no pull."""
    X, w, _ = _spikes()
    problem = sj.Problem(X, X @ w, losses.Equality(), penalties.LogSum(0.1, 0.1))
    start = sj.solve(problem, solvers.MultiStage(), tol=1e-6, max_steps=0, throw=False)
    assert start.result != sj.RESULTS.successful
    assert np.isinf(start.kkt)


@pytest.mark.slow
def test_single_precision():
    X, w, _ = (np.float32(array) for array in _spikes())
    problem = sj.Problem(X, X @ w, losses.Equality(), penalties.Lq(np.float32(0.3), 0.5))
    solution = sj.solve(problem, solvers.IRLS(), tol=1e-5)
    assert solution.coef.dtype == np.float32
    np.testing.assert_allclose(solution.coef, w, atol=1e-5)
    np.testing.assert_array_equal(solution.coef != 0, w != 0)


@pytest.mark.parametrize(
    ("loss", "penalty", "message"),
    [
        (losses.Huber(), penalties.Lq(0.1, 0.5), "IRLS does not support Huber"),
        (losses.Squared(), penalties.L0(0.1), "no slope"),
        (losses.Squared(), penalties.SLOPE(np.ones(2)), r"SLOPE: use FISTA\(\)"),
        (losses.Squared(), penalties.L1(0.1, nonnegative=True), "nonnegative"),
    ],
)
def test_unsupported_pairs(loss, penalty, message):
    with pytest.raises(TypeError, match=message):
        sj.solve(sj.Problem(np.eye(2), np.ones(2), loss, penalty), solvers.IRLS())
