"""Paths: equal to single solves, certified, compiled once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
import scipy.sparse
from compilations import count_compilations
from registry import PENALTIES
from sklearn import linear_model

import sparsejax as sj
from sparsejax import penalties

pytestmark = pytest.mark.usefixtures("float64")

N, P, NUM = 20, 40, 10
TOL = 1e-10


SLOW = pytest.mark.slow  # a program of its own


def _problem(seed=0, name="l1", fit_intercept=True, sparse=False):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(N, P)) + 0.3, rng.normal(size=N) + 2
    penalty = PENALTIES[name](1.0, P)
    return (
        X,
        y,
        sj.Problem(scipy.sparse.csr_array(X) if sparse else X, y, None, penalty, fit_intercept),
    )


@pytest.mark.parametrize(
    "name",
    ["l1", *(pytest.param(n, marks=SLOW) for n in ("elastic-net", "l1-weights", "l1-nonnegative"))],
)
def test_equals_single_solves(name):
    X, y, problem = _problem(name=name)
    path = sj.path(problem, num=NUM, tol=TOL)
    assert path.coefs.shape == (NUM, P)
    assert path.strengths.shape == path.gaps.shape == path.intercepts.shape == (NUM,)
    assert np.all(path.gaps <= TOL)
    assert jnp.all(path.results == sj.RESULTS.successful)
    for k in range(NUM):
        penalty = problem.penalty.with_strength(path.strengths[k])
        single = sj.solve(sj.Problem(X, y, None, penalty, True), tol=TOL)
        np.testing.assert_allclose(path.coefs[k], single.coef, atol=1e-4)
        np.testing.assert_allclose(path.intercepts[k], single.intercept, atol=1e-4)
        coef = np.asarray(path.coefs[k])
        value = reference.objective(X, y, penalty, coef, float(path.intercepts[k]))
        np.testing.assert_allclose(value, single.objective, rtol=1e-8)
        assert reference.gap(X, y, penalty, coef, fit_intercept=True) <= 1.01 * TOL + 1e-14


def test_strengths_are_geometric_from_strength_max():
    _, _, problem = _problem()
    path = sj.path(problem, num=NUM, ratio=0.05, tol=TOL)
    expected = float(sj.strength_max(problem)) * np.geomspace(1, 0.05, NUM)
    np.testing.assert_allclose(path.strengths, expected, rtol=1e-12)
    np.testing.assert_allclose(path.coefs[0], 0.0, atol=1e-12)
    assert np.all(path.coefs[1] == 0) or np.count_nonzero(path.coefs[1]) <= 5
    assert np.count_nonzero(path.coefs[-1]) > np.count_nonzero(path.coefs[1])


def test_given_strengths_in_any_order():
    X, y, problem = _problem()
    strengths = np.array([0.05, 0.4, 0.1])
    path = sj.path(problem, strengths=strengths, tol=TOL)
    np.testing.assert_array_equal(path.strengths, strengths)
    for s, coef in zip(strengths, path.coefs, strict=True):
        single = sj.solve(sj.Problem(X, y, None, penalties.L1(s), True), tol=TOL)
        np.testing.assert_allclose(coef, single.coef, atol=1e-4)


def test_equals_scikit_learn():
    X, y, problem = _problem(fit_intercept=False)
    path = sj.path(problem, num=NUM, ratio=0.02, tol=1e-12)
    _, coefs, _ = linear_model.lasso_path(
        X, y, alphas=np.asarray(path.strengths), tol=1e-12, max_iter=100_000
    )
    np.testing.assert_allclose(path.coefs, coefs.T, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_sparse_equals_dense():
    paths = [sj.path(_problem(sparse=sparse)[2], num=NUM, tol=1e-12) for sparse in (False, True)]
    np.testing.assert_allclose(paths[0].coefs, paths[1].coefs, atol=1e-5)
    np.testing.assert_allclose(paths[0].intercepts, paths[1].intercepts, atol=1e-5)


def test_compiles_once():
    sj.path(_problem(0)[2], num=NUM, tol=TOL)
    X, y, _ = _problem(1)
    with count_compilations() as count:
        sj.path(sj.Problem(X, y, None, penalties.L1(0.3), True), num=NUM, ratio=0.1, tol=1e-8)
    assert count() == 0


def test_works_under_jit():
    X, y, problem = _problem()
    strengths = jnp.geomspace(0.5, 0.05, NUM)
    run = jax.jit(
        lambda y: (
            sj.path(
                sj.Problem(X, y, None, penalties.L1(1.0), True), strengths=strengths, tol=TOL
            ).coefs
        )
    )
    np.testing.assert_allclose(
        run(y), sj.path(problem, strengths=strengths, tol=TOL).coefs, atol=1e-8
    )


def test_strength_that_does_not_converge_is_reported():
    _, _, problem = _problem()
    path = sj.path(problem, num=NUM, tol=TOL, max_steps=0, throw=False)
    successful = np.asarray(path.results == sj.RESULTS.successful)
    np.testing.assert_array_equal(successful, np.asarray(path.gaps) <= TOL)
    assert not successful.all()
    with pytest.raises(RuntimeError, match="max_steps"):
        sj.path(problem, num=NUM, tol=TOL, max_steps=0)


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ({"num": 0}, "num"),
        ({"ratio": 0.0}, "ratio"),
        ({"ratio": 2.0}, "ratio"),
        ({"ratio": np.nan}, "ratio"),
        ({"strengths": [0.1, -1.0]}, "strengths"),
        ({"strengths": [0.1, np.nan]}, "strengths"),
        ({"strengths": []}, "strengths"),
        ({"tol": -1.0}, "tol"),
    ],
)
def test_bad_input(more, name):
    with pytest.raises(ValueError, match=f"`{name}`"):
        sj.path(_problem()[2], **more)


def test_needs_a_strength():
    problem = sj.Problem(np.eye(2), np.ones(2), penalty=penalties.Box(0.0, 1.0))
    with pytest.raises(TypeError, match="Box has no strength"):
        sj.path(problem)
