"""Several targets at small strengths: descent over the rows of a working set."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import MultiTaskLasso

import sparsejax as sj
from sparsejax.solvers import GramCoordinateDescent, GramFISTA, WorkingSet
from sparsejax.solvers._coordinate_descent import extrapolation_weights
from sparsejax.solvers._curvature import Gram
from sparsejax.solvers._gram import GramProblem
from sparsejax.solvers._prox_newton import quadratic_solver

pytestmark = pytest.mark.usefixtures("float64")

N, P, TASKS = 30, 150, 3


def _independent(rng):
    return rng.normal(size=(N, P))


def _autoregressive(rng):
    X = rng.normal(size=(N, P))
    for j in range(1, P):
        X[:, j] = 0.95 * X[:, j - 1] + 0.05**0.5 * X[:, j]
    return X


def _scaled(rng):
    return rng.normal(size=(N, P)) * 10.0 ** rng.uniform(-4, 4, size=P)


def _duplicated(rng):
    X = rng.normal(size=(N, P))
    X[:, P // 2 :] = X[:, : P - P // 2]
    X[:, 7] = 0
    return X


DESIGNS = {
    "independent": _independent,
    "ar1": _autoregressive,
    "scales": _scaled,
    "duplicates": _duplicated,
}
WEIGHTS = np.where(np.arange(P) < 3, 0.0, np.where(np.arange(P) < 6, np.inf, 1.0))


def _targets(X, rng):
    W = np.zeros((P, TASKS))
    W[:10] = rng.normal(size=(10, TASKS)) / np.maximum(X.std(axis=0)[:10, None], 1e-9)
    return X @ W + rng.normal(size=(N, TASKS))


def _problem(X, Y, ratio):
    largest = np.linalg.norm(X.T @ Y, axis=1).max() / N
    return sj.Problem(X, Y, penalty=sj.penalties.RowL2(largest / ratio))


@pytest.mark.parametrize(
    "design", [pytest.param(d, marks=[pytest.mark.slow] * (d == "independent")) for d in DESIGNS]
)
def test_more_rows_than_samples(rng, design):
    """As scikit-learn and FISTA have it, where the working set keeps columns."""
    X = DESIGNS[design](rng)
    Y = _targets(X, rng)
    problem = _problem(X, Y, 1000)
    ours = sj.solve(problem, tol=1e-11, solver=WorkingSet(GramCoordinateDescent()))
    fista = sj.solve(problem, tol=1e-9, solver=WorkingSet(GramFISTA()))
    alpha = float(problem.penalty.strength)
    theirs = MultiTaskLasso(alpha, fit_intercept=False, tol=1e-9, max_iter=10**5).fit(X, Y)
    assert sj.duality_gap(problem, ours.coef) <= 1e-11
    unit = float(sj.objective(problem, np.zeros((P, TASKS))))
    for coef in (fista.coef, theirs.coef_.T):
        assert ours.objective <= sj.objective(problem, coef) + 1e-12 * unit
        np.testing.assert_allclose(X @ ours.coef, X @ coef, atol=2e-4 * np.linalg.norm(Y))
        if design != "duplicates":  # else there are many solutions
            np.testing.assert_array_equal(ours.coef != 0, coef != 0)
    early = sj.solve(
        problem, tol=1e-11, solver=WorkingSet(GramCoordinateDescent()), max_steps=1, throw=False
    )
    assert early.gap > 1e-11
    assert early.result == sj.RESULTS.max_steps_reached
    if design == "independent":
        assert jnp.sum(jnp.any(ours.coef != 0, axis=1)) > N


@pytest.mark.parametrize("correlated", [False, True])
@pytest.mark.slow
def test_free_and_forbidden_rows(rng, correlated):
    """With an intercept and sample weights; the optimality conditions are the reference."""
    X = (_autoregressive if correlated else _independent)(rng) + 1
    Y = _targets(X, rng) + np.arange(TASKS)
    samples = rng.random(N)
    samples /= samples.mean()
    loss = sj.losses.Squared(samples)
    null = sj.Problem(X, Y, loss, sj.penalties.RowL2(1.0, WEIGHTS), fit_intercept=True)
    strength = float(sj.strength_max(null)) / 50
    penalty = sj.penalties.RowL2(strength, WEIGHTS)
    solution = sj.solve(sj.Problem(X, Y, loss, penalty, fit_intercept=True), tol=1e-10)
    coef = np.asarray(solution.coef)
    residual = Y - X @ coef - np.asarray(solution.intercept)
    np.testing.assert_allclose(samples @ residual, 0, atol=1e-11)
    pull = X.T @ (samples[:, None] * residual) / N
    size, force = np.linalg.norm(coef, axis=1), np.linalg.norm(pull, axis=1)
    assert np.all(coef[np.isinf(WEIGHTS)] == 0)
    np.testing.assert_allclose(force[WEIGHTS == 0], 0, atol=1e-11)
    assert np.all(force[WEIGHTS == 1] <= strength * (1 + 1e-3))
    moving = (size > 0) & (WEIGHTS == 1)
    assert np.sum(moving) > 10
    slopes = strength * coef[moving] / size[moving, None]
    np.testing.assert_allclose(pull[moving], slopes, atol=1e-3 * strength)


@pytest.mark.parametrize("shape", [(N,), (N, 1)])
@pytest.mark.slow
def test_one_target_is_the_lasso(rng, shape):
    X = _autoregressive(rng)
    y = X[:, :5].sum(axis=1) + rng.normal(size=N)
    strength = np.abs(X.T @ y).max() / N / 100
    lasso = sj.solve(sj.Problem(X, y, penalty=sj.penalties.L1(strength)), tol=1e-12)
    problem = sj.Problem(X, y.reshape(shape), penalty=sj.penalties.RowL2(strength))
    rows = sj.solve(problem, tol=1e-12)
    np.testing.assert_allclose(rows.coef.reshape(-1), lasso.coef, atol=1e-4)
    np.testing.assert_allclose(rows.objective, lasso.objective, rtol=1e-10)
    np.testing.assert_array_equal(rows.coef.reshape(-1) != 0, lasso.coef != 0)


@pytest.mark.slow
def test_single_precision(rng):
    X = _autoregressive(rng).astype(np.float32)
    problem = _problem(X, _targets(X, rng).astype(np.float32), 100)
    solution = sj.solve(problem, tol=1e-5)
    assert solution.coef.dtype == jnp.float32
    double = _problem(X.astype(float), np.asarray(problem.y, float), 100)
    assert sj.duality_gap(double, np.asarray(solution.coef, float)) <= 2e-5


def test_who_descends_where(monkeypatch):
    """Groups are not rows; on an accelerator a few large products beat many small ones."""
    X, Y = np.eye(3), np.ones((3, 2))
    groups = sj.Problem(X, Y[:, 0], penalty=sj.penalties.GroupL2(0.1, np.array([0, 0, 1])))
    with pytest.raises(TypeError, match="GramCoordinateDescent does not support GroupL2"):
        sj.solve(groups, solver=WorkingSet(GramCoordinateDescent()))
    rows = sj.Problem(X, Y, penalty=sj.penalties.RowL2(0.1))
    assert isinstance(quadratic_solver(rows).inner, GramCoordinateDescent)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert isinstance(quadratic_solver(rows).inner, GramFISTA)


def test_extrapolation_of_a_linear_iteration(rng):
    """Three steps of a contraction of the plane tell where it leads to."""
    A = np.array([[0.6, 0.3], [-0.3, 0.6]])
    b = rng.normal(size=2)
    iterates = [rng.normal(size=2)]
    for _ in range(3):
        iterates.append(A @ iterates[-1] + b)
    iterates = jnp.asarray(iterates)
    weights = extrapolation_weights(jnp.diff(iterates, axis=0))
    np.testing.assert_allclose(jnp.sum(weights), 1)
    fixed_point = np.linalg.solve(np.eye(2) - A, b)
    np.testing.assert_allclose(weights @ iterates[:-1], fixed_point, atol=1e-5)


@pytest.mark.parametrize("tasks", [(), (3,)])
def test_what_a_larger_working_set_has_left_is_ignored(rng, tasks):
    """Blocks of 32 rows are wider than this working set of 16."""
    rows, pull = rng.normal(size=(16, 20)), rng.normal(size=(64, *tasks))
    pull[16:] = 0.0
    left = rng.normal(size=(64, 64))

    def solved(beyond):
        gram = beyond.copy()
        gram[:16, :16] = rows @ rows.T
        problem = GramProblem(
            Gram(jnp.asarray(gram)), jnp.asarray(pull), jnp.zeros_like(pull), jnp.ones(64),
            sj.penalties.RowL2(0.3), jnp.array(100.0), jnp.ones(64), jnp.array(0), (16, 64),
        )  # fmt: skip
        return GramCoordinateDescent().solve_gram(problem, jnp.array(1e-10))[0]

    found = solved(left)
    np.testing.assert_allclose(found, solved(np.zeros((64, 64))), atol=1e-9)
    assert jnp.any(found[:16])
    assert not jnp.any(found[16:])
