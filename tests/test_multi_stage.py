"""Multi-stage convex relaxation against stages written by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from sklearn import linear_model

import sparsejax as sj
from sparsejax import losses, penalties, solvers

pytestmark = pytest.mark.usefixtures("float64")

N, P = 30, 60
MAKE = {
    "capped-l1": lambda s: penalties.CappedL1(s, 2 * s),
    "mcp": lambda s: penalties.MCP(s, gamma=4.0),
    "scad": penalties.SCAD,
    "log-sum": lambda s: penalties.LogSum(s, 0.3),
}
SLOPES = {  # h′(|w|) by hand, relative to the strength s
    "capped-l1": lambda w, s: (np.abs(w) < 2 * s) * 1.0,
    "mcp": lambda w, s: np.maximum(1 - np.abs(w) / (4 * s), 0),
    "scad": lambda w, s: np.clip((3.7 * s - np.abs(w)) / (2.7 * s), 0, 1),
    "log-sum": lambda w, s: 0.3 / (0.3 + np.abs(w)),
}
every_penalty = pytest.mark.parametrize(
    "name", ["mcp", *[pytest.param(n, marks=pytest.mark.slow) for n in MAKE if n != "mcp"]]
)


def _data(seed=0):
    rng = np.random.default_rng(seed)
    X, w = rng.normal(size=(N, P)), np.zeros(P)
    w[:5] = [2.0, -2.0, 1.5, 1.0, -1.0]
    y = X @ w + 0.3 * rng.normal(size=N)
    return X, y, np.max(np.abs(X.T @ y)) / N


def _weighted_lasso(X, y, strength, weights):
    """By scikit-learn on scaled columns; features without a penalty are projected out first."""
    free = weights == 0
    basis, _ = np.linalg.qr(X[:, free])
    rest = X[:, ~free] / weights[~free]
    rest = rest - basis @ (basis.T @ rest)
    model = linear_model.Lasso(strength, fit_intercept=False, tol=1e-14, max_iter=1_000_000)
    w = np.zeros(P)
    w[~free] = model.fit(rest, y - basis @ (basis.T @ y)).coef_ / weights[~free]
    w[free] = np.linalg.lstsq(X[:, free], y - X @ w)[0]
    return w


@every_penalty
def test_two_stages_by_hand(name):
    for seed in range(2):
        X, y, largest = _data(seed)
        strength = 0.15 * largest
        problem = sj.Problem(X, y, penalty=MAKE[name](strength))
        solution = sj.solve(problem, solvers.MultiStage(2), tol=1e-13)
        first = _weighted_lasso(X, y, strength, np.ones(P))
        second = _weighted_lasso(X, y, strength, SLOPES[name](first, strength))
        np.testing.assert_allclose(solution.coef, second, atol=1e-5)
        assert np.max(np.abs(second - first)) > 0.05
        assert solution.stats["gaps"].shape == (2,)
        assert solution.gap == np.max(solution.stats["gaps"]) <= 1e-13
        assert solution.stats["num_steps"] == 2
        violation = sj.kkt_violation(problem, solution.coef)
        np.testing.assert_allclose(solution.kkt, violation, rtol=1e-9, atol=1e-12)


@every_penalty
def test_ends_stationary_and_never_rises(name):
    X, y, largest = _data(2)
    problem = sj.Problem(X, y, penalty=MAKE[name](0.15 * largest))
    solution = sj.solve(problem, solvers.MultiStage(), tol=1e-9)
    assert solution.kkt <= 1e-9
    assert np.isnan(solution.gap)
    count = int(solution.stats["num_steps"])
    gaps = np.asarray(solution.stats["gaps"])
    assert np.all(gaps[:count] <= 1e-12)
    assert np.all(np.isnan(gaps[count:]))
    objectives = []
    for steps in range(count + 1):
        coef = sj.solve(problem, solvers.MultiStage(), tol=1e-9, max_steps=steps, throw=False).coef
        residual = y - X @ np.asarray(coef)
        objectives.append(np.mean(residual**2) / 2 + reference.value(problem.penalty, coef))
    assert np.all(np.diff(objectives) <= 1e-12)
    assert objectives[1] > objectives[-1] + 1e-6
    again = sj.solve(problem, solvers.MultiStage(), tol=1e-9, init=solution.coef)
    assert again.stats["num_steps"] == 0


def test_stages_that_were_not_run_are_no_success():
    X, y, largest = _data()
    problem = sj.Problem(X, y, penalty=MAKE["mcp"](0.15 * largest))
    early = sj.solve(problem, solvers.MultiStage(2), max_steps=1, throw=False)
    assert early.result == sj.RESULTS.max_steps_reached
    assert np.isinf(early.gap)


@pytest.mark.slow
def test_derivative_only_where_stationary():
    X, y, largest = _data()

    def total(strength, solver):
        problem = sj.Problem(X, y, penalty=penalties.MCP(strength, gamma=20.0))
        return jnp.sum(sj.solve(problem, solver, tol=1e-12).coef * jnp.arange(P))

    strength = 0.1 * largest
    ours = jax.grad(total)(strength, solvers.MultiStage())
    np.testing.assert_allclose(ours, jax.grad(total)(strength, None), rtol=1e-6)
    assert abs(ours) > 1
    with pytest.raises(TypeError, match=r"no derivative: use MultiStage\(\)"):
        jax.grad(total)(strength, solvers.MultiStage(2))


@pytest.mark.slow
@pytest.mark.parametrize("make", [penalties.MCP, None], ids=["coefficients", "groups"])
def test_derivative_where_the_loss_has_no_gradient(make):
    """Large coefficients are not shrunk: the square root's solution is that of least squares."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 8))
    y = X[:, :3] @ np.array([2.0, -1.5, 0.5]) + 0.3 * rng.normal(size=30)

    def total(y):
        penalty = penalties.MCP(0.3, 0.5)  # more curved than the steps of the adjoint are short
        penalty = penalty if make else penalties.Grouped(penalty, np.arange(8), np.ones(8))
        problem = sj.Problem(X, y, losses.SquareRoot(), penalty)
        return jnp.sum(sj.solve(problem, solvers.MultiStage()).coef * jnp.cos(jnp.arange(8)))

    gradient = jax.grad(total)(jnp.asarray(y))
    if make is None:  # a step of the adjoint leads away from the solution
        assert np.all(np.isnan(gradient))
    else:
        expected = np.linalg.pinv(X[:, :3]).T @ np.cos(np.arange(3))
        np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-9)


