"""Hard constraints as least squares: against linear programmes and Clarabel."""

import jax
import numpy as np
import pytest
import scipy.optimize
import scipy.sparse

import sparsejax as sj
from sparsejax import losses, penalties, solvers

pytestmark = pytest.mark.usefixtures("float64")

N, P = 15, 30
GROUPS = np.arange(P) % 7


def _data(seed, n=N, p=P):
    rng = np.random.default_rng(seed)
    X, w = rng.normal(size=(n, p)), np.zeros(p)
    w[:3] = 1.0, 2.0, 0.5
    return X, X @ w


def _linear_programme(X, y, cost):
    return scipy.optimize.linprog(np.tile(cost, 2), A_eq=np.hstack([X, -X]), b_eq=y, method="highs")


def test_basis_pursuit():
    """Sparse and dense solutions, factors of which some are zero or infinite, a warm start."""
    rng = np.random.default_rng(0)
    for seed in range(4):
        X, y = _data(seed)
        y = y if seed % 2 else rng.normal(size=N)
        weights = rng.uniform(0.5, 2.0, P)
        weights[5:7] = 0.0, np.inf
        cost = np.where(np.isinf(weights), 1e6, weights)
        problem = sj.Problem(X, y, losses.Equality(), penalties.L1(0.5, weights=weights))
        assert isinstance(solvers.Auto().choose(problem), solvers.Bregman)
        solution = sj.solve(problem, tol=1e-12, init=np.zeros(P))
        best = _linear_programme(X, y, cost).fun / 2
        np.testing.assert_allclose(solution.objective, best, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(X @ solution.coef, y, atol=1e-12)
        assert np.sum(np.asarray(solution.coef) != 0) <= N
        assert solution.coef[6] == 0
        again = sj.solve(problem, tol=1e-12, init=1.1 * solution.coef)
        np.testing.assert_allclose(again.coef, solution.coef, atol=1e-10)


def test_transport_on_a_cycle():
    """A sparse design of dependent rows."""
    m = 12
    div = scipy.sparse.csr_array(np.eye(m) - np.roll(np.eye(m), 1, axis=0))
    mass = np.zeros(m)
    mass[[0, 5]] = 1.0, -1.0
    solution = sj.solve(sj.Problem(div, mass, losses.Equality(), penalties.L1(1.0)))
    np.testing.assert_allclose(solution.objective, 5.0, rtol=1e-8)


def test_many_sparse_constraints_are_for_primal_dual():
    for rows, solver in ((128, solvers.Bregman), (129, solvers.PrimalDual)):
        design = scipy.sparse.eye_array(rows, format="csr")
        for X, expected in ((design, solver), (design.toarray(), solvers.Bregman)):
            problem = sj.Problem(X, np.ones(rows), losses.Equality(), penalties.L1(1.0))
            assert isinstance(solvers.Auto().choose(problem), expected)
    for rows, features in ((129, 8 * 129 - 1), (513, 8 * 513)):
        wide = scipy.sparse.eye_array(rows, features, format="csr")
        problem = sj.Problem(wide, np.ones(rows), losses.Equality(), penalties.L1(1.0))
        assert isinstance(solvers.Auto().choose(problem), solvers.PrimalDual)
    wide = scipy.sparse.eye_array(512, 8 * 512, format="csr")
    problem = sj.Problem(wide, np.ones(512), losses.Equality(), penalties.L1(1.0))
    assert isinstance(solvers.Auto().choose(problem), solvers.Bregman)


@pytest.mark.slow
def test_groups_end_in_the_limit():
    """An intercept, and rows that are free."""
    cp = pytest.importorskip("cvxpy")
    for seed in range(2):
        X, y = _data(seed)
        y += 0.7
        loss = losses.Equality((np.arange(N) < 10) * 1.0)
        problem = sj.Problem(X, y, loss, penalties.GroupL2(0.3, GROUPS), True)
        solution = sj.solve(problem, tol=1e-9)
        w, b = cp.Variable(P), cp.Variable()
        sizes = np.sqrt(np.bincount(GROUPS))
        norms = [size * cp.norm(w[g == GROUPS]) for g, size in enumerate(sizes)]
        peer = cp.Problem(cp.Minimize(0.3 * sum(norms)), [X[:10] @ w + b == y[:10]])
        peer.solve(cp.CLARABEL, tol_gap_rel=1e-10, tol_feas=1e-10)
        np.testing.assert_allclose(solution.objective, peer.value, rtol=1e-7)
        predictions = X @ solution.coef + solution.intercept
        np.testing.assert_allclose(predictions[:10], y[:10], atol=1e-8)


@pytest.mark.slow
def test_derivatives():
    X, y = _data(0)
    y_dot = np.random.default_rng(1).normal(size=N)

    def coef(y):
        return sj.solve(sj.Problem(X, y, losses.Equality(), penalties.L1(1.0)), tol=1e-11).coef

    y = y + 0.1 * np.random.default_rng(2).normal(size=N)  # a basis of N columns
    tangent = jax.jvp(coef, (y,), (y_dot,))[1]
    expected = (coef(y + 1e-6 * y_dot) - coef(y - 1e-6 * y_dot)) / 2e-6
    np.testing.assert_allclose(tangent, expected, atol=1e-6)


@pytest.mark.slow
def test_single_precision():
    X, y = (a.astype(np.float32) for a in _data(0))
    problem = sj.Problem(X, y, losses.Equality(), penalties.L1(np.float32(1.0)))
    solution = sj.solve(problem, tol=1e-5)
    assert solution.coef.dtype == np.float32
    np.testing.assert_allclose(solution.coef[:3], [1.0, 2.0, 0.5], atol=1e-4)


@pytest.mark.parametrize(
    ("loss", "penalty", "shape", "message"),
    [
        (losses.Squared(), penalties.L1(1.0), (), "takes Equality, not Squared"),
        (losses.Equality(), penalties.SLOPE(np.ones(P)), (), "SLOPE: use PrimalDual"),
        (losses.Equality(), penalties.MCP(1.0), (), "does not support MCP"),
        (losses.Equality(), penalties.L1(1.0), (2,), "takes one target"),
    ],
)
def test_refuses(loss, penalty, shape, message):
    problem = sj.Problem(np.ones((N, P)), np.ones((N, *shape)), loss, penalty)
    with pytest.raises(TypeError, match=message):
        sj.solve(problem, solvers.Bregman())
