"""Working sets: the Gram matrix that is kept from one to the next, and their widths."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from jax.experimental import sparse as jsparse

import sparsejax as sj
from sparsejax._certificate import iterate_at
from sparsejax.penalties._block_matrix import BlockMatrix, Coupling
from sparsejax.solvers import GramFISTA, SemismoothNewton, WorkingSet
from sparsejax.solvers._curvature import Columns, Gram
from sparsejax.solvers._kept import KeptGram
from sparsejax.solvers._widths import possible_widths, wanted_width

pytestmark = pytest.mark.usefixtures("float64")

N, P, WIDTH = 20, 700, 512


def _problem(n, p, rng):
    X = rng.normal(size=(n, p))
    return sj.Problem(X, X[:, 0] + rng.normal(size=n), penalty=sj.penalties.L1(0.01)), X


@pytest.fixture(name="counted")
def _counted(monkeypatch):
    """The numbers of rows computed, one entry a block."""
    rows = []
    block, whole = sj.losses.Squared.gram, sj.losses.Squared.own_gram

    def count(fresh):
        jax.debug.callback(lambda block: rows.append(int((block != 0).any(axis=1).sum())), fresh)

    def gram(self, columns, fresh, y):
        count(fresh)
        return block(self, columns, fresh, y)

    def own_gram(self, columns, y):
        count(columns)
        return whole(self, columns, y)

    monkeypatch.setattr(sj.losses.Squared, "gram", gram)
    monkeypatch.setattr(sj.losses.Squared, "own_gram", own_gram)
    return rows


def _check_gram(kept, X):
    index = kept.index[kept.index < X.shape[1]]
    gram = kept.gram[np.ix_(kept.index < X.shape[1], kept.index < X.shape[1])]
    np.testing.assert_allclose(gram, X[:, index].T @ X[:, index] / len(X), atol=1e-12)


@pytest.fixture(name="exchanged")
def _exchanged(monkeypatch):
    """As if every Gram matrix were dear."""
    monkeypatch.setattr("sparsejax.solvers._kept._CHEAP", 0)


def test_gram_of_a_changed_working_set(rng, counted, exchanged):
    problem, X = _problem(N, P, rng)
    first = jnp.asarray(rng.permutation(P)[:WIDTH], jnp.int32)
    kept = KeptGram.empty(problem, WIDTH).update(problem, first, jnp.array(WIDTH))
    assert set(np.asarray(kept.index)) == set(np.asarray(first))
    _check_gram(kept, X)
    jax.effects_barrier()
    assert sum(counted) == WIDTH
    counted.clear()

    others = np.setdiff1d(np.arange(P), first)[:50]
    second = jnp.asarray(rng.permutation(np.concatenate([first[50:], others])), jnp.int32)
    kept = kept.update(problem, second, jnp.array(WIDTH))
    np.testing.assert_array_equal(np.sort(kept.index), np.sort(second))
    _check_gram(kept, X)
    jax.effects_barrier()
    assert sum(counted) == 50  # what stayed was not computed again


def test_only_what_is_wanted_enters_and_what_matters_least_leaves(rng, counted, exchanged):
    problem, X = _problem(N, P, rng)
    order = jnp.asarray(rng.permutation(P), jnp.int32)
    kept = KeptGram.empty(problem, WIDTH).update(problem, order[:WIDTH], jnp.array(300))
    assert set(np.asarray(kept.index)) == set(np.asarray(order[:300])) | {P}
    jax.effects_barrier()
    assert sum(counted) == 300
    counted.clear()

    # 300 others are wanted, and of those held the last 200 come next: the rest has to leave.
    chosen = jnp.concatenate([order[300:600], order[100:300], order[:12]])
    assert chosen.shape == (WIDTH,)
    kept = kept.update(problem, chosen, jnp.array(300))
    assert set(np.asarray(kept.index)) == set(np.asarray(chosen))
    _check_gram(kept, X)
    jax.effects_barrier()
    assert sum(counted) == 300


def test_gram_is_formed_anew_where_most_is_new(rng, counted, exchanged):
    problem, X = _problem(N, P, rng)
    order = jnp.asarray(rng.permutation(P), jnp.int32)
    kept = KeptGram.empty(problem, WIDTH).update(problem, order[:100], jnp.array(100))
    counted.clear()
    kept = kept.update(problem, order[50 : 50 + WIDTH], jnp.array(WIDTH))
    assert set(np.asarray(kept.index)) == set(np.asarray(order[50 : 50 + WIDTH]))
    _check_gram(kept, X)
    jax.effects_barrier()
    assert sum(counted) == WIDTH


def test_groups_leave_as_a_whole(rng, exchanged):
    """Even where there would be room for part of one."""
    n, p, width = 10, 40, 24
    X = rng.normal(size=(n, p))
    penalty = sj.penalties.GroupL2(0.1, np.arange(p) // 5)
    problem = sj.Problem(X, X[:, 0], penalty=penalty)

    def features(groups):
        index = np.concatenate([np.arange(5 * group, 5 * group + 5) for group in groups])
        return jnp.asarray(np.append(index, np.full(width - len(index), p)), jnp.int32)

    kept = KeptGram.empty(problem, width)
    for groups in ([0, 1, 2, 3], [0, 4, 1, 5], [6, 0]):
        kept = kept.update(problem, features(groups), jnp.array(width))
    assert set(np.asarray(kept.index)) == {*range(5), *range(30, 35), p}
    _check_gram(kept, X)
    assert not np.any(np.asarray(kept.gram)[np.asarray(kept.index) == p])


def test_a_larger_memory_takes_over_what_a_smaller_one_holds(rng, counted, exchanged):
    problem, X = _problem(N, P, rng)
    first = jnp.arange(256, dtype=jnp.int32)
    small = KeptGram.empty(problem, 256).update(problem, first, jnp.array(256))
    jax.effects_barrier()
    counted.clear()
    large = KeptGram.empty(problem, WIDTH).adopt(small)
    _check_gram(large, X)
    chosen = jnp.arange(WIDTH, dtype=jnp.int32)[::-1]
    _check_gram(large.update(problem, chosen, jnp.array(WIDTH)), X)
    jax.effects_barrier()
    assert sum(counted) == 256


def test_gram_of_all_features_is_formed_once(rng, counted):
    problem, X = _problem(N, 40, rng)
    everything = jnp.arange(40, dtype=jnp.int32)
    kept = KeptGram.empty(problem, 40).update(problem, everything, jnp.array(40))
    np.testing.assert_allclose(kept.gram, X.T @ X / N, atol=1e-13)
    np.testing.assert_array_equal(kept.update(problem, everything, jnp.array(40)).gram, kept.gram)
    jax.effects_barrier()
    assert sum(counted) == 40


@pytest.mark.parametrize(("samples", "widest"), [(200, 1024), (400, 2048), (5000, 4096)])
def test_widths_where_the_penalty_bounds_no_support(samples, widest):
    X = jax.ShapeDtypeStruct((samples, 20_000), jnp.float64)
    widths = []

    def find(X):
        net = sj.penalties.ElasticNet(0.1, 0.5)
        widths.append(possible_widths(sj.Problem(X, jnp.ones(samples), penalty=net)))

    jax.eval_shape(find, X)
    assert widths[0][-1] == widest


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((100, 10), (10,)),
        ((5, 40), (40,)),
        ((100, 80), (16, 64, 80)),
        ((38, 3051), (16, 64, 128)),
        ((200, 10_000), (16, 64, 128, 256, 512)),
        ((5000, 500), (16, 64, 128, 256, 384, 500)),
        ((1000, 5000), (16, 64, 128, 256, 512, 1024, 1536)),
        ((11_000, 70_000), (16, 64, 128, 256, 512, 1024, 1536, 2048, 3072, 4096)),
    ],
)
def test_widths(shape, expected):
    design = sj.designs.as_design(jsparse.BCOO.fromdense(jnp.ones((1, 1))))
    sparse = sj.designs.Sparse(design.data, design.rows, design.cols, shape)
    problem = sj.Problem(sparse, np.ones(shape[0]), penalty=sj.penalties.L1(0.1))
    assert possible_widths(problem) == expected


@pytest.mark.slow
def test_large_supports(rng):
    """Wider than the small phase's memory, saturated, and with features that leave."""
    n, p = 300, 900
    X = np.cumsum(rng.normal(size=(p, n)), axis=0).T / 10
    y = X @ (rng.random(p) < 0.5) + rng.normal(size=n)
    problem = sj.Problem(X, y, penalty=sj.penalties.L1(1.0), fit_intercept=True)
    strength = sj.strength_max(problem) / 20000
    problem = sj.Problem(X, y, penalty=sj.penalties.L1(strength), fit_intercept=True)
    solution = sj.solve(problem, tol=1e-10)
    assert int(solution.stats["width"]) >= 512
    assert jnp.sum(solution.coef != 0) > 128
    assert sj.duality_gap(problem, solution.coef) <= 1e-10