def test_signals_that_the_lasso_shrinks_are_recovered():
    """Zhang's claim: exact support and the error of least squares on it."""
    X, y, _ = _data(3)
    problem = sj.Problem(X, y, penalty=penalties.CappedL1(0.2, 0.5))
    coef = sj.solve(problem, solvers.MultiStage()).coef
    np.testing.assert_array_equal(np.flatnonzero(coef), np.arange(5))
    np.testing.assert_allclose(coef[:5], np.linalg.lstsq(X[:, :5], y)[0], atol=1e-9)


@pytest.mark.slow
def test_stages_of_a_loss_whose_curvature_has_no_bound():
    """It ends where a stage makes no change."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 10))
    z = X[:, 0] - X[:, 1] + 0.5
    y, loss = rng.poisson(np.exp(z)), losses.Poisson()
    problem = sj.Problem(X, y, loss, penalties.SCAD(0.1), fit_intercept=True)
    solution = sj.solve(problem, solvers.MultiStage())
    assert solution.kkt <= 1e-8
    slopes = np.asarray(problem.penalty.slope(solution.coef))
    relaxed = sj.Problem(X, y, loss, penalties.L1(1.0, weights=slopes), fit_intercept=True)
    again = sj.solve(relaxed, tol=1e-14, throw=False)
    np.testing.assert_allclose(again.coef, solution.coef, atol=1e-6)
    assert 2 <= np.count_nonzero(solution.coef) < 10


@pytest.mark.slow
def test_stages_of_a_loss_without_a_gradient():
    X, y, _ = _data()
    problem = sj.Problem(X, y, losses.Quantile(0.5), penalties.SCAD(0.1))
    solution = sj.solve(problem, solvers.MultiStage(2), tol=1e-6)
    weights = SLOPES["scad"]
    first = sj.solve(sj.Problem(X, y, losses.Quantile(0.5), penalties.L1(0.1)), tol=1e-6).coef
    relaxed = penalties.L1(0.1, weights=weights(np.asarray(first), 0.1))
    second = sj.solve(sj.Problem(X, y, losses.Quantile(0.5), relaxed), tol=1e-6)
    value = sj.objective(sj.Problem(X, y, losses.Quantile(0.5), relaxed), solution.coef)
    np.testing.assert_allclose(value, second.objective, rtol=1e-4)


@pytest.mark.parametrize(
    ("penalty", "message"),
    [
        (penalties.L1(0.1), r"L1.*use Auto\(\)"),
        (penalties.L0(0.1), r"L0.*infinite.*use FISTA\(\)"),
        (penalties.Lq(0.1, 0.5), r"Lq.*CoordinateDescent\(\)"),
    ],
)
def test_unsupported_penalties(penalty, message):
    with pytest.raises(TypeError, match=message):
        sj.solve(sj.Problem(np.eye(2), np.ones(2), penalty=penalty), solvers.MultiStage())


def test_number_of_stages():
    with pytest.raises(ValueError, match="`stages` must be at least 1"):
        solvers.MultiStage(0)
