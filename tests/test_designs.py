"""Designs: each kind equals the dense matrix it stands for, and sparse ones never become dense."""

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, strategies as st
from jax.experimental import sparse as jsparse
from registry import DESIGNS, SPARSE_DESIGNS

import sparsejax as sj

pytestmark = pytest.mark.usefixtures("float64")

N, P = 7, 5
every_design = pytest.mark.parametrize("wrap", DESIGNS.values(), ids=DESIGNS)
TOL = {"rtol": 1e-12, "atol": 1e-13}


def _matrix(rng, n=N, p=P):
    return rng.normal(size=(n, p)) * (rng.random((n, p)) < 0.6)


def _assert_same(design, X, rng):
    n, p = X.shape
    w, r, h = rng.normal(size=p), rng.normal(size=n), rng.random(n)
    assert design.shape == (n, p)
    assert design.dtype == jnp.dtype("float64")
    np.testing.assert_allclose(design.matvec(jnp.asarray(w)), X @ w, **TOL)
    np.testing.assert_allclose(design.rmatvec(jnp.asarray(r)), X.T @ r, **TOL)
    np.testing.assert_allclose(design.square_norms(jnp.asarray(h)), h @ X**2, **TOL)
    index = rng.permutation(p)[: max(1, p - 2)]
    np.testing.assert_allclose(design.columns(jnp.asarray(index)), X[:, index].T, **TOL)
    padded = jnp.append(jnp.asarray(index), p)  # as solvers pad
    combined = design.combine(padded, jnp.append(jnp.asarray(w[index]), 1.0))
    np.testing.assert_allclose(combined, X[:, index] @ w[index], **TOL)


@every_design
def test_equals_dense(wrap, rng):
    X = _matrix(rng)
    _assert_same(sj.designs.as_design(wrap(X)), X, rng)


def test_matrices_without_entries_equal_dense(rng):
    """The identity, as lineax writes it too, and differences on grids of one to three axes."""
    structure = jax.ShapeDtypeStruct((P,), jnp.float64)
    for identity in (sj.designs.Identity(P), lx.IdentityLinearOperator(structure)):
        design = sj.designs.as_design(identity)
        assert isinstance(design, sj.designs.Identity)
        _assert_same(design, np.eye(P), rng)
    for grid in ((4,), (3, 4), (2, 1, 3)):
        differences = []
        for axis in range(len(grid)):
            cells = np.eye(np.prod(grid)).reshape(*grid, -1)
            differences.append(np.diff(cells, axis=axis).reshape(-1, np.prod(grid)))
        _assert_same(sj.designs.GridDifferences(grid), np.concatenate(differences), rng)


@every_design
def test_padding_index_is_a_zero_column(wrap, rng):
    X = _matrix(rng) + 2  # so that no column is near zero
    block = sj.designs.as_design(wrap(X)).columns(jnp.array([P, 1, P, P + 3]))
    np.testing.assert_allclose(block[1], X[:, 1], **TOL)
    np.testing.assert_array_equal(block[jnp.array([0, 2, 3])], 0.0)


@pytest.mark.parametrize("by", ["rows", "columns"])
def test_single_precision_sums(by, rng):
    """As exact as a certificate at 1e-6 needs, also where long sums cancel."""
    n = 100_000
    values = rng.normal(size=(n, 2)).astype(np.float32) + np.float32(0.1)
    signs = np.sign(rng.normal(size=n)).astype(np.float32)
    X = scipy.sparse.csc_array(np.insert(values, 1, np.eye(n, 1).ravel(), axis=1))
    expected = X.astype(np.float64).T @ signs.astype(np.float64)
    design = sj.designs.as_design(X if by == "columns" else X.T)
    assert design.dtype == jnp.float32
    actual = (design.rmatvec if by == "columns" else design.matvec)(jnp.asarray(signs))
    np.testing.assert_allclose(actual, expected, rtol=1e-6)


def test_single_precision_sums_of_extreme_sizes():
    scales = np.array([0.0, 1e-37, 1e-20, 1e20, 1e37], np.float32)
    X = scipy.sparse.csc_array(np.ones((8, 5), np.float32) * scales)
    design = sj.designs.as_design(X)
    np.testing.assert_allclose(design.rmatvec(jnp.ones(8, jnp.float32)), 8 * scales, rtol=1e-6)
    np.testing.assert_allclose(design.matvec(jnp.ones(5, jnp.float32)), scales.sum(), rtol=1e-6)