@pytest.mark.slow
def test_sweeps_come_before_newton_where_a_factorisation_is_dear(rng):
    """Over 1024 features: the same solution, by fewer than half of Newton's iterations."""
    n, p = 1300, 2000
    X = scipy.signal.lfilter([0.44], [1, -0.9], rng.normal(size=(n, p)), axis=1)
    y = X[:, ::5] @ rng.normal(size=400) + rng.normal(size=n)
    strength = np.max(np.abs(X.T @ y)) / n / 200
    problem = sj.Problem(X, y, penalty=sj.penalties.L1(strength))
    barely = SemismoothNewton(approach=GramFISTA(max_iterations=1))
    alone = sj.solve(problem, WorkingSet(barely), tol=1e-10)
    solution = sj.solve(problem, tol=1e-10)
    assert solution.stats["width"] > 1024
    np.testing.assert_allclose(solution.coef, alone.coef, atol=1e-6)
    iterations = solution.stats["num_inner_iterations"]
    assert iterations < alone.stats["num_inner_iterations"] / 2


def test_growing_to_all_features(rng):
    """Features of the step before keep their rows, but not where all are taken."""
    X = rng.normal(size=(300, 400))
    X[:, 1:] += X[:, :-1]
    y = X @ rng.normal(size=400) + rng.normal(size=300)
    strength = np.max(np.abs(X.T @ y)) / 300 / 1000
    solution = sj.solve(sj.Problem(X, y, penalty=sj.penalties.L1(strength)), tol=1e-12, throw=False)
    assert solution.stats["width"] == 400
    assert solution.result == sj.RESULTS.successful


