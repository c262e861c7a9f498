"""Gram matrices of sparse designs, from what each sample has in the columns."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from jax.experimental import sparse as jsparse

import sparsejax as sj
from sparsejax.designs import _sparse, _sparse_gram
from sparsejax.designs._projection import Projection
from sparsejax.estimators._table import make_table

pytestmark = pytest.mark.usefixtures("float64")

N, P = 150, 400


def _matrix(rng, dtype=float):
    """Very sparse, but for one sample and one feature; many have nothing."""
    X = np.where(rng.random((N, P)) < 0.002, rng.normal(size=(N, P)), 0.0)
    X[7, rng.random(P) < 0.2] = 1.5
    X[rng.random(N) < 0.5, 3] = -0.7
    return scipy.sparse.csc_array(X.astype(dtype))


def _projected(X):
    dtype = X.dtype
    weights = jnp.linspace(0.1, 1.0, N, dtype=dtype)
    columns = jnp.stack([jnp.ones(N, dtype), jnp.linspace(-1.0, 1.0, N, dtype=dtype) ** 2], axis=1)
    return Projection.out_of(sj.designs.as_design(X), columns, weights)


def _padded(X):
    """Whose entries that are not there all stand in one place."""
    return jsparse.BCOO.fromdense(X.toarray(), nse=X.nnz + 57)


DESIGNS = {
    "csc": lambda X: X,
    "padded": _padded,
    "table": lambda X: make_table(X, np.zeros((1, N)), np.ones(N)).design,
    "centred": lambda X: sj.designs.standardise(X, scale=False),
    "standardised": sj.designs.standardise,
    "projected": _projected,
}


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("wrap", DESIGNS.values(), ids=DESIGNS)
def test_rows_are_products_of_the_columns(wrap, dtype, small, rng, monkeypatch):
    if small:  # many chunks
        for name, size in (("_RUN", 3), ("_RUNS", 5), ("_ENTRIES", 7)):
            monkeypatch.setattr(_sparse_gram, name, size)
    design = sj.designs.as_design(wrap(_matrix(rng, dtype)))
    n, p = design.shape
    assert design.gram_from < np.inf
    indices = jnp.asarray([3, *rng.permutation(np.arange(4, P))[:90], p, p])
    weights = jnp.asarray(rng.uniform(size=n).astype(dtype))
    places = jnp.array([0, 90, 4, 91, 17, 1000])
    found = design.gram_rows(indices, weights)(places)
    columns = design.columns(indices)
    rows = columns.at[places].get(mode="fill", fill_value=0.0)
    assert found.dtype == dtype
    expected = (rows * weights) @ columns.T
    rounding = 20 * np.finfo(dtype).eps * np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=rounding)


def test_padding_is_paired_with_nothing(rng):
    X = _matrix(rng)
    design = sj.designs.as_design(_padded(X))
    lists = _sparse_gram.lists_of(design, jnp.arange(P), jnp.ones(N))
    np.testing.assert_array_equal(lists.length, np.diff(X.tocsr().indptr))


def test_columns_that_are_not_so_sparse_are_formed(rng):
    dense = scipy.sparse.csc_array(np.where(rng.random((N, P)) < 0.1, 1.0, 0.0))
    assert sj.designs.as_design(dense).gram_from == np.inf
    assert sj.designs.as_design(jsparse.BCOO.from_scipy_sparse(dense)).gram_from == np.inf


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("loss", [sj.losses.Squared(), sj.losses.Logistic()], ids=["sq", "log"])
def test_solutions_are_those_of_the_dense_matrix(loss, intercept, rng, monkeypatch):
    monkeypatch.setattr(_sparse, "_LISTING", 0)  # whatever the width
    monkeypatch.setattr("sparsejax.solvers._kept._CHEAP", 1)  # new rows only
    n, p = 301, 1009
    X = scipy.sparse.random_array((n, p), density=0.009, rng=rng, format="csc")
    signal = X @ np.where(np.arange(p) < 60, 3.0, 0.0)
    y = signal + 0.1 * rng.normal(size=n)
    y = np.where(y > np.median(y), 1.0, -1.0) if isinstance(loss, sj.losses.Logistic) else y
    most = sj.strength_max(sj.Problem(X, y, loss, sj.penalties.L1(1.0), fit_intercept=intercept))
    found, expected = (
        sj.solve(
            sj.Problem(design, y, loss, sj.penalties.L1(most / 30), fit_intercept=intercept),
            tol=1e-12,
        )
        for design in (X, X.toarray())
    )
    assert np.sum(found.coef != 0) > 64  # more than the first working set
    np.testing.assert_allclose(found.coef, expected.coef, atol=1e-8)
    np.testing.assert_allclose(found.intercept, expected.intercept, atol=1e-8)


@pytest.mark.parametrize("loss", [sj.losses.Squared(), sj.losses.Logistic()], ids=["sq", "log"])
def test_derivatives_are_those_of_the_dense_matrix(loss, rng, monkeypatch):
    monkeypatch.setattr(_sparse, "_DENSEST", 1.0)
    monkeypatch.setattr(_sparse, "_LISTING", 0)
    n, p = 31, 9
    X = scipy.sparse.csc_array(np.where(rng.random((n, p)) < 0.4, rng.normal(size=(n, p)), 0.0))
    design, dense = sj.designs.as_design(X), jnp.asarray(X.toarray())
    y = jnp.asarray(np.where(X @ np.arange(p) + rng.normal(size=n) > 0, 1.0, -1.0))
    factors = jnp.asarray(rng.uniform(0.5, 1.5, size=n))

    def size(strength, factors, X):
        weighted = type(loss)(sample_weight=factors)
        problem = sj.Problem(X, y, weighted, sj.penalties.L1(strength), fit_intercept=True)
        return jnp.sum(sj.solve(problem, tol=1e-13).coef ** 2)

    assert design.gram_from == 0
    found, expected = (
        jax.value_and_grad(size, (0, 1))(0.02, factors, each) for each in (design, dense)
    )
    assert found[0] > 0
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-8), found, expected)
    entry = X.data.size // 2
    row, column = int(design.rows[entry]), int(design.cols[entry])
    by_data = jax.grad(
        lambda data: size(0.02, factors, eqx.tree_at(lambda d: d.data, design, data))
    )(design.data)
    of_dense = jax.grad(size, 2)(0.02, factors, dense)
    np.testing.assert_allclose(by_data[entry], of_dense[row, column], rtol=1e-7)
    # Reverse over reverse: what loops over entries do not take by themselves.
    found, expected = (jax.grad(jax.grad(size))(0.02, factors, each) for each in (design, dense))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
