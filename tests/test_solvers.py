"""Every solver against an interior-point method, an independent certificate and the others."""

import jax.numpy as jnp
import numpy as np
import pytest
import reference
import scipy.optimize
import scipy.sparse
from hypothesis import given, strategies as st
from registry import (
    PENALTIES,
    SOLVER_PENALTIES,
    SOLVERS,
    every_solver,
    refusal,
    skip_unless_supported,
    the_main_solver,
)
from sklearn import linear_model

import sparsejax as sj
from sparsejax import losses, penalties, solvers
from sparsejax.solvers._coordinate_descent import extrapolation_weights

pytestmark = pytest.mark.usefixtures("float64")

N, P = 20, 40  # few shapes, so that compilations are shared
TOL = 1e-10


def _data(seed, n=N, p=P, correlation=0.0, noise=0.5):
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(n, 1))
    X = np.sqrt(1 - correlation) * rng.normal(size=(n, p)) + np.sqrt(correlation) * common
    w = np.zeros(p)
    w[: min(p, 6)] = rng.normal(size=min(p, 6))
    return X, X @ w + noise * rng.normal(size=n)


def _largest(X, y):
    return np.max(np.abs(X.T @ y)) / len(y)


def _check(problem, solution, X, y, tol=TOL):
    """Success, and a certificate that NumPy makes anew agrees with."""
    assert solution.result == sj.RESULTS.successful
    assert solution.gap <= tol
    gap = reference.gap(
        X,
        y,
        problem.penalty,
        np.asarray(solution.coef),
        problem.loss.sample_weight,
        problem.fit_intercept,
    )
    assert -1e-12 <= gap <= 1.01 * tol + 1e-14
    value = reference.objective(
        X,
        y,
        problem.penalty,
        np.asarray(solution.coef),
        float(solution.intercept),
        problem.loss.sample_weight,
    )
    np.testing.assert_allclose(solution.objective, value, rtol=1e-10)
    return value


@every_solver
@pytest.mark.parametrize("name", SOLVER_PENALTIES)
def test_reaches_the_optimum(solver, name):
    """Objective within 1e-7 of Clarabel's, gap below tol by an independent computation."""
    pytest.importorskip("cvxpy")
    for seed, correlation, ratio in [(0, 0.0, 0.5), (1, 0.5, 0.1), (2, 0.9, 0.02)]:
        X, y = _data(seed, correlation=correlation)
        penalty = PENALTIES[name](ratio * _largest(X, y), P)
        problem = sj.Problem(X, y, penalty=penalty)
        skip_unless_supported(solver, problem)
        value = _check(problem, sj.solve(problem, solver, tol=TOL), X, y)
        best = reference.optimum(X, y, penalty)
        np.testing.assert_allclose(value, best, atol=1e-7 * np.mean(y**2) / 2)


@every_solver
@pytest.mark.parametrize("name", ["l1", "elastic-net", "box"])
@pytest.mark.slow
def test_more_samples_than_features(solver, name):
    X, y = _data(3, n=40, p=10)
    for ratio in (0.3, 0.01):
        problem = sj.Problem(X, y, penalty=PENALTIES[name](ratio * _largest(X, y), 10))
        skip_unless_supported(solver, problem)
        _check(problem, sj.solve(problem, solver, tol=TOL), X, y)


@every_solver
@given(seed=st.integers(0, 2**31), correlation=st.floats(0, 0.95), ratio=st.floats(0.01, 1.2))
def test_solvers_agree_on_the_lasso(solver, seed, correlation, ratio):
    X, y = _data(seed, correlation=correlation)
    penalty = penalties.L1(ratio * _largest(X, y))
    problem = sj.Problem(X, y, penalty=penalty)
    value = _check(problem, sj.solve(problem, solver, tol=TOL), X, y)
    peer = sj.solve(problem, tol=TOL)
    np.testing.assert_allclose(value, peer.objective, rtol=1e-8)


@given(
    seed=st.integers(0, 2**31),
    ratio=st.floats(0.01, 1.2),
    size=st.sampled_from([1e-8, 1e-3, 1.0, 1e3, 1e8]),
    offset=st.sampled_from([0.0, 1.0, 100.0]),
)
def test_intercept_and_any_scale_of_targets(seed, ratio, size, offset):
    X, y = _data(seed)
    X, y = X + 0.1 * offset, size * (y + offset)
    centred = y - y.mean()
    penalty = penalties.L1(ratio * _largest(X - X.mean(0), centred))
    problem = sj.Problem(X, y, penalty=penalty, fit_intercept=True)
    solution = sj.solve(problem, tol=1e-9)
    _check(problem, solution, X, y, tol=1e-9)
    residual = y - X @ np.asarray(solution.coef) - float(solution.intercept)
    assert abs(residual.mean()) <= 1e-11 * np.max(np.abs(y)) * (1 + offset)


