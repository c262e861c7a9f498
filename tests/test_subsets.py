"""Best subsets against all subsets: local search, hard thresholding pursuit, Cardinality."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax import losses, penalties, solvers

pytestmark = pytest.mark.usefixtures("float64")

N, P, K = 15, 9, 3
PRICE = 1 / 16  # exact in single precision too
PURSUIT, SEARCH = solvers.HardThresholdingPursuit, solvers.LocalSearch


def _data(seed):
    """Correlated features, of which four matter, and sample weights."""
    rng = np.random.default_rng(seed)
    X, w = rng.normal(size=(N, P)) + 1.5 * rng.normal(size=(N, 1)), np.zeros(P)
    w[:4] = rng.normal(size=4)
    return X, X @ w + 0.5 * rng.normal(size=N), rng.uniform(0.5, 2.0, N)


def _loss_of(X, y, weights, support):
    """Of weighted least squares on the support."""
    root = np.sqrt(weights / weights.sum())
    A, b = X[:, list(support)] * root[:, None], y * root
    coef = np.linalg.lstsq(A, b)[0]
    return np.sum((b - A @ coef) ** 2) / 2


def _subsets(size):
    return (set(s) for k in range(size + 1) for s in itertools.combinations(range(P), k))


def _best(data, price, bound):
    return min(_loss_of(*data, s) + price * len(s) for s in _subsets(bound))


def _neighbours(support, bound):
    rest = set(range(P)) - support
    yield from (support - {i} for i in support)
    yield from (support | {j} for j in rest if len(support) < bound)
    yield from ((support - {i}) | {j} for i in support for j in rest)


@pytest.mark.parametrize(
    ("penalty", "price", "bound"),
    [(penalties.Cardinality(K), 0.0, K), (penalties.L0(PRICE), PRICE, P)],
)
def test_no_move_improves_and_most_supports_are_best(penalty, price, bound):
    best = by_descent = 0
    for seed in range(10):
        X, y, weights = data = _data(seed)
        problem = sj.Problem(X, y, losses.Squared(weights), penalty)
        solution = sj.solve(problem, SEARCH())
        assert solution.kkt <= 1e-10
        support = set(np.flatnonzero(solution.coef).tolist())
        value = _loss_of(*data, support) + price * len(support)
        np.testing.assert_allclose(solution.objective, value, rtol=1e-10)
        for other in _neighbours(support, bound):
            assert _loss_of(*data, other) + price * len(other) >= value - 1e-12
        optimum = _best(data, price, bound)
        assert value >= optimum - 1e-12
        best += value <= optimum + 1e-12
        descent = solvers.CoordinateDescent() if price else PURSUIT()
        by_descent += sj.solve(problem, descent).objective <= optimum + 1e-12
    assert best >= 9 > by_descent


def test_search_from_a_start_ends_no_higher():
    X, y, _ = _data(2)
    problem = sj.Problem(X, y, penalty=penalties.Cardinality(K))
    start = sj.solve(problem, PURSUIT())
    found = sj.solve(problem, SEARCH(), init=start.coef)
    assert found.objective <= start.objective
    assert np.count_nonzero(found.coef) == K
    one = sj.solve(problem, SEARCH(), max_steps=1, throw=False)
    assert one.result != sj.RESULTS.successful  # one feature of three: others still pull
    assert np.count_nonzero(one.coef) == 1


def test_pursuit_in_numpy():
    """Foucart's iteration with the normalised step, where it never has to fall back."""
    rng = np.random.default_rng(0)
    X, w = rng.normal(size=(40, 80)) / np.sqrt(40), np.zeros(80)
    w[rng.choice(80, 5, replace=False)] = rng.choice([-1, 1], 5) * rng.uniform(1, 2, 5)
    y = X @ w + 0.05 * rng.normal(size=40)
    coef = np.zeros(80)
    for _ in range(20):
        pull = X.T @ (y - X @ coef)
        on = np.flatnonzero(coef) if np.any(coef) else np.argsort(-np.abs(pull))[:5]
        step = np.sum(pull[on] ** 2) / np.sum((X[:, on] @ pull[on]) ** 2)
        if np.max(np.abs(pull[on])) < 1e-12:
            step = 1.0
        support = np.argsort(-np.abs(coef + step * pull))[:5]
        coef = np.zeros(80)
        coef[support] = np.linalg.lstsq(X[:, support], y)[0]
    problem = sj.Problem(X, y, penalty=penalties.Cardinality(5))
    solution = sj.solve(problem, PURSUIT())
    assert solution.kkt <= 1e-10
    np.testing.assert_allclose(solution.coef, coef, atol=1e-10)
    np.testing.assert_array_equal(coef != 0, w != 0)


