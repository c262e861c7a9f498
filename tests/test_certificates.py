"""objective, duality_gap, kkt_violation and strength_max against their formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from hypothesis import given, strategies as st
from registry import PENALTIES, SOLVER_PENALTIES

import sparsejax as sj
from sparsejax._problem import Problem, predict_sparse, project_intercept

pytestmark = pytest.mark.usefixtures("float64")

N, P = 20, 40
every_penalty = pytest.mark.parametrize("name", SOLVER_PENALTIES)
seeds = st.integers(0, 2**31)


def _problem(name, seed, strength=0.1, fit_intercept=False, sample_weight=None):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(N, P)) + 0.5, rng.normal(size=N) + 1
    penalty = PENALTIES[name](strength, P)
    loss = sj.losses.Squared(sample_weight)
    return X, y, sj.Problem(X, y, loss, penalty, fit_intercept)


@every_penalty
@given(seed=seeds, intercept=st.floats(-2, 2))
def test_objective(name, seed, intercept):
    X, y, problem = _problem(name, seed)
    w = np.array(problem.penalty.prox(np.random.default_rng(seed).normal(size=P), 1.0))
    expected = reference.objective(X, y, problem.penalty, w, intercept)
    np.testing.assert_allclose(sj.objective(problem, w, intercept), expected, rtol=1e-12)


@every_penalty
@given(seed=seeds, fit_intercept=st.booleans(), near=st.floats(0, 1))
def test_gap_bounds_the_suboptimality(name, seed, fit_intercept, near):
    """Of any point: a certificate may be loose, never wrong."""
    X, y, problem = _problem(name, seed, fit_intercept=fit_intercept)
    best = sj.solve(problem, sj.solvers.FISTA(), tol=1e-12)
    away = np.random.default_rng(seed).normal(size=P)
    w = problem.penalty.prox(near * best.coef + (1 - near) * away, 1e-3)
    residual = y - X @ np.asarray(w)
    intercept = residual.mean() if fit_intercept else 0.0
    unit = np.mean((y - y.mean() * fit_intercept) ** 2) / 2
    excess = (sj.objective(problem, w, intercept) - best.objective) / unit
    assert sj.duality_gap(problem, w) >= excess - 1e-11


@pytest.mark.parametrize("name", ["l1", "l1-nonnegative", "elastic-net", "box"])
@given(seed=seeds, weighted=st.booleans())
def test_gap_equals_the_formula(name, seed, weighted):
    weights = np.random.default_rng(1).integers(1, 4, N).astype(float) if weighted else np.ones(N)
    for fit_intercept in (False, True):
        X, y, problem = _problem(name, seed, 0.3, fit_intercept, weights)
        w = np.array(problem.penalty.prox(np.random.default_rng(seed).normal(size=P), 1.0))
        expected = reference.gap(X, y, problem.penalty, w, weights, fit_intercept)
        np.testing.assert_allclose(sj.duality_gap(problem, w), expected, rtol=1e-8)


@every_penalty
def test_gap_and_kkt_vanish_at_the_solution_and_nowhere_else(name, rng):
    _, _, problem = _problem(name, 3)
    best = sj.solve(problem, sj.solvers.FISTA(), tol=1e-13)
    np.testing.assert_allclose(sj.duality_gap(problem, best.coef), best.gap, rtol=1e-3, atol=1e-15)
    np.testing.assert_allclose(sj.kkt_violation(problem, best.coef), best.kkt, atol=1e-12)
    assert best.kkt < 1e-4
    elsewhere = problem.penalty.prox(best.coef + 0.5 * rng.normal(size=P), 1e-3)
    assert sj.duality_gap(problem, elsewhere) > 1e-4
    assert sj.kkt_violation(problem, elsewhere) > 1e-3


@given(seed=seeds, strength=st.floats(0.01, 1.0))
def test_kkt_violation_of_the_lasso(seed, strength):
    X, y, problem = _problem("l1", seed, strength)
    w = np.array(problem.penalty.prox(np.random.default_rng(seed).normal(size=P), 1.0))
    pull = X.T @ (y - X @ w) / N
    distance = np.where(
        w == 0, np.maximum(np.abs(pull) - strength, 0), np.abs(pull - strength * np.sign(w))
    )
    expected = distance.max() / strength
    np.testing.assert_allclose(sj.kkt_violation(problem, w), expected, rtol=1e-9)


@pytest.mark.parametrize("fit_intercept", [False, True])
@given(seed=seeds)
def test_strength_max_of_the_lasso(fit_intercept, seed):
    X, y, problem = _problem("l1", seed, fit_intercept=fit_intercept)
    centred = (X - X.mean(0), y - y.mean()) if fit_intercept else (X, y)
    expected = np.max(np.abs(centred[0].T @ centred[1])) / N
    np.testing.assert_allclose(sj.strength_max(problem), expected, rtol=1e-12)


@pytest.mark.parametrize(
    "name", [pytest.param("l1-weights", marks=pytest.mark.slow), "l1-nonnegative", "elastic-net"]
)
@pytest.mark.parametrize("fit_intercept", [pytest.param(False, marks=pytest.mark.slow), True])
def test_strength_max_is_where_the_support_becomes_empty(name, fit_intercept):
    X, y, problem = _problem(name, 4, fit_intercept=fit_intercept)
    largest = sj.strength_max(problem)
    for factor, empty in [(1 + 1e-9, True), (0.99, False)]:
        penalty = problem.penalty.with_strength(factor * largest)
        solution = sj.solve(sj.Problem(X, y, None, penalty, fit_intercept), tol=1e-12)
        assert bool(jnp.all(solution.coef == 0)) == empty


def test_strength_max_fits_unpenalised_features_first():
    """With a zero weight the others are measured against the residual of that feature's fit."""
    X, y, problem = _problem("l1-zero-weight", 5)
    residual = y - X[:, 1] * (X[:, 1] @ y) / (X[:, 1] @ X[:, 1])
    weights = np.asarray(problem.penalty.weights)
    rest = weights > 0
    expected = np.max(np.abs(X.T @ residual)[rest] / weights[rest]) / N
    np.testing.assert_allclose(sj.strength_max(problem), expected, rtol=1e-9)