@every_solver
@pytest.mark.parametrize("name", ["l1", pytest.param("box", marks=pytest.mark.slow)])
def test_intercept(solver, name):
    pytest.importorskip("cvxpy")
    X, y = _data(4)
    X, y = X + 1, y + 3
    penalty = PENALTIES[name](0.2, P)
    problem = sj.Problem(X, y, penalty=penalty, fit_intercept=True)
    skip_unless_supported(solver, problem)
    solution = sj.solve(problem, solver, tol=TOL)
    value = _check(problem, solution, X, y)
    best = reference.optimum(X, y, penalty, fit_intercept=True)
    np.testing.assert_allclose(value, best, atol=1e-7 * np.mean(y**2) / 2)


@every_solver
def test_never_successful_without_a_certificate(solver):
    """Whatever the number of steps; exactly as the certificate says."""
    X, y = _data(5, correlation=0.8)
    problem = sj.Problem(X, y, penalty=penalties.L1(0.01 * _largest(X, y)))
    for max_steps in (0, 1, 3):
        solution = sj.solve(problem, solver, tol=TOL, max_steps=max_steps, throw=False)
        certified = reference.gap(X, y, problem.penalty, np.asarray(solution.coef)) <= 1.01 * TOL
        assert (solution.result == sj.RESULTS.successful) == certified
        # A certificate may be asked for every few steps only.
        assert solution.stats["num_steps"] <= max_steps + 10
        if not certified:
            with pytest.raises(RuntimeError, match="max_steps"):
                sj.solve(problem, solver, tol=TOL, max_steps=max_steps)
    untouched = sj.solve(problem, solver, tol=TOL, max_steps=0, throw=False)
    assert untouched.result == sj.RESULTS.max_steps_reached
    np.testing.assert_array_equal(untouched.coef, 0.0)


@the_main_solver
def test_float32(solver):
    X, y = (a.astype(np.float32) for a in _data(6))
    problem = sj.Problem(X, y, penalty=penalties.L1(0.1 * _largest(X, y)))
    solution = sj.solve(problem, solver, tol=1e-6)
    assert solution.coef.dtype == jnp.float32
    assert reference.gap(X, y, problem.penalty, np.asarray(solution.coef, float)) <= 2e-6


@pytest.mark.slow
def test_float32_where_the_support_is_as_large_as_the_sample():
    data = sj.datasets.load_golub()
    X = (data.X - data.X.mean(axis=0)) / data.X.std(axis=0)
    X, y = X.astype(np.float32), (2 * (data.y - data.y.mean())).astype(np.float32)
    penalty = penalties.L1(np.float32(1e-3 * _largest(X, y)))
    solution = sj.solve(sj.Problem(X, y, penalty=penalty), tol=1e-6)
    assert reference.gap(X, y, penalty, np.asarray(solution.coef, float)) <= 2e-6


@every_solver
def test_impossible_tolerance_is_not_claimed_in_float32(solver):
    X, y = (a.astype(np.float32) for a in _data(6, correlation=0.99, noise=0.0))
    problem = sj.Problem(X, y, penalty=penalties.L1(1e-5 * _largest(X, y)))
    solution = sj.solve(problem, solver, tol=0.0, throw=False, max_steps=2000)
    if solution.result == sj.RESULTS.successful:
        true_gap = reference.gap(X, y, problem.penalty, np.asarray(solution.coef, float))
        assert true_gap <= 1e-5  # tol counts as eight roundings at least: 1e-6


@every_solver
def test_warm_refit_takes_at_most_two_steps(solver):
    X, y = _data(7, correlation=0.5)
    problem = sj.Problem(X, y, penalty=penalties.L1(0.05 * _largest(X, y)))
    first = sj.solve(problem, solver, tol=TOL)
    again = sj.solve(problem, solver, tol=TOL, init=first.coef)
    assert again.stats["num_steps"] <= 2
    assert again.gap <= TOL


