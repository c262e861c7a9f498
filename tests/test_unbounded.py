"""Problems without a minimum: coefficients would grow for ever, and the result says so."""

import jax
import numpy as np
import pytest
from scipy.optimize import linprog

import sparsejax as sj
from sparsejax import losses, penalties, solvers

pytestmark = pytest.mark.usefixtures("float64")

N, P, STRENGTH = 60, 12, 0.05
GROUPS = np.arange(P) // 3


def _data(noise):
    """Classes that the first two features separate if there is no noise."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, P))
    z = X[:, 0] - X[:, 1]
    return X[np.abs(z) > 0.2], np.sign(z + noise * rng.normal(size=N))[np.abs(z) > 0.2]


def _is_separated(X, y):
    """By a linear program: whether some w and b have y·(Xw + b) ≥ 1."""
    rows = -y[:, None] * np.column_stack([X, np.ones(len(y))])
    found = linprog(np.zeros(rows.shape[1]), rows, -np.ones(len(y)), bounds=(None, None))
    return found.status == 0


def _problem(X, y, penalty, loss=None):
    return sj.Problem(
        X, y, loss=losses.Logistic() if loss is None else loss, penalty=penalty, fit_intercept=True
    )


@pytest.mark.parametrize(
    ("penalty", "solver"),
    [
        (penalties.MCP(STRENGTH), None),
        (penalties.MCP(STRENGTH), solvers.MultiStage()),
        (penalties.Grouped(penalties.MCP(STRENGTH), GROUPS), None),
        (penalties.Cardinality(3), None),
    ],
    ids=["mcp", "stages", "groups", "cardinality"],
)
def test_separated_classes_have_no_minimum(penalty, solver):
    X, y = _data(0.0)
    problem = _problem(X, y, penalty)
    found = sj.solve(problem, solver, throw=False)
    assert found.result == sj.RESULTS.unbounded
    assert found.stats["num_steps"] < 1000
    assert _is_separated(X[:, np.asarray(found.coef) != 0], y)
    # The proof: it only gets better further out.
    values = [
        float(sj.objective(problem, length * found.coef, length * found.intercept))
        for length in (1.0, 2.0, 10.0)
    ]
    assert values[0] > values[1] > values[2]
    with pytest.raises(RuntimeError, match="There is no minimum"):
        sj.solve(problem, solver)


def test_several_classes():
    X, _ = _data(0.0)
    classes = np.eye(3)[np.digitize(X[:, 0] - X[:, 1], [-1.0, 1.0])]
    problem = _problem(X, classes, penalties.Rows(penalties.MCP(0.02)), losses.Multinomial())
    assert sj.solve(problem, throw=False).result == sj.RESULTS.unbounded


@pytest.mark.parametrize(
    ("noise", "penalty", "loss"),
    [
        (2.0, penalties.MCP(STRENGTH), losses.Logistic()),  # classes overlap
        (0.0, penalties.LogSum(STRENGTH, 0.1), losses.Logistic()),  # grows for ever
        (0.0, penalties.MCP(STRENGTH), losses.SquaredHinge()),  # has minima at finite margins
    ],
    ids=["overlap", "log-sum", "squared-hinge"],
)
def test_others_have_one(noise, penalty, loss):
    X, y = _data(noise)
    found = sj.solve(_problem(X, y, penalty, loss), throw=False)
    assert found.result == sj.RESULTS.successful
    assert np.count_nonzero(found.coef) > 0


def test_squared_hinge_ends_at_finite_margins():
    """Where rounding lets the loss fall a little from there on, towards none."""
    rng = np.random.default_rng(9)
    X = rng.normal(size=(60, 30))
    y = np.sign(X @ rng.normal(size=30) + 0.3)
    problem = _problem(X, y, penalties.MCP(1.0), losses.SquaredHinge())
    found = sj.path(problem, num=20, tol=1e-9, throw=False)
    assert np.all(np.asarray(found.results == sj.RESULTS.successful))
    assert _is_separated(X[:, np.asarray(found.coefs)[-1] != 0], y)


def test_path_is_told_strength_by_strength():
    """Where the penalty keeps the classes from being separated there is a solution."""
    X, y = _data(0.0)
    found = sj.path(_problem(X, y, penalties.MCP(1.0)), num=8, throw=False)
    unbounded = np.asarray(found.results == sj.RESULTS.unbounded)
    successful = np.asarray(found.results == sj.RESULTS.successful)
    assert unbounded.any()
    assert successful.any()
    assert (unbounded | successful).all()
    for coef in np.asarray(found.coefs)[unbounded]:
        assert _is_separated(X[:, coef != 0], y)


def test_parameters_of_a_loss_with_an_intercept_are_checked_on_a_path():
    X, y = _data(0.0)

    @jax.jit
    def results(delta):
        problem = _problem(X, y, penalties.L1(1.0), losses.Huber(delta))
        return sj.path(problem, strengths=np.array([0.1]), throw=False).results

    assert np.all(np.asarray(results(0.5) == sj.RESULTS.successful))
    assert np.all(np.asarray(results(-0.5) == sj.RESULTS.invalid))