def test_strength_max_needs_a_strength():
    _, _, problem = _problem("box", 6)
    with pytest.raises(TypeError, match="Box has no strength"):
        sj.strength_max(problem)


def test_infeasible_points_have_no_finite_gap():
    _, _, problem = _problem("l1-nonnegative", 7)
    assert np.isinf(sj.duality_gap(problem, -np.ones(P)))
    assert np.isinf(sj.objective(problem, -np.ones(P)))
    _, _, problem = _problem("box", 7)
    assert np.isinf(sj.duality_gap(problem, np.ones(P)))


@pytest.mark.parametrize("nonzeros", [0, 3, 400])
@pytest.mark.parametrize("centred", [False, True])
def test_sparse_predictions(nonzeros, centred):
    """By columns or by all of X: the same numbers and the same derivatives in every direction."""
    rng = np.random.default_rng(nonzeros)
    X, y = rng.normal(size=(7, 1200)) + 0.5, rng.normal(size=7)
    penalty = sj.penalties.L1(0.1)
    problem = sj.Problem(X, y, penalty=penalty, offset=y, fit_intercept=centred)
    problem = project_intercept(problem)[0] if centred else problem  # which the offset joins
    coef = np.zeros(1200)
    coef[rng.choice(1200, nonzeros, replace=False)] = rng.normal(size=nonzeros)

    def with_gradient(predict):
        def total(problem, coef):
            return jnp.sum(predict(problem, coef) ** 3)

        return jax.value_and_grad(total, (0, 1))(problem, jnp.array(coef))

    found, expected = with_gradient(predict_sparse), with_gradient(Problem.predict)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-10)