def test_single_precision_sums_have_derivatives(rng):
    X = _matrix(rng).astype(np.float32)
    design = sj.designs.as_design(scipy.sparse.csc_array(X))
    r, w = (rng.normal(size=size).astype(np.float32) for size in X.shape)
    np.testing.assert_allclose(jax.jacobian(design.rmatvec)(r), X.T, rtol=1e-6)
    np.testing.assert_allclose(jax.jacfwd(design.matvec)(w), X, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("run", [3, 100])
def test_many_chunks_of_entries(run, dtype, rng, monkeypatch):
    """More entries than are looked at together, and a rest; of all columns or of a few."""
    monkeypatch.setattr("sparsejax.designs._sparse._CHUNK", 8)
    monkeypatch.setattr("sparsejax.designs._sparse._RUN", run)
    X = scipy.sparse.random_array((13, 29), density=0.2, rng=rng, format="csc").astype(dtype)
    assert X.nnz > 16
    assert X.nnz % 8
    design, dense = sj.designs.as_design(X), X.toarray()
    r, w = (rng.normal(size=size).astype(dtype) for size in X.shape)
    tolerance = {"rtol": 1e-5, "atol": 1e-6} if dtype == np.float32 else {"atol": 1e-13}
    np.testing.assert_allclose(design.matvec(w), dense @ w, **tolerance)
    np.testing.assert_allclose(design.rmatvec(r), dense.T @ r, **tolerance)
    index = jnp.array([28, 3, 29, 0])  # 29 asks for a zero column
    expected = np.pad(dense, ((0, 0), (0, 1)))[:, np.asarray(index)].T
    np.testing.assert_array_equal(design.columns(index), expected)
    values = rng.normal(size=4).astype(dtype)
    np.testing.assert_allclose(design.combine(index, values), values @ expected, **tolerance)
    slope_of_few = jax.grad(lambda v: design.combine(index, v) @ r)(jnp.asarray(values))
    np.testing.assert_allclose(slope_of_few, expected @ r, **tolerance)
    slope = jax.grad(lambda w: design.matvec(w) @ r)(jnp.asarray(w))
    np.testing.assert_allclose(slope, dense.T @ r, **tolerance)


def test_single_precision_predictions_of_correlated_columns(rng):
    """Their terms are a thousand times what they add up to, but only the sum is rounded."""
    n, k = 50, 33
    X = (rng.normal(size=(n, 1)) + 1e-3 * rng.normal(size=(n, k))).astype(np.float32)
    w = rng.normal(size=k)
    w = (w - w.mean()).astype(np.float32)
    exact = X.astype(np.float64) @ w.astype(np.float64)
    found = sj.designs.as_design(X).combine(jnp.arange(k), jnp.asarray(w))
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, exact, rtol=1e-6)
    assert np.max(np.abs((X @ w - exact) / exact)) > 1e-5  # what a plain product makes of it


def test_triplets_must_be_sorted():
    data, order = jnp.ones(2), jnp.array([1, 0])
    with pytest.raises(ValueError, match="cols"):
        sj.designs.Sparse(data, order, order, (2, 2))


@every_design
@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (4, 1)])
def test_smallest_shapes(wrap, shape, rng):
    X = rng.normal(size=shape)
    _assert_same(sj.designs.as_design(wrap(X)), X, rng)


@every_design
@given(seed=st.integers(0, 2**31), decades=st.integers(0, 12))
def test_equals_dense_for_columns_of_any_scale(wrap, seed, decades):
    kept = _matrix(np.random.default_rng(0)) != 0  # the same number of entries every time
    X = kept * np.random.default_rng(seed).normal(size=(N, P))
    X *= np.logspace(-decades / 2, decades / 2, P)
    X[:, 1] = X[:, 3]
    design = sj.designs.as_design(wrap(X))
    scale = 1.0 if isinstance(design, sj.designs.Standardised) else np.max(np.abs(X), axis=0)
    scale = np.where(scale == 0, 1.0, scale)  # a column that was drawn empty
    got = np.stack([design.rmatvec(unit) for unit in jnp.eye(N)])
    np.testing.assert_allclose(got / scale, X / scale, atol=1e-13)


@pytest.mark.parametrize("name", ["numpy", "bcoo", "csr", "lineax-function"])
def test_transpose_of_products_under_autodiff(name, rng):
    """rmatvec is what reverse mode makes of matvec."""
    design = sj.designs.as_design(DESIGNS[name](_matrix(rng)))
    w, r = jnp.asarray(rng.normal(size=P)), jnp.asarray(rng.normal(size=N))
    _, pullback = jax.vjp(design.matvec, w)
    np.testing.assert_allclose(pullback(r)[0], design.rmatvec(r), **TOL)


@every_design
@pytest.mark.parametrize("centre", [True, False])
@pytest.mark.parametrize("scale", [True, False])
def test_standardise(wrap, centre, scale, rng):
    X = _matrix(rng) + 0.5
    X[:, 2] = 3.0  # a constant column must not be divided by its rounding error
    expected = X - X.mean(0) if centre else X
    deviation = np.where(np.arange(P) == 2, 1.0, X.std(0))
    expected = expected / deviation if scale else expected
    _assert_same(sj.designs.standardise(wrap(X), centre, scale), expected, rng)


def test_standardise_with_sample_weights(rng):
    X, weights = _matrix(rng), rng.integers(1, 4, N)
    repeated = np.repeat(X, weights, axis=0)
    expected = (X - repeated.mean(0)) / repeated.std(0)
    _assert_same(sj.designs.standardise(X, sample_weight=weights), expected, rng)


