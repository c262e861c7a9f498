"""Estimators whose losses have kinks or constraints, and support vector machines."""

import pickle

import cvxpy as cp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.sparse as sp
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import SVC
from sklearn.utils.estimator_checks import check_estimator

import sparsejax as sj
from sparsejax import estimators
from sparsejax.estimators import BasisPursuit, LinearSVC, SqrtLasso
from sparsejax.losses._profiled_kinks import ProfiledKinks

N, P = 40, 6  # small enough to be padded to the one shape that all tests share
CLARABEL = {"solver": "CLARABEL", "tol_gap_abs": 1e-10, "tol_gap_rel": 1e-10, "tol_feas": 1e-10}
SLOW = pytest.mark.slow  # a program of its own
MACHINES = [
    ("hinge", "l2"),
    pytest.param("hinge", "l1", marks=SLOW),
    pytest.param("squared_hinge", "l2", marks=SLOW),
    pytest.param("squared_hinge", "l1", marks=SLOW),
]
KINDS = [np.asarray, pytest.param(sp.csr_array, marks=SLOW)]


def table(seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N, P)) + 0.5 * rng.normal(size=(N, 1))
    return X, X[:, :3] @ [1.0, -1.5, 0.7] + 0.3 + rng.normal(size=N)


def labels(num):
    """Words, out of order; the classes overlap."""
    X, score = table()
    edges = np.quantile(score, np.arange(1, num) / num)
    return X, np.array(["b", "c", "a"])[np.digitize(score, edges)]


def weights():
    w = np.random.default_rng(1).uniform(0.2, 3.0, N)
    w[::5] = 0.0
    return w


def sparse(X):
    return np.where(np.abs(X) > 0.7, X, 0.0)


# They compile for half a minute and more, for all shapes and precisions that they ask for.
@pytest.mark.slow
@pytest.mark.parametrize("model", [SqrtLasso(), LinearSVC(), LinearSVC(loss="hinge")], ids=str)
def test_scikit_learns_own_checks(model):
    reports = check_estimator(model, on_skip=None)
    skipped = [report["check_name"] for report in reports if report["status"] != "passed"]
    assert set(skipped) <= {"check_array_api_input"}  # scikit-learn skips it without SciPy's


@pytest.mark.parametrize("estimator", [SqrtLasso, BasisPursuit, LinearSVC])
def test_parameters_clone_pickle_and_documentation(estimator):
    model = estimator(tol=1e-9)
    copy = pickle.loads(pickle.dumps(clone(model)))
    assert copy.get_params() == model.get_params()
    with pytest.raises(ValueError, match="Invalid parameter 'gamma'"):
        copy.set_params(gamma=1)
    with pytest.raises(NotFittedError):
        copy.predict(np.ones((2, 2)))
    with pytest.raises(ValueError, match="'tol' parameter"):
        estimator(tol=-1).fit(*labels(2))
    assert is_classifier(copy) == (estimator is LinearSVC) != is_regressor(copy)
    assert getattr(estimators, estimator.__name__) is estimator
    for section in ("Parameters", "Attributes", "Examples", "coef_", "n_iter_", "dual_gap_"):
        assert section in estimator.__doc__


# --- square-root Lasso ------------------------------------------------------------------------


def sqrt_lasso(X, y, alpha, w, positive):
    """cvxpy's minimum, coefficients and intercept."""
    coef, b = cp.Variable(X.shape[1], nonneg=positive), cp.Variable()
    residual = cp.multiply(np.sqrt(w / w.sum()), y - X @ coef - b)
    problem = cp.Problem(cp.Minimize(cp.norm2(residual) + alpha * cp.norm1(coef)))
    return problem.solve(**CLARABEL), coef.value, b.value


