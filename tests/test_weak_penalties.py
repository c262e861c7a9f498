"""Strengths thousands of times below the largest: progress on correlated columns is slow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

import sparsejax as sj
from sparsejax.solvers import Lockstep
from sparsejax.solvers._curvature import Gram
from sparsejax.solvers._gram import GramProblem

pytestmark = pytest.mark.usefixtures("float64")


def _correlated(n, p, nonzeros, rho, tasks=0):
    """Columns that are an AR(1) process, and noisy targets."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(n, p)) * np.sqrt(1 - rho**2)
    X = scipy.signal.lfilter([1.0], [1.0, -rho], noise, axis=1)
    W = np.zeros((p, tasks or 1))
    W[rng.choice(p, nonzeros, replace=False)] = rng.normal(size=(nonzeros, tasks or 1))
    y = X @ W
    y = y + rng.normal(size=y.shape) * np.std(y) / 3
    return X, y if tasks else y[:, 0]


def _at(X, y, penalty, ratio):
    """The problem at a ``ratio``-th of the largest strength."""
    largest = sj.strength_max(sj.Problem(X, y, penalty=penalty(1.0)))
    return sj.Problem(X, y, penalty=penalty(largest / ratio))


@pytest.mark.parametrize(
    ("shape", "ratio"),
    [
        ((500, 2500, 250, 0.9), 1e3),  # supports of nearly n: features come and go for long
        ((100, 100, 5, 0.9), 1e5),  # more iterations of Newton's method than usual
    ],
)
def test_lasso(shape, ratio):
    problem = _at(*_correlated(*shape), sj.penalties.L1, ratio)
    coef = sj.solve(problem, tol=1e-8).coef
    assert sj.duality_gap(problem, coef) <= 1e-8


def test_lasso_in_lockstep():
    problem = _at(*_correlated(300, 1500, 150, 0.9), sj.penalties.L1, 1e3)
    coef = sj.solve(problem, tol=1e-8, solver=Lockstep()).coef
    assert sj.duality_gap(problem, coef) <= 1e-8


@pytest.mark.parametrize("ratio", [3e3, 3e4])
def test_rows(ratio):
    problem = _at(*_correlated(60, 300, 15, 0.99, tasks=4), sj.penalties.RowL2, ratio)
    coef = sj.solve(problem, tol=1e-8).coef
    assert sj.duality_gap(problem, coef) <= 1e-8


@pytest.mark.parametrize("width", [6, 9])
def test_newton_on_rows(rng, width):
    """Of all rows that move and no others, in any scale; against the whole system."""
    rows, scale = rng.normal(size=(9, 12)), rng.uniform(0.5, 2.0, size=9)
    coef = rng.normal(size=(9, 3)) * (np.arange(9) % 3 > 0)[:, None]
    coef[width:] = 0.0
    penalty = sj.penalties.RowL2(0.7, np.where(np.arange(9) == 1, 0.0, 1.0))
    problem = GramProblem(
        Gram(jnp.asarray(rows @ rows.T)), jnp.zeros((9, 3)), jnp.zeros((9, 3)), jnp.asarray(scale),
        penalty, jnp.array(1.0), jnp.ones(9), jnp.array([6, 9].index(width)), (6, 9),
    )  # fmt: skip
    moving = np.flatnonzero(coef.any(axis=1))

    def value(b):
        w = jnp.zeros((9, 3)).at[moving].set(b / scale[moving][:, None])
        return jnp.sum((rows.T @ w) ** 2) / 2 + penalty.value(w)

    b = jnp.asarray(scale[:, None] * coef)[moving]
    system = jax.hessian(value)(b).reshape(b.size, b.size)
    rhs = rng.normal(size=(9, 3))
    expected = np.linalg.solve(system, rhs[moving].reshape(-1)).reshape(b.shape)
    found = problem.solve_rows(jnp.asarray(coef), jnp.asarray(rhs))
    np.testing.assert_allclose(found[moving], expected, rtol=1e-9)
    assert not np.delete(np.asarray(found), moving, axis=0).any()