@every_solver
@pytest.mark.parametrize("name", ["l1", "l1-nonnegative", "elastic-net"])
def test_beyond_strength_max_stops_at_once_at_zero(solver, name):
    X, y = _data(8)
    problem = sj.Problem(X, y, penalty=PENALTIES[name](1.0, P))
    skip_unless_supported(solver, problem)
    largest = sj.strength_max(problem)
    penalty = problem.penalty.with_strength(1.001 * largest)
    solution = sj.solve(sj.Problem(X, y, penalty=penalty), solver, tol=TOL)
    np.testing.assert_array_equal(solution.coef, 0.0)
    assert solution.stats["num_steps"] == 0
    penalty = problem.penalty.with_strength(0.95 * largest)
    assert np.any(sj.solve(sj.Problem(X, y, penalty=penalty), solver, tol=TOL).coef != 0)


@every_solver
def test_weights_are_column_scaling(solver):
    X, y = _data(9)
    weights = np.random.default_rng(1).uniform(0.2, 5.0, P)
    strength = 0.1 * _largest(X, y)
    weighted = sj.solve(
        sj.Problem(X, y, penalty=penalties.L1(strength, weights=weights)), solver, tol=1e-13
    )
    scaled = sj.solve(sj.Problem(X / weights, y, penalty=penalties.L1(strength)), solver, tol=1e-13)
    np.testing.assert_allclose(weighted.coef, scaled.coef / weights, atol=1e-6)


@the_main_solver
def test_infinite_weights_are_exact_zeros(solver):
    X, y = _data(10)
    weights = np.where(np.arange(P) % 2 == 0, np.inf, 1.0)
    strength = 0.05 * _largest(X, y)
    problem = sj.Problem(X, y, penalty=penalties.L1(strength, weights=weights))
    skip_unless_supported(solver, problem)
    solution = sj.solve(problem, solver, tol=TOL)
    np.testing.assert_array_equal(solution.coef[::2], 0.0)
    _check(problem, solution, X, y)
    rest = sj.solve(sj.Problem(X[:, 1::2], y, penalty=penalties.L1(strength)), tol=TOL)
    np.testing.assert_allclose(solution.objective, rest.objective, rtol=1e-9)


@the_main_solver
def test_sample_weights_are_repeated_rows(solver):
    X, y = _data(11, n=12)
    weights = np.array([1, 2, 0, 3, 1, 1, 0, 2, 1, 4, 1, 4])
    penalty = penalties.L1(0.1)
    weighted = sj.Problem(X, y, losses.Squared(sample_weight=weights), penalty, fit_intercept=True)
    solution = sj.solve(weighted, solver, tol=1e-13)
    _check(weighted, solution, X, y)
    repeated = sj.Problem(
        np.repeat(X, weights, 0), np.repeat(y, weights), penalty=penalty, fit_intercept=True
    )
    other = sj.solve(repeated, tol=1e-13)
    np.testing.assert_allclose(solution.coef, other.coef, atol=1e-6)
    np.testing.assert_allclose(solution.intercept, other.intercept, atol=1e-6)
    np.testing.assert_allclose(solution.objective, other.objective, rtol=1e-10)


@the_main_solver
def test_sparse_equals_dense(solver):
    X, y = _data(12)
    X = X * (np.random.default_rng(0).random(X.shape) < 0.3)
    penalty = penalties.L1(0.1 * _largest(X, y))
    solutions = [
        sj.solve(sj.Problem(wrap(X), y, penalty=penalty, fit_intercept=True), solver, tol=1e-13)
        for wrap in (np.asarray, scipy.sparse.csr_array)
    ]
    np.testing.assert_allclose(solutions[0].coef, solutions[1].coef, atol=1e-6)
    np.testing.assert_allclose(solutions[0].objective, solutions[1].objective, rtol=1e-11)


def test_standardised_design_equals_standardised_columns():
    X, y = _data(12)
    X = X * (np.random.default_rng(0).random(X.shape) < 0.3)
    penalty = penalties.L1(0.1)
    lazy = sj.designs.standardise(scipy.sparse.csr_array(X))
    first = sj.solve(sj.Problem(lazy, y, penalty=penalty, fit_intercept=True), tol=1e-13)
    dense = (X - X.mean(0)) / X.std(0)
    second = sj.solve(sj.Problem(dense, y, penalty=penalty, fit_intercept=True), tol=1e-13)
    np.testing.assert_allclose(first.coef, second.coef, atol=1e-6)
    np.testing.assert_allclose(first.intercept, second.intercept, atol=1e-6)