@pytest.mark.parametrize("alpha", [0.02, 0.15, 0.3])
@pytest.mark.parametrize("positive", [False, pytest.param(True, marks=SLOW)])
@pytest.mark.parametrize("kind", KINDS)
def test_sqrt_lasso_equals_cvxpy(alpha, positive, kind):
    X, y = table()
    X, w = sparse(X), weights()
    model = SqrtLasso(alpha, positive=positive).fit(kind(X), y, w)
    lowest, coef, intercept = sqrt_lasso(X, y, alpha, w, positive)
    np.testing.assert_allclose(model.coef_, coef, atol=1e-5)
    np.testing.assert_allclose(model.intercept_, intercept, atol=1e-5)
    np.testing.assert_array_equal(model.coef_ == 0, np.abs(coef) < 1e-6)
    residual = y - model.predict(kind(X))
    value = np.sqrt(w @ residual**2 / w.sum()) + alpha * np.abs(model.coef_).sum()
    assert value == pytest.approx(lowest, abs=1e-8)
    assert 0 <= model.dual_gap_ <= 1e-10 * np.sqrt(np.cov(y, aweights=w, bias=True))


def test_sqrt_lasso_does_not_see_the_size_of_the_noise():
    X, y = table()
    small, large = (SqrtLasso(0.2).fit(X, scale * y) for scale in (1.0, 1000.0))
    np.testing.assert_allclose(large.coef_, 1000 * small.coef_, rtol=1e-5)
    several = SqrtLasso(0.2).fit(X, np.column_stack([y, 1000 * y]))
    np.testing.assert_allclose(several.coef_, [small.coef_, large.coef_], rtol=1e-6)
    np.testing.assert_allclose(several.intercept_, [small.intercept_, large.intercept_], rtol=1e-6)
    warm = SqrtLasso(0.2, warm_start=True).fit(X, y)
    assert warm.fit(X, y).n_iter_ == 1 < small.n_iter_
    assert 0.3 < small.score(X, y) < 1


@pytest.mark.slow
def test_sqrt_lasso_stays_in_float32():
    X, y = table()
    model = SqrtLasso(0.2, tol=1e-5).fit(X.astype(np.float32), y.astype(np.float32))
    assert model.coef_.dtype == model.dual_gap_.dtype == np.float32
    np.testing.assert_allclose(model.coef_, SqrtLasso(0.2).fit(X, y).coef_, atol=2e-3)


# --- basis pursuit ----------------------------------------------------------------------------


def signal(seed=0, n=12, p=30):
    rng = np.random.default_rng(seed)
    X, w = rng.normal(size=(n, p)), np.zeros(p)
    w[:4] = rng.normal(size=4)
    return X, X @ w, w


def linear_programme(X, y, intercept=False, positive=False):
    """HiGHS: (coef, intercept, norm), with coef = u − v and u, v ≥ 0."""
    n, p = X.shape
    cost = np.concatenate([np.ones(2 * p), np.zeros(2 * intercept)])
    ones = np.ones((n, int(intercept)))
    bounds = [(0, None)] * p + [(0, 0 if positive else None)] * p + [(0, None)] * (2 * intercept)
    found = scipy.optimize.linprog(
        cost, A_eq=np.hstack([X, -X, ones, -ones]), b_eq=y, bounds=bounds
    )
    u, v, b = np.split(found.x, [p, 2 * p])
    return u - v, b[0] - b[1] if intercept else 0.0, found.fun


@pytest.mark.parametrize(
    "options", [{}, *(pytest.param({k: True}, marks=SLOW) for k in ("fit_intercept", "positive"))]
)
def test_basis_pursuit_equals_a_linear_programme(options):
    X, y, w = signal()
    y = X @ np.abs(w) + 0.5 if options else y + np.linspace(-1, 1, 12)
    model = BasisPursuit(**options).fit(X, y)
    coef, intercept, norm = linear_programme(
        X, y, options.get("fit_intercept", False), options.get("positive", False)
    )
    np.testing.assert_allclose(model.coef_, coef, atol=1e-7)
    np.testing.assert_allclose(model.intercept_, intercept, atol=1e-7)
    np.testing.assert_allclose(model.predict(X), y, atol=1e-8)
    assert np.abs(model.coef_).sum() == pytest.approx(norm, rel=1e-9)
    assert 0 <= model.dual_gap_ <= 1e-10 * norm
    assert model.score(X, y) == pytest.approx(1.0)