def test_systems_of_the_size_of_the_samples(rng):
    """The same products and solutions as with the Gram matrix."""
    rows = rng.normal(size=(40, 6))
    columns = Columns(jnp.asarray(rows), jnp.sum(jnp.asarray(rows) ** 2, axis=1))
    gram = Gram(jnp.asarray(rows @ rows.T))
    np.testing.assert_allclose(columns.diagonal(), gram.diagonal())
    x = rng.normal(size=(30, 2))
    np.testing.assert_allclose(columns.matmul(x), gram.matmul(x), atol=1e-12)
    tasks, pick = rng.normal(size=(40, 2)), lambda rows: rows[7:23]
    for x, curvature in itertools.product((tasks, tasks[:, 0]), (columns, gram)):
        some = curvature.complete(x.T @ curvature.rows, pick)
        np.testing.assert_allclose(some, pick(rows @ (rows.T @ x)), atol=1e-12)
        np.testing.assert_allclose(curvature.block(pick), pick(rows) @ pick(rows).T)
    for size in (20, 4):
        kept, labels = jnp.arange(5, 5 + size), jnp.arange(size) // 4
        vector = rng.normal(size=(size // 4, 4))
        vector = (vector / np.linalg.norm(vector, axis=1, keepdims=True)).reshape(-1)
        root = BlockMatrix(jnp.ones(size), Coupling(jnp.full(size, 0.5), vector, labels))
        rhs = rng.normal(size=size)
        ours, theirs = (c.solve(kept, root, jnp.array(1e-3), rhs) for c in (columns, gram))
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)


@pytest.mark.slow
def test_supports_of_groups_larger_than_the_samples(rng):
    """Unequal and interleaved groups, one of them free, with an intercept and sample weights."""
    n, p = 60, 900
    groups = rng.permutation(np.repeat(np.arange(45), 20))
    groups[groups == 44] = 0
    X = rng.normal(size=(n, p)) + 1
    y = X @ rng.normal(size=p) + rng.normal(size=n)
    loss = sj.losses.Squared(rng.random(n))
    weights = np.append(0.0, np.ones(43))
    penalty = sj.penalties.GroupL2(1.0, groups, weights)
    problem = sj.Problem(X, y, loss, penalty, fit_intercept=True)
    penalty = sj.penalties.GroupL2(sj.strength_max(problem) / 50, groups, weights)
    problem = sj.Problem(X, y, loss, penalty, fit_intercept=True)
    solution = sj.solve(problem, tol=1e-10)
    assert int(solution.stats["width"]) > 256
    assert n < jnp.sum(solution.coef != 0) < p
    assert sj.duality_gap(problem, solution.coef) <= 1e-10


@pytest.mark.parametrize(("violated", "expected"), [(10, (48 + 5, True)), (100, (128 + 5, False))])
def test_a_few_groups_that_are_violated_at_zero_are_likely_all(rng, violated, expected):
    X, groups = rng.normal(size=(N, P)), np.arange(P) // 5
    y = X[:, 0] + rng.normal(size=N)
    norms = np.sort(np.linalg.norm((X.T @ y).reshape(-1, 5), axis=1)) / N
    problem = sj.Problem(
        X, y, penalty=sj.penalties.GroupL2(norms[-violated - 1], groups, np.ones(P // 5))
    )
    assert wanted_width(problem, iterate_at(problem, jnp.zeros(P))) == expected