@pytest.mark.parametrize("name", ["first", "all", "group"])
@pytest.mark.parametrize("value", [0.1, 1e5 / 3])
def test_constant_column_without_a_penalty_does_nothing(name, value, rng):
    X = rng.normal(size=(60, 6))
    X[:, 0] = value
    y = X[:, 1] - 2 * X[:, 2] + 3 + 0.3 * rng.normal(size=60)
    groups = np.repeat(np.arange(3), 2)
    penalty = {
        "first": sj.penalties.L1(0.05, weights=np.array([0.0, 1, 1, 1, 1, 1])),
        "all": sj.penalties.L1(0.0),
        "group": sj.penalties.GroupL2(0.05, groups, weights=np.array([0.0, 1, 1])),
    }[name]
    found = sj.solve(sj.Problem(X, y, penalty=penalty, fit_intercept=True), tol=1e-12)
    assert found.coef[0] == 0
    if name == "group":
        return
    without = {"first": sj.penalties.L1(0.05), "all": penalty}[name]
    rest = sj.solve(sj.Problem(X[:, 1:], y, penalty=without, fit_intercept=True), tol=1e-12)
    np.testing.assert_allclose(found.coef[1:], rest.coef, atol=1e-8)
    np.testing.assert_allclose(found.intercept, rest.intercept, atol=1e-8)


@every_solver
@pytest.mark.parametrize("case", ["zero", "constant", "duplicate"])
def test_degenerate_columns(solver, case):
    X, y = _data(13)
    X[:, 3] = {"zero": 0.0, "constant": 5.0, "duplicate": X[:, 0]}[case]
    problem = sj.Problem(X, y + 2, penalty=penalties.L1(0.05 * _largest(X, y)), fit_intercept=True)
    solution = sj.solve(problem, solver, tol=TOL)
    _check(problem, solution, X, y + 2)
    if case != "duplicate":
        assert solution.coef[3] == 0


def test_columns_twelve_decades_apart():
    """Only the weights make such columns comparable: the solver must not lose the small ones."""
    X, y = _data(14)
    scales = np.logspace(-6, 6, P)
    strength = 0.05 * _largest(X, y)
    scaled = sj.Problem(X * scales, y, penalty=penalties.L1(strength, weights=scales))
    plain = sj.Problem(X, y, penalty=penalties.L1(strength, weights=np.ones(P)))
    first, second = sj.solve(scaled, tol=1e-13), sj.solve(plain, tol=1e-13)
    np.testing.assert_allclose(first.coef * scales, second.coef, atol=1e-7)
    unweighted = sj.Problem(X * scales, y, penalty=penalties.L1(0.1 * _largest(X * scales, y)))
    solution = sj.solve(unweighted, tol=TOL)
    _check(unweighted, solution, X * scales, y)


@every_solver
@pytest.mark.parametrize("shape", [(1, P), pytest.param((N, 1), marks=pytest.mark.slow), (1, 1)])
def test_one_sample_or_one_feature(solver, shape):
    X, y = _data(15, *shape)
    problem = sj.Problem(X, y, penalty=penalties.L1(0.3 * _largest(X, y)))
    _check(problem, sj.solve(problem, solver, tol=TOL), X, y)


@every_solver
def test_zero_and_constant_targets(solver):
    X, _ = _data(16)
    for y, intercept in [(np.zeros(N), 0.0), (np.full(N, 7.0), 7.0)]:
        problem = sj.Problem(X, y, penalty=penalties.L1(0.1), fit_intercept=True)
        solution = sj.solve(problem, solver, tol=TOL)
        np.testing.assert_array_equal(solution.coef, 0.0)
        np.testing.assert_allclose(solution.intercept, intercept, rtol=1e-13)


@the_main_solver
def test_strength_zero_is_least_squares(solver):
    X, y = _data(17, n=40, p=10)
    problem = sj.Problem(X, y, penalty=penalties.L1(0.0), fit_intercept=True)
    solution = sj.solve(problem, solver, tol=1e-12)
    peer = linear_model.LinearRegression().fit(X, y)
    np.testing.assert_allclose(solution.coef, peer.coef_, rtol=1e-6)
    np.testing.assert_allclose(solution.intercept, peer.intercept_, rtol=1e-6)


@given(seed=st.integers(0, 2**31), ratio=st.sampled_from([0.1, 0.5, 0.9, 1.0]))
def test_elastic_net_equals_scikit_learn(seed, ratio):
    X, y = _data(seed)
    problem = sj.Problem(X, y, penalty=penalties.ElasticNet(0.1, ratio), fit_intercept=True)
    solution = sj.solve(problem, tol=1e-13)
    peer = linear_model.ElasticNet(0.1, l1_ratio=ratio, tol=1e-12, max_iter=100_000).fit(X, y)
    np.testing.assert_allclose(solution.coef, peer.coef_, atol=1e-5)
    np.testing.assert_allclose(solution.intercept, peer.intercept_, atol=1e-5)


