"""strength_max of losses without a gradient, by linear programming, and of transforms."""

import jax.numpy as jnp
import numpy as np
import pairs
import pytest
import scipy.optimize

import sparsejax as sj
from sparsejax import losses, penalties

pytestmark = pytest.mark.usefixtures("float64")

N, P, LEVEL = 25, 6, 0.3


def _data():
    rng = np.random.default_rng(0)
    X, weights = rng.normal(size=(N, P)), rng.uniform(0.5, 2.0, N)
    return X, X[:, 0] + rng.normal(size=N) + 0.3, weights


def _least_force(X, low, high, fit_intercept):
    """min ‖Xᵀu‖_∞ of low ≤ u ≤ high, with an intercept of Σu = 0."""
    n, p = X.shape
    columns = np.block([[X.T, -np.ones((p, 1))], [-X.T, -np.ones((p, 1))]])
    balance = {"A_eq": np.r_[np.ones(n), 0.0][None], "b_eq": [0.0]} if fit_intercept else {}
    return scipy.optimize.linprog(
        np.r_[np.zeros(n), 1.0],
        columns,
        np.zeros(2 * p),
        bounds=[*zip(low, high, strict=True), (0, None)],
        **balance,
    ).fun


@pytest.mark.parametrize("fit_intercept", [pytest.param(False, marks=pytest.mark.slow), True])
def test_hinge(fit_intercept):
    """The margins of one class are all at the kink, where the intercept is best."""
    X, y, weights = _data()
    y = np.sign(y)
    h = weights / weights.sum()
    b = np.sign(h @ y) * fit_intercept
    low, high = np.minimum(-h * y, 0), np.maximum(-h * y, 0)
    pulled = y * b < 1 - 1e-9
    low, high = np.where(pulled, -h * y, low), np.where(pulled, -h * y, high)
    problem = sj.Problem(X, y, losses.Hinge(weights), penalties.L1(1.0), fit_intercept)
    expected = _least_force(X, low, high, fit_intercept)
    np.testing.assert_allclose(sj.strength_max(problem), expected, rtol=1e-8)


@pytest.mark.parametrize("fit_intercept", [pytest.param(False, marks=pytest.mark.slow), True])
def test_quantile(fit_intercept):
    X, y, weights = _data()
    h = weights / weights.sum()
    order = np.argsort(y)
    b = y[order][np.searchsorted(np.cumsum(h[order]), LEVEL)] * fit_intercept
    low = np.where(y < b, (1 - LEVEL) * h, -LEVEL * h)
    high = np.where(y > b, -LEVEL * h, (1 - LEVEL) * h)
    loss = losses.Quantile(LEVEL, weights)
    problem = sj.Problem(X, y, loss, penalties.L1(1.0), fit_intercept)
    expected = _least_force(X, low, high, fit_intercept)
    np.testing.assert_allclose(sj.strength_max(problem), expected, rtol=1e-8)
    path = sj.path(problem, num=3, tol=1e-6)  # from there on
    assert np.count_nonzero(path.coefs[0]) <= 1 < np.count_nonzero(path.coefs[-1])


@pytest.mark.parametrize(
    ("loss", "penalty"),
    [
        ("squared", "analysis"),
        *(
            pytest.param(*pair, marks=pytest.mark.slow)
            for pair in [
                ("logistic", "isotropic"),
                ("squared", "overlapping"),
                ("quantile", "group-l2"),
                ("hinge", "analysis"),
            ]
        ),
    ],
)
def test_nothing_is_left_from_there_on(loss, penalty):
    data = pairs.data(loss, 0)
    problem = pairs.problem(loss, penalty, True, data, 1.0)
    largest = float(sj.strength_max(problem))
    for factor, is_left in ((1 + 1e-3, False), (1 - 1e-3, True)):
        problem = pairs.problem(loss, penalty, True, data, factor * largest)
        coef = sj.solve(problem, tol=1e-11, throw=False).coef
        assert (float(problem.penalty.value(coef)) > 1e-6) == is_left


@pytest.mark.slow
def test_unpenalised_features_are_fitted_first():
    X, y, weights = _data()
    penalty = penalties.L1(1.0, weights=jnp.array([0.0, 1, 1, 1, 1, 1]))
    problem = sj.Problem(X, y, losses.Quantile(LEVEL, weights), penalty)
    largest = float(sj.strength_max(problem))
    for factor, is_left in ((1 + 1e-6, False), (1 - 1e-3, True)):
        strong = sj.Problem(X, y, problem.loss, penalty.with_strength(factor * largest))
        coef = sj.solve(strong, tol=1e-10).coef
        assert coef[0] != 0
        assert np.any(coef[1:] != 0) == is_left


@pytest.mark.parametrize(
    ("loss", "penalty", "message"),
    [
        (losses.Equality(), penalties.L1(1.0), "Equality has no strength"),
        (losses.Quantile(LEVEL), penalties.MCP(1.0), "Quantile with MCP"),
        (losses.Quantile(LEVEL), penalties.Box(0.0, 1.0), "Box has no strength"),
    ],
)
def test_what_has_none(loss, penalty, message):
    X, y, _ = _data()
    with pytest.raises(TypeError, match=message):
        sj.strength_max(sj.Problem(X[:P], y[:P], loss, penalty))


def test_ridge_leaves_something_always():
    X, y, _ = _data()
    problem = sj.Problem(X, y, losses.Quantile(LEVEL), penalties.ElasticNet(1.0, 0.0))
    assert float(sj.strength_max(problem)) == np.inf