def test_basis_pursuit_recovers_a_sparse_signal_and_skips_samples_of_weight_zero():
    X, y, w = signal()
    y[3] += 7.0
    model = BasisPursuit().fit(X, y, np.arange(12) != 3)
    np.testing.assert_allclose(model.coef_, w, atol=1e-8)


def test_targets_that_cannot_be_met_are_named():
    X, y = table()
    for model in (BasisPursuit(), BasisPursuit(fit_intercept=True)):
        with pytest.raises(ValueError, match=r"No coefficients fit `y` exactly.*SqrtLasso"):
            model.fit(X, y)
    X, y, _ = signal()
    with pytest.warns(ConvergenceWarning, match=r"BasisPursuit did not converge.*the objective"):
        BasisPursuit(max_iter=1, tol=1e-15).fit(X, y + 0.1 * np.cos(np.arange(len(y))))


# --- support vector machines ------------------------------------------------------------------


def machine(X, signs, C, loss, penalty, w, intercept=True):
    """cvxpy's minimum, coefficients and intercept."""
    coef, b = cp.Variable(X.shape[1]), cp.Variable()
    margins = cp.pos(1 - cp.multiply(signs, X @ coef + (b if intercept else 0.0)))
    costs = margins if loss == "hinge" else cp.square(margins)
    size = cp.norm1(coef) if penalty == "l1" else cp.sum_squares(coef) / 2
    problem = cp.Problem(cp.Minimize(size + C * (w @ costs)))
    return problem.solve(**CLARABEL), coef.value, b.value


@pytest.mark.parametrize(("loss", "penalty"), MACHINES)
@pytest.mark.parametrize("kind", KINDS)
def test_support_vector_machines_equal_cvxpy(loss, penalty, kind):
    X, y = labels(2)
    X, w, signs = sparse(X), weights(), np.where(y == "c", 1.0, -1.0)
    model = LinearSVC(0.3, loss=loss, penalty=penalty).fit(kind(X), y, w)
    lowest, coef, _ = machine(X, signs, 0.3, loss, penalty, w)
    scores = model.decision_function(X)
    shortfalls = np.maximum(1 - signs * scores, 0.0) ** (1 + (loss == "squared_hinge"))
    norm = np.abs(model.coef_).sum() if penalty == "l1" else np.sum(model.coef_**2) / 2
    assert norm + 0.3 * w @ shortfalls == pytest.approx(lowest, rel=1e-7)
    assert 0 <= model.dual_gap_ <= 1e-8 * 0.3 * w.sum()
    assert model.coef_.shape == (1, P)
    assert model.intercept_.shape == (1,)
    np.testing.assert_allclose(model.coef_[0], coef, atol=3e-4)
    np.testing.assert_array_equal(model.predict(X), np.where(scores > 0, "c", "b"))
    assert not hasattr(model, "predict_proba")


@pytest.mark.parametrize("num", [2, 3])
def test_the_ridge_machine_equals_scikit_learns(num):
    X, y = labels(num)
    theirs = SVC(kernel="linear", C=0.5, tol=1e-10)
    theirs = OneVsRestClassifier(theirs) if num > 2 else theirs
    ours, theirs = LinearSVC(0.5, loss="hinge", tol=1e-10).fit(X, y), theirs.fit(X, y)
    machines = theirs.estimators_ if num > 2 else [theirs]
    np.testing.assert_allclose(ours.coef_, np.vstack([m.coef_ for m in machines]), atol=1e-5)
    bounds = [m.intercept_[0] for m in machines]
    np.testing.assert_allclose(ours.intercept_, bounds, atol=1e-4)
    np.testing.assert_array_equal(ours.classes_, theirs.classes_)
    scores = theirs.decision_function(X)
    np.testing.assert_allclose(ours.decision_function(X), scores, atol=1e-4)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    assert ours.score(X, y) == theirs.score(X, y)
    assert type(ours.n_iter_) is int