@the_main_solver
def test_elastic_net_ends(solver):
    X, y = _data(18)
    lasso, same = penalties.L1(0.1), penalties.ElasticNet(0.1, 1.0)
    values = [sj.solve(sj.Problem(X, y, penalty=g), solver, tol=1e-12).coef for g in (lasso, same)]
    np.testing.assert_allclose(*values, atol=1e-6)
    ridge = sj.solve(sj.Problem(X, y, penalty=penalties.ElasticNet(0.1, 0.0)), solver, tol=1e-12)
    closed = np.linalg.solve(X.T @ X / N + 0.1 * np.eye(P), X.T @ y / N)
    np.testing.assert_allclose(ridge.coef, closed, atol=1e-5)


@the_main_solver
def test_nonnegative_least_squares(solver):
    for seed in range(3):
        X, y = _data(seed, n=40, p=10)
        problem = sj.Problem(X, y, penalty=penalties.Box(0.0, np.inf))
        skip_unless_supported(solver, problem)
        coef = np.asarray(sj.solve(problem, solver, tol=TOL).coef)
        expected, _ = scipy.optimize.nnls(X, y)
        np.testing.assert_allclose(coef, expected, atol=1e-5)
        assert np.all(coef >= 0)


@the_main_solver
def test_bounded_least_squares(solver):
    low, high = -0.3 * np.ones(10), np.linspace(0.1, 0.5, 10)
    for seed in range(3):
        X, y = _data(seed, n=40, p=10)
        problem = sj.Problem(X, y, penalty=penalties.Box(low, high))
        skip_unless_supported(solver, problem)
        coef = np.asarray(sj.solve(problem, solver, tol=1e-12).coef)
        expected = scipy.optimize.lsq_linear(X, y, (low, high), method="bvls", tol=1e-14).x
        np.testing.assert_allclose(coef, expected, atol=1e-6)
        assert np.all((coef >= low) & (coef <= high))


@pytest.mark.parametrize("peer", ["celer", "skglm", "sklearn.linear_model"])
def test_lasso_equals_the_peers(peer):
    module = pytest.importorskip(peer)
    X, y = _data(19, n=40, p=60, correlation=0.3)
    for ratio in (0.5, 0.1, 0.02):
        alpha = ratio * _largest(X - X.mean(0), y - y.mean())
        more = {"max_iter": 100_000} if peer.startswith("sklearn") else {}
        model = module.Lasso(alpha, fit_intercept=True, tol=1e-12, **more).fit(X, y)
        problem = sj.Problem(X, y, penalty=penalties.L1(alpha), fit_intercept=True)
        solution = sj.solve(problem, tol=1e-12)
        np.testing.assert_allclose(solution.coef, model.coef_, atol=1e-5)
        theirs = sj.objective(problem, model.coef_, model.intercept_)
        assert solution.objective <= theirs + 1e-12


@pytest.mark.parametrize("name", SOLVER_PENALTIES)
def test_unsupported_pairs_name_what_supports_them(name):
    X, y = _data(20)
    problem = sj.Problem(X, y, penalty=PENALTIES[name](1.0, P))
    reasons = {key: refusal(make(), problem) for key, make in SOLVERS.items()}
    for key, reason in reasons.items():
        if reason is None:
            continue
        assert type(problem.penalty).__name__ in reason
        named = [other for other in ("WorkingSet", "FISTA", "CoordinateDescent") if other in reason]
        assert named
        assert all(sj.solve(problem, getattr(solvers, other)()).gap <= 1e-8 for other in named)
        with pytest.raises(TypeError, match=type(problem.penalty).__name__):
            sj.solve(problem, SOLVERS[key]())
    assert reasons["working-set"] is None
    assert reasons["fista"] is None


def test_auto_says_what_it_picked():
    X, y = _data(21)
    solution = sj.solve(sj.Problem(X, y, penalty=penalties.L1(0.1)))
    assert solution.stats["solver"] == "WorkingSet"
    assert set(solution.stats) >= {"solver", "num_steps"}


@pytest.mark.parametrize("size", [0.0, 1e-170, 1.0])
def test_extrapolation_is_an_average(size):
    """At a fixed point too, where there are no steps to combine."""
    steps = size * jnp.asarray([[4.0, 0.0], [2.0, 0.1], [1.0, 0.0], [0.5, 0.0]])
    weights = extrapolation_weights(steps)
    np.testing.assert_allclose(jnp.sum(weights), 1.0, rtol=1e-9)
    assert np.linalg.norm(weights @ steps) <= 0.5 * size
