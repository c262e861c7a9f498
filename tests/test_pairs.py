"""Losses with penalties: every kind of pair that `Auto` takes, against an interior-point method.

One compilation a pair: all data sets have the same shapes, sample weights and an offset.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
import reference

import sparsejax as sj
from sparsejax import losses, penalties
from sparsejax._certificate import objective_at_zero
from sparsejax._problem import project_intercept

pytestmark = pytest.mark.usefixtures("float64")

N, P, TASKS = 25, 12, 3
TOL = 1e-9
GROUPS = np.array([0, 3, 1, 0, 2, 0, 3, 1, 0, 2, 0, 1])  # of sizes 5, 3, 2, 2
SQRT = np.sqrt(np.bincount(GROUPS))

LOSSES = {
    "squared": losses.Squared,
    "huber": lambda w: losses.Huber(0.7, w),
    "logistic": losses.Logistic,
    "poisson": losses.Poisson,
    "gamma": losses.Gamma,
    "squared-hinge": losses.SquaredHinge,
    "cox": lambda w: losses.Cox("breslow", w),
    "multinomial": losses.Multinomial,
}
PENALTIES = {
    "l1": penalties.L1,
    "elastic-net": lambda s: penalties.ElasticNet(s, 0.6),
    "group-l2": lambda s: penalties.GroupL2(s, GROUPS, SQRT),
    "sparse-group": lambda s: penalties.SparseGroup(s, GROUPS, 0.4),
    "group-linf": lambda s: penalties.GroupLinf(s, GROUPS),
    "slope": lambda s: penalties.SLOPE(s * np.linspace(1.0, 0.2, P)),
    "total-variation": penalties.TotalVariation,
    "fused-lasso": lambda s: penalties.FusedLasso(s, 0.4),
    "row-l2": penalties.RowL2,
    "nuclear": penalties.Nuclear,
}
# loss, penalty, whether there is an intercept
PAIRS = [
    ("squared", "group-l2", True),
    ("squared", "group-linf", True),
    ("squared", "slope", False),
    ("squared", "total-variation", False),
    ("squared", "fused-lasso", True),
    ("huber", "slope", True),
    ("huber", "sparse-group", False),
    ("logistic", "l1", True),
    ("logistic", "group-l2", True),
    ("logistic", "total-variation", True),
    ("poisson", "elastic-net", True),
    ("poisson", "group-l2", True),
    ("gamma", "sparse-group", True),
    ("gamma", "fused-lasso", False),
    ("squared-hinge", "elastic-net", False),
    ("squared-hinge", "group-linf", True),
    ("cox", "l1", False),
    ("cox", "group-l2", False),
]
SEVERAL = [
    (loss, penalty, True)
    for loss in ("squared", "multinomial")
    for penalty in ("l1", "row-l2", "nuclear")
]


def _targets(name, rng, z):
    """Targets whose mean depends on the predictions z."""
    noise = rng.normal(size=z.shape)
    if name in ("logistic", "squared-hinge"):
        return np.where(z + noise > 0, 1.0, -1.0)
    if name == "poisson":
        return rng.poisson(np.exp(z / 2)).astype(float)
    if name == "gamma":
        return rng.gamma(2.0, np.exp(z / 2) / 2)
    if name == "cox":
        times = np.ceil(5 * rng.exponential(np.exp(-z / 2)))  # with ties
        return np.column_stack([times, rng.random(N) < 0.7])
    if name == "multinomial":
        return np.eye(TASKS)[np.argmax(z + noise, axis=1)]
    return z + noise + 0.5


def _data(name, seed, shape=()):
    """X, y, sample weights and an offset."""
    rng = np.random.default_rng(seed)
    X, w = rng.normal(size=(N, P)), np.zeros((P, *shape))
    w[GROUPS == 0] = rng.normal(size=(5, *shape))
    y = _targets(name, rng, X @ w)
    return X, y, rng.uniform(0.5, 2.0, N), 0.3 * rng.normal(size=(N, *shape))


def _problem(loss, penalty, intercept, data, strength):
    X, y, weights, offset = data
    made = PENALTIES[penalty](jnp.asarray(strength))
    return sj.Problem(X, y, LOSSES[loss](weights), made, intercept, offset)


@eqx.filter_jit
def _unit(problem):
    """What gaps are relative to."""
    return objective_at_zero(project_intercept(problem)[0])


def _largest(problem):
    """strength_max, or an estimate for what has none."""
    if hasattr(problem.penalty, "strength_max"):
        return float(sj.strength_max(problem))
    return 0.3


def _is_null(problem, coef):
    coef = np.asarray(coef)
    return np.ptp(coef) == 0 if problem.penalty.null_space(P) is not None else not np.any(coef)


def _check_pair(loss, penalty, intercept, shape=()):
    pytest.importorskip("cvxpy")
    for seed, ratio in ((0, 0.3), (1, 0.05)):
        data = _data(loss, seed, shape)
        problem = _problem(loss, penalty, intercept, data, 1.0)
        largest = _largest(problem)
        problem = _problem(loss, penalty, intercept, data, ratio * largest)
        unit, best = float(_unit(problem)), reference.optimum_of(data[0], problem)
        solution = sj.solve(problem, tol=TOL)
        assert solution.result == sj.RESULTS.successful
        assert solution.gap <= TOL
        value = reference.value(problem.penalty, np.asarray(solution.coef))
        predictions = data[0] @ solution.coef + solution.intercept + data[3]
        value += reference.loss_value(problem.loss, predictions, np.asarray(problem.y))
        np.testing.assert_allclose(solution.objective, value, rtol=1e-10)
        np.testing.assert_allclose(value, best, atol=1e-7 * max(unit, abs(best)))
        assert solution.kkt < 1e-3
        if intercept:
            gradient = problem.loss.gradient(predictions, problem.y)
            np.testing.assert_allclose(jnp.sum(gradient, axis=0), 0, atol=1e-12)
        for steps in (0, 1, 2):  # however early: no certificate promises too much
            early = sj.solve(problem, tol=TOL, max_steps=steps, throw=False)
            assert early.gap * unit >= float(early.objective) - best - 1e-8 * max(unit, abs(best))
        if hasattr(problem.penalty, "strength_max") and np.isfinite(largest):
            for factor, is_null in ((1 + 1e-6, True), (0.99, False)):
                problem = _problem(loss, penalty, intercept, data, factor * largest)
                coef = sj.solve(problem, tol=TOL).coef
                assert _is_null(problem, coef) == is_null


@pytest.mark.parametrize(("loss", "penalty", "intercept"), PAIRS)
def test_pair(loss, penalty, intercept):
    _check_pair(loss, penalty, intercept)


@pytest.mark.parametrize(("loss", "penalty", "intercept"), SEVERAL)
def test_pair_of_several_targets(loss, penalty, intercept):
    _check_pair(loss, penalty, intercept, (TASKS,))
