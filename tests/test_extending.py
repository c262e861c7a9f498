"""The page on penalties and losses of one's own: its two files do what it says."""

import sys
from functools import partial
from pathlib import Path

import cvxpy as cp
import jax
import numpy as np
import pytest
from pages import blocks

import sparsejax as sj

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "docs" / "examples"))

from own_loss import Expectile
from own_penalty import SignedL1

pytestmark = pytest.mark.usefixtures("float64")
LEVEL, STRENGTH, BELOW = 0.8, 0.05, 2.0


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 8))
    return X, X @ np.array([1.0, -1.0, 0.5, 0, 0, 0, 0, 0]) + 0.3 * rng.normal(size=30)


def problem(data, strength):
    return sj.Problem(*data, Expectile(LEVEL), SignedL1(strength, BELOW), fit_intercept=True)


@pytest.fixture(scope="module")
def fit(data):
    """Of a strength: the squared norm, its derivative, coefficients and intercept."""

    @jax.jit
    @partial(jax.value_and_grad, has_aux=True)
    def norm(strength):
        solution = sj.solve(problem(data, strength), tol=1e-12)
        return (solution.coef**2).sum(), (solution.coef, solution.intercept)

    def unpacked(strength):
        (value, (coef, intercept)), slope = norm(strength)
        return value, slope, coef, intercept

    return unpacked


def test_solution_is_that_of_cvxpy(data, fit):
    """Of both files at once; a certificate that did not vanish would have raised."""
    X, y = data
    w, b = cp.Variable(8), cp.Variable()
    residual = y - X @ w - b
    loss = LEVEL * cp.sum_squares(cp.pos(residual)) + (1 - LEVEL) * cp.sum_squares(cp.neg(residual))
    charge = STRENGTH * cp.sum(cp.pos(w) + BELOW * cp.neg(w))
    cp.Problem(cp.Minimize(loss / 60 + charge)).solve(cp.CLARABEL, tol_gap_abs=1e-12)
    _, _, coef, intercept = fit(STRENGTH)
    assert 1 <= np.sum(coef != 0) < 8
    np.testing.assert_allclose(coef, w.value, atol=1e-6)
    np.testing.assert_allclose(intercept, b.value, atol=1e-6)


def test_example_is_certified(data, fit):
    """That of the page, to the default tolerance."""
    page = {"sj": sj, "Expectile": Expectile, "SignedL1": SignedL1} | dict(
        zip("Xy", data, strict=True)
    )
    exec(blocks("extending.md")[0], page)
    solution = page["solution"]
    assert 0 <= solution.gap <= 1e-8
    np.testing.assert_allclose(solution.coef, fit(STRENGTH)[2], atol=1e-6)


def test_solution_is_differentiable(fit):
    h = 1e-5
    difference = (fit(STRENGTH + h)[0] - fit(STRENGTH - h)[0]) / (2 * h)
    np.testing.assert_allclose(fit(STRENGTH)[1], difference, rtol=1e-5)


def test_zero_is_optimal_from_the_largest_strength_on(data, fit):
    largest = float(sj.strength_max(problem(data, 1.0)))
    assert not np.any(fit(1.001 * largest)[2])
    assert np.any(fit(0.99 * largest)[2])