def test_standardise_twice_changes_nothing(rng):
    once = sj.designs.standardise(_matrix(rng))
    twice = sj.designs.standardise(once)
    index = jnp.arange(P)
    np.testing.assert_allclose(twice.columns(index), once.columns(index), **TOL)


@pytest.fixture
def forbid_densifying(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a sparse matrix was made dense")

    for kind in ("csr", "csc", "coo"):
        for suffix in ("array", "matrix"):
            owner = getattr(scipy.sparse, f"{kind}_{suffix}")
            monkeypatch.setattr(owner, "todense", refuse)
            monkeypatch.setattr(owner, "toarray", refuse)
    for owner in (jsparse.BCOO, jsparse.BCSR):
        monkeypatch.setattr(owner, "todense", refuse)


@pytest.mark.parametrize("name", SPARSE_DESIGNS)
def test_sparse_is_never_made_dense(name, rng, forbid_densifying):
    """Neither by the constructors nor, as the compiled programs' memory shows, while solving."""
    n, p = 200, 3000
    X = np.zeros((n, p))
    X[rng.integers(0, n, 600), rng.integers(0, p, 600)] = 1.0
    design = sj.designs.standardise(DESIGNS[name](X))

    def products(design, w, r):
        return design.matvec(w), design.rmatvec(r), design.columns(jnp.arange(4))

    compiled = jax.jit(products).lower(design, jnp.ones(p), jnp.ones(n)).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < X.nbytes / 4


def test_sparse_solve_needs_no_dense_memory(rng, forbid_densifying):
    n, p = 200, 200_000
    X = scipy.sparse.random_array((n, p), density=0.001, rng=rng, format="csr")
    y = rng.normal(size=n)
    problem = sj.Problem(X, y, penalty=sj.penalties.L1(0.0), fit_intercept=True)
    largest = sj.strength_max(problem)
    run = jax.jit(
        lambda s: sj.solve(
            sj.Problem(X, y, penalty=sj.penalties.L1(s), fit_intercept=True), throw=False
        )
    )
    compiled = run.lower(0.5 * largest).compile()
    dense = 8 * n * p
    assert compiled.memory_analysis().temp_size_in_bytes < dense / 2
    assert compiled(0.5 * largest).gap <= 1e-8


def test_integer_and_boolean_matrices_become_floats(rng):
    X = rng.integers(0, 3, (N, P))
    for wrap in (np.asarray, scipy.sparse.csr_array, scipy.sparse.csc_matrix):
        for matrix in (X, X > 1):
            design = sj.designs.as_design(wrap(matrix))
            assert design.dtype == jnp.dtype("float64")
            np.testing.assert_array_equal(design.columns(jnp.arange(P)), matrix.T)


@pytest.mark.slow
def test_float32_is_followed(rng):
    X = _matrix(rng).astype(np.float32)
    for wrap in (np.asarray, scipy.sparse.csr_array, jsparse.BCOO.fromdense):
        problem = sj.Problem(wrap(X), np.ones(N), penalty=sj.penalties.L1(0.1))
        assert problem.X.dtype == problem.y.dtype == jnp.dtype("float32")
        solution = sj.solve(problem, tol=1e-4)
        assert solution.coef.dtype == solution.gap.dtype == jnp.dtype("float32")


def test_operator_of_the_wrong_shape_is_refused():
    structure = jax.ShapeDtypeStruct((2, 3), jnp.float64)
    operator = lx.FunctionLinearOperator(lambda w: w.sum(0), structure)
    with pytest.raises(ValueError, match="`X`"):
        sj.designs.as_design(operator)


@pytest.mark.parametrize("wrap", [np.asarray, scipy.sparse.csc_array], ids=["dense", "sparse"])
def test_single_precision_deviations_far_from_zero(wrap, rng):
    X = rng.normal(size=(5000, 4)) * [1.0, 10.0, 0.01, 1.0] + [0.0, 2000.0, 5.0, 1.0]
    X[rng.random(X.shape) < [0.0, 0.0, 0.0, 0.9]] = 0.0  # the last is sparse
    X = np.column_stack([X, np.full(5000, 1234.567), np.full(5000, 0.1)]).astype(np.float32)
    expected = X.astype(float)
    found = sj.designs.standardise(wrap(X))
    np.testing.assert_allclose(found.scale, [*expected.std(axis=0)[:4], 0.0, 0.0], rtol=1e-4)
    np.testing.assert_allclose(found.mean, expected.mean(axis=0), rtol=1e-6, atol=1e-6)
    again = sj.designs.standardise(found)
    np.testing.assert_allclose(again.scale, [1, 1, 1, 1, 0, 0], rtol=1e-4)


def test_half_precision_becomes_single():
    for dtype in (np.float16, jnp.bfloat16):
        assert sj.designs.as_design(jnp.eye(3, dtype=dtype)).dtype == jnp.float32
