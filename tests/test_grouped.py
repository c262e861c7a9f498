"""Concave penalties of the lengths of groups."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
import scipy.optimize

import sparsejax as sj
from sparsejax import losses, penalties, solvers

pytestmark = pytest.mark.usefixtures("float64")

N, P = 40, 60
GROUPS = np.arange(P) % 15  # interleaved groups of four
CASES = {
    "mcp": lambda s: penalties.MCP(s, 3.0),
    "scad": lambda s: penalties.SCAD(s, 3.7),
    "capped-l1": lambda s: penalties.CappedL1(s, 1.0),
    "log-sum": lambda s: penalties.LogSum(s, 0.5),
    "lq": lambda s: penalties.Lq(s, 0.5),
}


def _data(seed=0):
    rng = np.random.default_rng(seed)
    X, w = rng.normal(size=(N, P)), np.zeros(P)
    w[GROUPS < 3] = rng.normal(size=12) + 1
    y = X @ w + 0.3 * rng.normal(size=N)
    lengths = np.sqrt(np.bincount(GROUPS, (X.T @ y / N) ** 2))
    return X, y, np.max(lengths) / 2  # the default weights are √4


@pytest.mark.parametrize(
    "make",
    [CASES["mcp"], *(pytest.param(CASES[n], marks=pytest.mark.slow) for n in CASES if n != "mcp")],
)
def test_prox_against_brute_force(make):
    """Over the length along v, and over other directions by a minimiser begun in many places."""
    penalty, rng = penalties.Grouped(make(0.6), [0, 1, 0], [1.3, 0.7]), np.random.default_rng(0)
    profile = [lambda t, c=c: c * reference.concave_profile(make(0.6), t) for c in (1.3, 0.7)]

    def cost(u, v):
        value = profile[0](np.hypot(u[0], u[2])) + profile[1](abs(u[1]))
        return np.sum((u - v) ** 2) / 2 + 0.8 * value

    for _ in range(4):
        v = 2 * rng.normal(size=3)
        u = np.asarray(penalty.prox(jnp.asarray(v), 0.8))
        starts = [*rng.normal(size=(5, 3)), v, u + 1e-3, 0 * v]
        rivals = [scipy.optimize.minimize(cost, s, (v,), "Nelder-Mead").fun for s in starts]
        assert cost(u, v) <= min(rivals) + 1e-9
        np.testing.assert_allclose(penalty.value(jnp.asarray(v)), (cost(v, v)) / 0.8, rtol=1e-12)


@pytest.mark.parametrize(
    "solver",
    [None, pytest.param(solvers.MultiStage(), marks=pytest.mark.slow)],
    ids=["auto", "stages"],
)
@pytest.mark.parametrize("name", ["mcp", pytest.param("scad", marks=pytest.mark.slow)])
def test_solutions_are_stationary(name, solver):
    """By the definition: −∇loss is the slope times the direction, or no longer than that."""
    X, y, largest = _data()
    strength = 0.1 * largest
    penalty = penalties.Grouped(CASES[name](strength), GROUPS)
    solution = sj.solve(sj.Problem(X, y, penalty=penalty), solver, tol=1e-7)
    assert solution.kkt <= 1e-7
    assert np.isnan(solution.gap)
    coef = np.asarray(solution.coef)
    pull, h = X.T @ (y - X @ coef) / N, 1e-7
    for group in range(15):
        w, c = coef[group == GROUPS], pull[group == GROUPS]
        length = np.linalg.norm(w)
        profile = lambda t: 2 * reference.concave_profile(CASES[name](strength), t)  # noqa: E731
        slope = (profile(length + h) - profile(max(length - h, 0))) / (min(length, h) + h)
        if length > 0:
            np.testing.assert_allclose(c, slope * w / length, atol=1e-5 * strength)
        else:
            assert np.linalg.norm(c) <= slope + 1e-5 * strength
    moving = {int(group) for group in GROUPS[coef != 0]}
    assert {0, 1, 2} <= moving < set(range(15))
    assert np.count_nonzero(coef) == 4 * len(moving)  # whole groups


def test_relaxation_touches_from_above():
    penalty = penalties.Grouped(penalties.MCP(0.5, 3.0), [0, 0, 1], [1.0, 2.0])
    rng = np.random.default_rng(0)
    at = jnp.array([0.3, -0.4, 0.2])
    touching = penalty.touching(at)
    below = penalty.value(at) - touching.value(at)
    for w in rng.normal(size=(50, 3)):
        assert penalty.value(jnp.asarray(w)) <= touching.value(jnp.asarray(w)) + below + 1e-12


@pytest.mark.slow
def test_groups_of_one_are_coefficients():
    X, y, largest = _data()
    plain = penalties.MCP(0.2 * largest)
    start = sj.solve(sj.Problem(X, y, penalty=plain), tol=1e-9).coef
    grouped = penalties.Grouped(plain, np.arange(P))
    solution = sj.solve(sj.Problem(X, y, penalty=grouped), tol=1e-8, init=start)
    np.testing.assert_allclose(solution.coef, start, atol=1e-7)
    problem = sj.Problem(X, y, penalty=grouped)
    np.testing.assert_allclose(sj.strength_max(problem), np.max(np.abs(X.T @ y)) / N, rtol=1e-12)


def test_zero_and_infinite_weights():
    X, y, largest = _data()
    weights = np.full(15, 2.0)
    weights[0], weights[9] = np.inf, 0.0
    penalty = penalties.Grouped(penalties.MCP(0.1 * largest), GROUPS, weights)
    problem = sj.Problem(X, y, losses.Squared(), penalty, fit_intercept=True)
    solution = sj.solve(problem, tol=1e-7)
    residual = y - X @ solution.coef - solution.intercept
    assert not np.any(solution.coef[GROUPS == 0])
    np.testing.assert_allclose(X[:, GROUPS == 9].T @ residual / N, 0, atol=1e-7 * largest)


@pytest.mark.slow
def test_derivative_with_respect_to_the_strength():
    X, y, largest = _data()
    middle = None

    def total(strength):
        penalty = penalties.Grouped(penalties.MCP(strength, 20.0), GROUPS)
        problem = sj.Problem(X, y, penalty=penalty)
        return jnp.sum(sj.solve(problem, tol=1e-11, init=middle).coef * jnp.arange(P))

    at = 0.1 * largest
    problem = sj.Problem(X, y, penalty=penalties.Grouped(penalties.MCP(at, 20.0), GROUPS))
    middle = sj.solve(problem, tol=1e-11).coef
    h = 1e-5 * at
    expected = (total(at + h) - total(at - h)) / (2 * h)
    np.testing.assert_allclose(jax.grad(total)(at), expected, rtol=1e-4)


def test_refusals():
    with pytest.raises(TypeError, match=r"`penalty` must be MCP.*got L0"):
        penalties.Grouped(penalties.L0(1.0), [0, 1])
    with pytest.raises(ValueError, match="`weights`"):
        penalties.Grouped(penalties.MCP(1.0), [0, 1], [1.0, -1.0])
    penalty = penalties.Grouped(penalties.Lq(0.1, 0.5), [0, 0, 1])
    problem = sj.Problem(np.eye(3), np.ones(3), penalty=penalty)
    with pytest.raises(TypeError, match="slope at zero is infinite"):
        sj.solve(problem, solvers.MultiStage())
    with pytest.raises(TypeError, match="WorkingSet does not support Grouped"):
        sj.solve(problem, solvers.WorkingSet())