@pytest.mark.parametrize("solver", [SEARCH, PURSUIT])
def test_equal_and_zero_features(solver):
    """Nothing is gained from a copy of a feature, or from one that is zero."""
    X, _, _ = _data(0)
    X = np.c_[X[:, :1], X[:, :1], np.zeros(N), X[:, 1:2]]
    solution = sj.solve(
        sj.Problem(X, X[:, 0] - X[:, 3], penalty=penalties.Cardinality(3)), solver()
    )
    assert solution.objective <= 1e-20
    assert np.all(np.isfinite(solution.coef))
    assert solution.coef[2] == 0


def test_derivative_on_the_support():
    X, y, _ = _data(1)
    direction = np.random.default_rng(1).normal(size=X.shape)

    @jax.jit
    def total(t):
        penalty = penalties.Cardinality(K)
        problem = sj.Problem(X + t * direction, y, penalty=penalty, fit_intercept=True)
        return jnp.sum(sj.solve(problem).coef * jnp.arange(P))

    slope = (total(1e-6) - total(-1e-6)) / 2e-6
    np.testing.assert_allclose(jax.grad(total)(0.0), slope, rtol=1e-5)


def test_many_at_once_and_the_default():
    data = [_data(seed) for seed in range(3)]
    X, y, _ = (jnp.array(part) for part in zip(*data, strict=True))

    def fit(X, y):
        return sj.solve(sj.Problem(X, y, penalty=penalties.Cardinality(K)))

    many = jax.vmap(fit)(X, y)
    assert many.stats["solver"] == "LocalSearch"
    for k in range(3):
        np.testing.assert_allclose(many.coef[k], fit(X[k], y[k]).coef, atol=1e-12)


def test_cardinality_is_a_projection_and_knows_stationary_points():
    rng = np.random.default_rng(0)
    penalty = penalties.Cardinality(2)
    for _ in range(20):
        v = rng.normal(size=5)
        near = min(
            (np.where(np.isin(np.arange(5), s), v, 0) for s in itertools.combinations(range(5), 2)),
            key=lambda u: np.sum((u - v) ** 2),
        )
        np.testing.assert_array_equal(penalty.prox(jnp.array(v), 0.7), near)
    w, pull = jnp.array([1.0, 0.0, 2.0, 0.0, 0.0]), jnp.array([0.5, 9.0, -0.25, 9.0, 9.0])
    assert penalty.subdiff_distance(w, pull).tolist() == [0.5, 0, 0.25, 0, 0]
    assert penalty.subdiff_distance(w.at[2].set(0.0), pull).tolist() == [0.5, 9, 0.25, 9, 9]
    assert np.all(np.isinf(penalty.subdiff_distance(w + 1, pull)))
    assert penalty.value(w) == 0
    assert np.isinf(penalty.value(w + 1))
    assert penalty.support(w).tolist() == [True, False, True, False, False]
    problem = sj.Problem(np.eye(5), v, penalty=penalty)
    with pytest.raises(TypeError, match="Cardinality is not convex"):
        sj.duality_gap(problem, v)
    for k in (0, 1.5, 6):
        with pytest.raises(ValueError, match="`k` must be"):
            sj.Problem(np.eye(5), v, penalty=penalties.Cardinality(k))


def test_logistic_regression_with_a_bound():
    """By FISTA, the default for other losses: a stationary point within the bound."""
    X, y, _ = _data(3)
    signs = np.sign(y) * np.where(np.arange(N) < 3, -1, 1)  # no two features separate these
    problem = sj.Problem(X, signs, losses.Logistic(), penalties.Cardinality(2))
    solution = sj.solve(problem, tol=1e-7)
    assert solution.stats["solver"] == "FISTA"
    on = np.flatnonzero(solution.coef)
    assert len(on) == 2
    pull = X.T @ (signs / (1 + np.exp(signs * (X @ solution.coef)))) / N
    np.testing.assert_allclose(pull[on], 0, atol=1e-7)


@pytest.mark.parametrize("solver", [SEARCH, PURSUIT])
def test_unsupported_pairs(solver):
    with pytest.raises(TypeError, match="Huber"):
        sj.solve(sj.Problem(np.eye(2), np.ones(2), losses.Huber(), penalties.L0(0.1)), solver())
    with pytest.raises(TypeError, match="MCP"):
        sj.solve(sj.Problem(np.eye(2), np.ones(2), penalty=penalties.MCP(0.1)), solver())
    problem = sj.Problem(np.eye(2), np.ones(2), penalty=penalties.Cardinality(1))
    with pytest.raises(TypeError, match=r"not convex: use Auto\(\)"):
        solvers.VarPro().check(problem)
