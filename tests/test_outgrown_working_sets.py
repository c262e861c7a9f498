"""Supports that no working set holds: the last steps are FISTA's, on all features."""

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import Lasso

import sparsejax as sj
from sparsejax import losses, penalties
from sparsejax.solvers import _widths

pytestmark = pytest.mark.usefixtures("float64")

N, P, WIDEST = 151, 203, 64  # a shape of its own: programs compiled for others have other widths
GROUPS = np.arange(P) // 3


@pytest.fixture(autouse=True)
def _narrow(monkeypatch):
    monkeypatch.setattr(_widths, "_LARGEST", WIDEST)


def _problem(rng, penalty, loss=None, strength_ratio=100.0):
    X = rng.normal(size=(N, P))
    signal = X @ (rng.normal(size=P) * (rng.random(P) < 0.7)) + rng.normal(size=N)
    y = np.sign(signal) if isinstance(loss, losses.Logistic) else signal
    if isinstance(penalty(1.0), penalties.RowL2):
        y = np.stack([y, rng.normal(size=N)], axis=1)
    make = lambda strength: sj.Problem(  # noqa: E731
        X, y, losses.Squared() if loss is None else loss, penalty(strength), fit_intercept=True
    )
    return make(sj.strength_max(make(1.0)) / strength_ratio)


@pytest.mark.parametrize(
    ("penalty", "loss"),
    [
        (penalties.L1, None),
        pytest.param(lambda s: penalties.GroupL2(s, GROUPS), None, marks=pytest.mark.slow),
        (lambda s: penalties.GroupL2(s, np.arange(P) // 100), None),  # wider than any working set
        pytest.param(lambda s: penalties.ElasticNet(s, 0.5), None, marks=pytest.mark.slow),
        pytest.param(penalties.RowL2, None, marks=pytest.mark.slow),
        pytest.param(lambda s: penalties.MCP(s, 3.0), None, marks=pytest.mark.slow),
        (penalties.L1, losses.Logistic()),
    ],
    ids=["L1", "groups", "large groups", "elastic net", "rows", "MCP", "logistic"],
)
def test_support_larger_than_any_working_set(rng, penalty, loss):
    problem = _problem(rng, penalty, loss)
    solution = sj.solve(problem, tol=1e-8)
    assert int(jnp.sum(jnp.any(solution.coef.reshape(P, -1) != 0, axis=1))) > WIDEST
    if problem.penalty.is_convex:
        assert sj.duality_gap(problem, solution.coef) <= 1e-8
    else:
        assert sj.kkt_violation(problem, solution.coef) <= 1e-8


def test_agrees_with_coordinate_descent(rng):
    problem = _problem(rng, penalties.L1)
    strength = float(problem.penalty.strength)
    theirs = Lasso(strength, tol=1e-10, max_iter=100_000).fit(problem.X.features.T, problem.y)
    np.testing.assert_allclose(sj.solve(problem, tol=1e-12).coef, theirs.coef_, atol=1e-5)


def test_a_thousand_iterations_count_as_a_step(rng):
    problem = _problem(rng, penalties.L1, strength_ratio=1e5)
    solution = sj.solve(problem, tol=1e-13, max_steps=4, throw=False)
    assert solution.result == sj.RESULTS.max_steps_reached
    assert int(solution.stats["num_steps"]) == 4
    assert 1000 <= int(solution.stats["num_inner_iterations"]) <= 4000