def test_one_against_the_rest_is_a_machine_a_class():
    X, y = labels(3)
    model = LinearSVC(0.1, loss="hinge").fit(X, y)
    assert model.dual_gap_.shape == (3,)
    for row, intercept, label in zip(model.coef_, model.intercept_, "abc", strict=True):
        one = LinearSVC(0.1, loss="hinge").fit(X, y == label)
        np.testing.assert_allclose(row, one.coef_[0], atol=1e-6)
        np.testing.assert_allclose(intercept, one.intercept_[0], atol=1e-6)


def test_intercepts_where_many_samples_are_alike():
    """Kinks that coincide, as those of padding do, are no sign of the bottom."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        copies = rng.permutation([1, 2, 14, 3])
        z, y = (np.repeat(x, copies) for x in (rng.normal(size=4), rng.choice([-1.0, 1.0], 4)))
        w = rng.choice([0.0, 1.0, 2.0], 20)
        with jax.enable_x64(True):
            loss = ProfiledKinks(sj.losses.Hinge(w + 1e-9))
            found = float(loss.intercept(jnp.asarray(z), jnp.asarray(y)))
        values = [w @ np.maximum(1 - y * (z + b), 0.0) for b in (found, *(y - z))]
        assert values[0] <= min(values) + 1e-6


def test_the_size_of_sample_weights_matters():
    X, y = labels(2)
    expected = LinearSVC(0.6, loss="hinge").fit(X, y)
    for double in (np.full(N, 2.0), 2.0):
        model = LinearSVC(0.3, loss="hinge").fit(X, y, double)
        np.testing.assert_allclose(model.coef_, expected.coef_, atol=1e-7)
    without = LinearSVC(0.3, loss="hinge").fit(X, y)
    assert np.abs(without.coef_ - expected.coef_).max() > 1e-3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"C": 0.0}, "'C' parameter"),
        ({"C": -1.0}, "'C' parameter"),
        ({"loss": "logistic"}, "'loss' parameter"),
        ({"penalty": "l3"}, "'penalty' parameter"),
    ],
)
def test_bad_parameters_of_machines_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        LinearSVC(**change).fit(*labels(2))


def test_machines_need_two_classes():
    with pytest.raises(ValueError, match="one class only"):
        LinearSVC().fit(table()[0], np.zeros(N))


@pytest.mark.slow
def test_machines_say_when_they_do_not_converge():
    X, y = labels(2)
    with pytest.warns(ConvergenceWarning, match=r"LinearSVC did not converge.*max_iter"):
        model = LinearSVC(loss="hinge", max_iter=1).fit(X, y)
    exact = LinearSVC(loss="hinge").fit(X, y)

    def objective(model):
        shortfalls = np.maximum(1 - np.where(y == "c", 1, -1) * model.decision_function(X), 0.0)
        return np.sum(model.coef_**2) / 2 + shortfalls.sum()

    lost = objective(model) - objective(exact)
    assert exact.dual_gap_ < lost <= model.dual_gap_ * (1 + 1e-9)


def test_a_single_weight_is_like_none():
    X, y = table()
    plain, weighted = (SqrtLasso(0.2).fit(X, y, w) for w in (None, 3.0))
    np.testing.assert_allclose(weighted.coef_, plain.coef_, atol=1e-8)
    with pytest.raises(ValueError, match=r"[Nn]egative|positive"):
        SqrtLasso(0.2).fit(X, y, -1.0)
