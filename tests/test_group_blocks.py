"""Sweeps over blocks of groups."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

import sparsejax as sj
from sparsejax._certificate import iterate_at
from sparsejax._symmetric import lower_inner_gram
from sparsejax.solvers import FISTA, GramCoordinateDescent, GramFISTA
from sparsejax.solvers._group_blocks import GroupBlocks, has_blocks
from sparsejax.solvers._kept import KeptColumns
from sparsejax.solvers._semismooth_newton import _approach_of
from sparsejax.solvers._working_set import restrict

pytestmark = pytest.mark.usefixtures("float64")

N, SIZES = 12, (3, 1, 40, 7, 2, 11, 5, 3)
WEIGHTS = np.array([1.0, 0.0, 5.0, np.inf, 1.0, 2.0, 1.0, 0.5])
LABELS = np.repeat(np.arange(len(SIZES)), SIZES)


@pytest.fixture(name="data")
def _data(rng):
    X = rng.normal(size=(N, len(LABELS))) * rng.uniform(0.5, 2.0, len(LABELS))
    return X, X[:, ::5].sum(1) + rng.normal(size=N)


def _small(data, penalty, width=80):
    """All features as a working set by columns, with padding."""
    problem = sj.Problem(*data, penalty=penalty)
    kept = KeptColumns.empty(problem, width)
    chosen = jnp.arange(width, dtype=jnp.int32)
    kept = kept.formed(problem, jnp.where(chosen < len(LABELS), chosen, len(LABELS)))
    start = iterate_at(problem, jnp.zeros(len(LABELS)))
    return problem, restrict(problem, start, kept, jnp.array(0), (width,))


@pytest.mark.parametrize("l1_ratio", [0.0, 0.4])
@pytest.mark.slow
def test_sweeps_alone_find_the_solution(data, l1_ratio):
    """Unequal groups, one wider than a block, one free, one forbidden; single features too."""
    penalty = sj.penalties.SparseGroup(0.05, LABELS, l1_ratio, WEIGHTS)
    problem, small = _small(data, penalty)
    descent = GramCoordinateDescent(max_iterations=4000)
    coef, sweeps = jax.jit(descent.solve_gram)(small, jnp.array(1e-13))
    coef = coef[: len(LABELS)]
    assert sweeps < 4000
    known = sj.solve(problem, FISTA(), tol=1e-10)
    np.testing.assert_allclose(sj.objective(problem, coef), known.objective, rtol=1e-9)
    np.testing.assert_allclose(coef, known.coef, atol=1e-3)
    np.testing.assert_array_equal(coef[LABELS == 3], 0.0)


def test_a_block_is_minimised_over(data):
    """Many visits to one block end where SciPy's minimiser of that block does."""
    X, y = data
    _, small = _small(data, sj.penalties.GroupL2(0.05, LABELS, np.ones(len(SIZES))))
    blocks = GroupBlocks(small)
    own = np.asarray(blocks.belongs(jnp.array(0)))
    groups = LABELS[own[: len(LABELS)]]
    rows, pull = np.flatnonzero(own), np.asarray(small.pull * small.unit)[: blocks.width]
    assert set(groups) == {0, 1, 2}  # whatever begins there, whole

    def objective(w):
        fit = np.sum((y - X[:, rows] @ w) ** 2) / (2 * N)
        return fit + 0.05 * sum(np.linalg.norm(w[groups == g]) for g in range(3))

    gram = np.asarray(blocks.grams[0])
    coef = np.zeros(blocks.width)
    visit = jax.jit(lambda *at: blocks.change(*at))
    for _ in range(400):
        coef = coef + np.asarray(visit(jnp.array(0), pull - gram @ coef, coef))
    np.testing.assert_array_equal(coef[~own], 0.0)
    best = scipy.optimize.minimize(objective, coef[rows] + 0.01, tol=1e-12)
    assert objective(coef[rows]) <= best.fun + 1e-9


def test_steps_of_opposite_features(data):
    """A start of the power iteration with some symmetry would see no curvature at all."""
    X, y = data
    X[:, 1:44:2] = -X[:, 0:44:2]  # all of the first block
    _, small = _small((X, y), sj.penalties.GroupL2(0.05, LABELS))
    blocks = GroupBlocks(small)
    largest = np.linalg.eigvalsh(blocks.grams).max(axis=1)
    assert np.all(blocks.steps[: blocks.count] * largest[: blocks.count] < 2)


def test_who_sweeps(data, monkeypatch):
    """Rows of a group must be adjacent, groups not huge, and products small ones welcome."""
    _, small = _small(data, sj.penalties.GroupL2(0.05, LABELS))
    assert has_blocks(small)
    assert isinstance(_approach_of(small), GramCoordinateDescent)
    monkeypatch.setattr("sparsejax.solvers._group_blocks._LARGEST", 39)
    assert isinstance(_approach_of(small), GramFISTA)
    monkeypatch.undo()
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert isinstance(_approach_of(small), GramFISTA)


@pytest.mark.parametrize("count", [0, 5, 200, 256])
def test_gram_matrix_of_the_rows_in_use(count):
    """The lower triangle of rowsᵀ·rows, for an odd number of columns; rows beyond are zero."""
    rows = np.random.default_rng(0).normal(size=(256, 33)) * (np.arange(256) < count)[:, None]
    found = jax.jit(lower_inner_gram)(rows, jnp.array(count))
    np.testing.assert_allclose(np.tril(found), np.tril(rows.T @ rows), atol=1e-12)
