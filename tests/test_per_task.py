"""A design for each task, and penalties of matrices whose entries are a vector."""

import cvxpy as cp
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax import designs, losses, penalties, solvers
from sparsejax.solvers._convex import convex_solver

pytestmark = pytest.mark.usefixtures("float64")

N, P, TASKS = 40, 5, 4


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, P))
    tasks = rng.permutation(np.r_[np.arange(TASKS), rng.integers(0, TASKS - 1, N - TASKS)])
    W = rng.normal(size=(P, 2)) @ rng.normal(size=(2, TASKS))
    y = np.sum(X * W.T[tasks], axis=1) + 0.3 * rng.normal(size=N)
    return X, tasks, y, rng.uniform(0.5, 2, N)


def test_equals_its_dense_matrix(data, rng):
    X, tasks, _, weights = data
    design = designs.PerTask(X, tasks)
    dense = np.zeros((N, P * TASKS))
    for i, t in enumerate(tasks):
        dense[i, t::TASKS] = X[i]
    w, r = rng.normal(size=P * TASKS), rng.normal(size=N)
    np.testing.assert_allclose(design.matvec(jnp.asarray(w)), dense @ w)
    np.testing.assert_allclose(design.rmatvec(jnp.asarray(r)), dense.T @ r)
    np.testing.assert_allclose(design.square_norms(jnp.asarray(weights)), weights @ dense**2)
    chosen = jnp.array([3, P * TASKS, 17, P * TASKS + 9])
    padded = np.pad(dense, ((0, 0), (0, 10)))
    np.testing.assert_array_equal(design.columns(chosen), padded[:, chosen].T)
    np.testing.assert_array_equal(design.by_task(jnp.asarray(X))[1, -1], np.zeros(P))


@pytest.mark.slow
def test_trace_norm_against_an_interior_point_method(data):
    """One task has a single sample, so its coefficients are learnt from the others."""
    X, tasks, y, weights = data
    loss, design = losses.Squared(weights), designs.PerTask(X, tasks)
    largest = sj.strength_max(sj.Problem(design, y, loss, penalties.Nuclear(1.0, (P, TASKS))))

    @jax.jit
    def fitted(strength):
        problem = sj.Problem(design, y, loss, penalties.Nuclear(strength, (P, TASKS)))
        return sj.solve(problem, solvers.VarPro(), tol=1e-10)

    ranks = []
    for ratio in (1.001, 0.9, 0.05):
        strength = float(ratio * largest)
        solution = fitted(strength)
        W = cp.Variable((P, TASKS))
        residual = y - cp.sum(cp.multiply(X, W.T[tasks]), axis=1)
        scaled = cp.multiply(np.sqrt(weights / weights.sum()), residual)
        peer = cp.Problem(cp.Minimize(cp.sum_squares(scaled) / 2 + strength * cp.normNuc(W)))
        peer.solve(cp.CLARABEL, tol_gap_abs=1e-12, tol_gap_rel=1e-12)
        np.testing.assert_allclose(solution.objective, peer.value, rtol=1e-7)
        np.testing.assert_allclose(solution.coef.reshape(P, TASKS), W.value, atol=1e-4)
        rank = np.linalg.matrix_rank(W.value, tol=1e-4)
        assert np.linalg.matrix_rank(solution.coef.reshape(P, TASKS)) == rank
        ranks.append(int(rank))
    assert ranks == sorted(set(ranks))
    step = 1e-4 * strength
    difference = (fitted(strength + step).coef - fitted(strength - step).coef) / (2 * step)
    slope = jax.jvp(lambda s: fitted(s).coef, (strength,), (1.0,))[1]
    np.testing.assert_allclose(slope, difference, atol=1e-5 * np.abs(difference).max())


def test_solver_of_choice(data):
    X, tasks, y, _ = data
    penalty = penalties.Nuclear(0.1, (P, TASKS))
    design = designs.PerTask(X, tasks)
    assert isinstance(convex_solver(sj.Problem(design, y, None, penalty)), solvers.VarPro)
    with pytest.raises(TypeError, match=r"with designs.PerTask: use FISTA"):
        sj.solve(sj.Problem(X, y, None, penalties.Nuclear(0.1, (P, 1))), solvers.VarPro())


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.slow
def test_centred(data, intercept):
    """An intercept, or means that are not those of the weighted samples: FISTA finds the same."""
    X, tasks, y, weights = data
    design = designs.PerTask(X + 1, tasks)
    if not intercept:
        design = designs.Standardised(design, jnp.arange(P * TASKS) / 10)
    penalty = penalties.Nuclear(0.1, (P, TASKS))
    problem = sj.Problem(design, y + 5, losses.Squared(weights), penalty, intercept)
    solution = sj.solve(problem, tol=1e-12)
    assert solution.stats.solver == "VarPro"
    peer = sj.solve(problem, solvers.FISTA(), tol=1e-12)
    np.testing.assert_allclose(solution.objective, peer.objective, rtol=1e-11)
    np.testing.assert_allclose(solution.coef, peer.coef, atol=1e-5)
    np.testing.assert_allclose(solution.intercept, peer.intercept, atol=1e-5)
    assert (solution.intercept != 0) == intercept


@pytest.mark.parametrize(
    "make",
    [
        lambda shape: penalties.Nuclear(0.5, shape),
        lambda shape: penalties.Schatten(0.5, 1.5, shape),
        lambda shape: penalties.Spectral(penalties.MCP(0.5), shape),
    ],
)
def test_entries_in_a_row_are_the_matrix(make, rng):
    """Of all functions of singular values; as with incomplete matrices, of which entries are X."""
    W, C = rng.normal(size=(2, P, TASKS))
    flat, whole = make((P, TASKS)), make(None)
    np.testing.assert_allclose(flat.value(W.reshape(-1)), whole.value(W))
    np.testing.assert_allclose(flat.prox(W.reshape(-1), 0.7), whole.prox(W, 0.7).reshape(-1))
    np.testing.assert_allclose(
        flat.subdiff_distance(W.reshape(-1), C.reshape(-1)),
        whole.subdiff_distance(W, C).reshape(-1),
    )
    np.testing.assert_allclose(
        flat.fenchel_gap(W.reshape(-1), C.reshape(-1)), whole.fenchel_gap(W, C)
    )
    with pytest.raises(ValueError, match="`shape` \\(2, 3\\) has 6 entries, but there are 4"):
        sj.Problem(np.eye(4), np.ones(4), penalty=make((2, 3)))


@pytest.mark.parametrize(
    ("X", "tasks", "message"),
    [
        (np.ones(3), [0, 0, 0], "`X` must be a matrix"),
        (np.full((2, 2), np.nan), [0, 0], "`X`"),
        (np.ones((3, 2)), [0, 1], "`tasks` must be 3 integer labels"),
        (np.ones((2, 2)), [0.0, 1.0], "`tasks` must be 2 integer labels"),
        (np.ones((2, 2)), [0, 2], "every label from 0"),
        (np.ones((2, 2)), [-1, 0], "every label from 0"),
    ],
)
def test_bad_input(X, tasks, message):
    with pytest.raises(ValueError, match=message):
        designs.PerTask(X, tasks)
