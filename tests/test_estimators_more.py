"""Estimators beyond the Lasso: scikit-learn's checks, its peers' numbers, its errors."""

import pickle

import cvxpy as cp
import jax
import numpy as np
import pytest
import scipy.optimize
import scipy.sparse as sp
from sklearn import linear_model as peers
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.metrics import log_loss, mean_pinball_loss
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.utils.estimator_checks import check_estimator

import sparsejax as sj
from sparsejax import estimators
from sparsejax.estimators import (
    SLOPE,
    CappedL1Regression,
    CoxLasso,
    GammaLasso,
    GeneralizedLinearEstimator,
    GeneralizedLinearEstimatorCV,
    GroupLasso,
    GroupLassoCV,
    MCPRegression,
    MCPRegressionCV,
    MultiTaskLasso,
    MultiTaskLassoCV,
    PoissonLasso,
    SCADRegressionCV,
    SparseGroupLasso,
    SparseLogisticRegression,
    SparseLogisticRegressionCV,
    TraceNormRegression,
)

# Tables here are small enough to be padded to one shape: they share the programs of the checks.
N, P = 60, 8
NEW = [
    SLOPE,
    CoxLasso,
    GammaLasso,
    GeneralizedLinearEstimator,
    GeneralizedLinearEstimatorCV,
    GroupLasso,
    GroupLassoCV,
    MultiTaskLasso,
    MultiTaskLassoCV,
    PoissonLasso,
    SparseGroupLasso,
    SparseLogisticRegression,
    SparseLogisticRegressionCV,
    TraceNormRegression,
]


def table(seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N, P)) + 0.5 * rng.normal(size=(N, 1))
    return X, X[:, :3] @ [1.0, -1.5, 0.7] + 0.3, rng


def classes(num, seed=0):
    """Labels that are words, out of order."""
    X, score, rng = table(seed)
    edges = np.quantile(score, np.arange(1, num) / num)
    codes = np.digitize(score + 0.5 * rng.logistic(size=N), edges)
    return X, np.array(["b", "c", "a"])[codes]


def targets(kind, seed=0):
    X, score, rng = table(seed)
    noise = rng.normal(size=N)
    censored = rng.random(N) < 0.3
    times = rng.exponential(np.exp(-score))
    return X, {
        "numbers": score + noise,
        "tasks": np.column_stack([score + noise, -0.5 * score + rng.normal(size=N)]),
        "counts": rng.poisson(np.exp(0.4 * score)),
        "positive": rng.gamma(2.0, np.exp(0.4 * score)),
        "survival": np.column_stack([times, ~censored]),
    }[kind]


def weights():
    w = np.random.default_rng(1).uniform(0.2, 3.0, N)
    w[::5] = 0.0
    return w


# The intercepts of three classes and more take half a minute to compile for all shapes and
# precisions that the checks ask for; the tests of agreement have them.
@pytest.mark.parametrize(
    "model",
    [
        SparseLogisticRegression(fit_intercept=False),
        *(
            pytest.param(m, marks=pytest.mark.slow)
            for m in (
                GroupLasso(),
                MultiTaskLasso(),
                PoissonLasso(),
                MCPRegression(0.1),
                CappedL1Regression(0.1),
                MCPRegressionCV(alphas=5),
                SCADRegressionCV(alphas=5),
            )
        ),
    ],
    ids=lambda model: type(model).__name__,
)
@pytest.mark.slow
def test_scikit_learns_own_checks(model):
    reports = check_estimator(model, on_skip=None)
    skipped = [report["check_name"] for report in reports if report["status"] != "passed"]
    assert set(skipped) <= {"check_array_api_input"}  # scikit-learn skips it without SciPy's


@pytest.mark.parametrize("estimator", NEW)
def test_parameters_clone_and_pickle(estimator):
    model = estimator(tol=1e-9)
    copy = pickle.loads(pickle.dumps(clone(model)))
    assert copy.get_params() == model.get_params()
    assert copy.set_params(tol=1e-6).tol == 1e-6
    with pytest.raises(ValueError, match="Invalid parameter 'gamma'"):
        copy.set_params(gamma=1)
    with pytest.raises(NotFittedError):
        copy.predict(np.ones((2, 2)))
    with pytest.raises(ValueError, match="'tol' parameter"):
        estimator(tol=-1).fit(*table()[:2])
    assert copy.__sklearn_tags__().input_tags.sparse
    assert is_classifier(copy) == ("Logistic" in estimator.__name__)
    assert is_regressor(copy) == ("Logistic" not in estimator.__name__ and estimator != CoxLasso)


def test_all_are_exported_and_documented():
    for estimator in NEW:
        assert getattr(estimators, estimator.__name__) is estimator
        doc = estimator.__doc__
        for section in ("Parameters", "Attributes", "Examples", "coef_", "n_iter_", "dual_gap_"):
            assert section in doc, (estimator, section)


# --- groups -----------------------------------------------------------------------------------


@pytest.mark.parametrize("groups", [None, list("hgfedcba")])
@pytest.mark.slow
def test_groups_of_one_are_the_lasso(groups):
    X, y = targets("numbers")
    ours = GroupLasso(0.1, groups).fit(X, y, weights())
    expected = peers.Lasso(0.1, tol=1e-14).fit(X, y, weights())
    np.testing.assert_allclose(ours.coef_, expected.coef_, atol=1e-6)
    np.testing.assert_allclose(ours.intercept_, expected.intercept_, atol=1e-6)
    np.testing.assert_array_equal(ours.coef_ == 0, expected.coef_ == 0)


def test_groups_come_and_go_together_as_cvxpy_says():
    X, y = targets("numbers")
    names = np.array([3, 3, 9, 9, 9, -1, -1, -1])
    model = GroupLasso(0.2, names).fit(X, y)
    w, b = cp.Variable(P), cp.Variable()
    norms = sum(np.sqrt((names == g).sum()) * cp.norm(w[names == g]) for g in np.unique(names))
    cp.Problem(cp.Minimize(cp.sum_squares(y - X @ w - b) / (2 * N) + 0.2 * norms)).solve("CLARABEL")
    np.testing.assert_allclose(model.coef_, w.value, atol=1e-4)
    zero = model.coef_ == 0
    assert zero.any()
    assert all(zero[names == g].all() or not zero[names == g].any() for g in names)


def test_bad_groups_are_named():
    X, y = targets("numbers")
    with pytest.raises(ValueError, match=r"`groups`.*8 features.*\(3,\)"):
        GroupLasso(groups=[0, 1, 2]).fit(X, y)
    with pytest.raises(ValueError, match="weights"):
        GroupLasso(groups=[0] * P, weights=[1.0, 2.0]).fit(X, y)
    with pytest.raises(ValueError, match=r"`alphas`.*8 features.*\(3,\)"):
        SLOPE([3.0, 2.0, 1.0]).fit(X, y)
    with pytest.raises(ValueError, match="must not increase"):
        SLOPE(np.arange(P)).fit(X, y)


# --- several tasks, and FISTA's others --------------------------------------------------------


def test_multi_task_lasso_equals_scikit_learn():
    X, Y = targets("tasks")
    for alpha, w in ((0.05, None), (0.4, None)):
        ours = MultiTaskLasso(alpha).fit(X, Y, w)
        theirs = peers.MultiTaskLasso(alpha, tol=1e-14, max_iter=10**5).fit(X, Y)
        assert ours.coef_.shape == (2, P)
        np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-6)
        np.testing.assert_allclose(ours.predict(X), theirs.predict(X), atol=1e-5)
    warm = MultiTaskLasso(0.4, warm_start=True).fit(X, Y)
    assert warm.fit(X, Y).n_iter_ == 1
    with pytest.raises(ValueError, match=r"use Lasso for one target"):
        MultiTaskLasso().fit(X, Y[:, 0])


def test_multi_task_cross_validation_equals_scikit_learn():
    X, Y = targets("tasks")
    options = {"alphas": 10, "cv": 3, "eps": 1e-2}
    ours = MultiTaskLassoCV(**options).fit(X, Y)
    theirs = peers.MultiTaskLassoCV(**options, tol=1e-12, max_iter=10**5).fit(X, Y)
    np.testing.assert_allclose(ours.mse_path_, theirs.mse_path_, rtol=1e-5)
    assert ours.alpha_ == pytest.approx(theirs.alpha_)


def test_trace_norm_equals_cvxpy():
    X, Y = targets("tasks")
    W, b = cp.Variable((P, 2)), cp.Variable((1, 2))
    loss = cp.sum_squares(Y - X @ W - np.ones((N, 1)) @ b) / (2 * N)
    cp.Problem(cp.Minimize(loss + 0.6 * cp.normNuc(W))).solve("CLARABEL")
    model = TraceNormRegression(0.6).fit(X, Y)
    np.testing.assert_allclose(model.coef_, W.value.T, atol=1e-4)
    assert np.linalg.matrix_rank(model.coef_, tol=1e-6) == 1


def test_slope_with_one_strength_is_the_lasso():
    X, y = targets("numbers")
    slope = SLOPE(0.1).fit(X, y)
    np.testing.assert_allclose(slope.coef_, peers.Lasso(0.1, tol=1e-14).fit(X, y).coef_, atol=1e-5)


# --- classes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("num", [pytest.param(2, marks=pytest.mark.slow), 3])
def test_logistic_regression_equals_scikit_learn(num):
    X, y = classes(num)
    alpha, w = 0.03, weights()
    options = {"C": 1 / (alpha * w.sum()), "l1_ratio": 1.0, "solver": "saga"}
    theirs = peers.LogisticRegression(**options, tol=1e-10, max_iter=10**5, random_state=0)
    ours, theirs = SparseLogisticRegression(alpha).fit(X, y, w), theirs.fit(X, y, w)
    assert ours.classes_.tolist() == sorted(set(y))
    assert ours.coef_.shape == theirs.coef_.shape
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-4)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-4)
    np.testing.assert_allclose(np.exp(ours.predict_log_proba(X)), ours.predict_proba(X))
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    assert ours.score(X, y) == theirs.score(X, y)


@pytest.mark.slow
def test_logistic_cross_validation_is_a_loop_of_fits():
    X, y = classes(2)
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    model = SparseLogisticRegressionCV(alphas=10, cv=folds).fit(X, y)
    losses = np.empty((10, 3))
    for k, (train, test) in enumerate(folds.split(X, y)):
        for i, alpha in enumerate(model.alphas_):
            fold = SparseLogisticRegression(alpha).fit(X[train], y[train])
            losses[i, k] = log_loss(y[test], fold.predict_proba(X[test]))
    np.testing.assert_allclose(model.loss_path_, losses, rtol=1e-4)
    assert model.alpha_ == model.alphas_[np.argmin(losses.mean(axis=1))]
    best = SparseLogisticRegression(model.alpha_).fit(X, y)
    np.testing.assert_allclose(model.coef_, best.coef_, atol=1e-6)


@pytest.mark.slow
def test_group_cross_validation_is_a_loop_of_fits():
    X, y = targets("numbers")
    groups = [0, 0, 1, 1, 2, 2, 3, 3]
    model = GroupLassoCV(groups, alphas=10, cv=KFold(3)).fit(X, y)
    errors = np.empty((10, 3))
    for k, (train, test) in enumerate(KFold(3).split(X)):
        for i, alpha in enumerate(model.alphas_):
            fold = GroupLasso(alpha, groups).fit(X[train], y[train])
            errors[i, k] = np.mean((fold.predict(X[test]) - y[test]) ** 2)
    np.testing.assert_allclose(model.mse_path_, errors, rtol=1e-5)
    assert model.alpha_ == model.alphas_[np.argmin(errors.mean(axis=1))]


def test_classes_that_cannot_be_fitted_are_named():
    X, y = classes(3)
    with pytest.raises(ValueError, match="one class only"):
        SparseLogisticRegression().fit(X, np.ones(N))
    with pytest.raises(ValueError, match="zero for every sample of class a"):
        SparseLogisticRegression().fit(X, y, y != "a")
    with pytest.raises(ValueError, match="fold 0 do not have all classes"):
        SparseLogisticRegressionCV(cv=KFold(3)).fit(X, np.sort(y))
    with pytest.raises(ValueError, match="Only binary classification"):
        GeneralizedLinearEstimator(sj.losses.SquaredHinge()).fit(X, y)


# --- counts, positive numbers, survival -------------------------------------------------------


def _minimum(value_and_grad, alpha, intercept):
    """SciPy's minimum of a loss and alpha times the ℓ1 norm, split in positive and negative."""

    def both(v):
        coef, b = v[:P] - v[P : 2 * P], v[2 * P] if intercept else 0.0
        value, slope, slope_b = value_and_grad(coef, b)
        grad = np.concatenate([slope + alpha, alpha - slope, [slope_b] if intercept else []])
        return value + alpha * v[: 2 * P].sum(), grad

    bounds = [(0, None)] * (2 * P) + [(None, None)] * intercept
    options = {"maxiter": 10_000, "maxfun": 10**5, "ftol": 1e-15, "gtol": 1e-10}
    start = np.zeros(2 * P + intercept)
    return scipy.optimize.minimize(both, start, jac=True, bounds=bounds, options=options).fun


@pytest.mark.parametrize(
    ("estimator", "kind", "loss", "slope"),
    [
        (PoissonLasso, "counts", lambda z, y: np.exp(z) - y * z, lambda z, y: np.exp(z) - y),
        (
            GammaLasso,
            "positive",
            lambda z, y: z + y * np.exp(-z),
            lambda z, y: 1 - y * np.exp(-z),
        ),
    ],
)
@pytest.mark.slow
def test_log_link_models_reach_scipys_minimum(estimator, kind, loss, slope):
    X, y = targets(kind)
    w = weights() / weights().sum()

    def value_and_grad(coef, b):
        z = X @ coef + b
        pull = w * slope(z, y)
        return w @ loss(z, y), X.T @ pull, pull.sum()

    model = estimator(0.05).fit(X, y, weights())
    value = value_and_grad(model.coef_, model.intercept_)[0] + 0.05 * np.abs(model.coef_).sum()
    lowest = _minimum(value_and_grad, 0.05, True)
    assert value <= lowest + 1e-12
    assert value >= lowest - 1e-6
    np.testing.assert_allclose(model.predict(X), np.exp(X @ model.coef_ + model.intercept_))
    assert 0.1 < model.score(X, y) < 1
    assert 0 <= model.dual_gap_ <= 1e-8


@pytest.mark.parametrize(
    ("model", "y", "message"),
    [
        (PoissonLasso(), -np.ones(N), "counts, zero or more"),
        (PoissonLasso(), np.zeros(N), "only zeros"),
        (GammaLasso(), np.zeros(N), "must be positive"),
        (CoxLasso(), np.ones(N), "Expected 2D array"),
        (CoxLasso(), np.ones((N, 3)), "two columns"),
        (CoxLasso(), np.full((N, 2), 2.0), "two columns"),
        (CoxLasso(), np.column_stack([np.ones(N), np.zeros(N)]), "no event"),
        (CoxLasso(), np.ones((N - 1, 2)), "inconsistent numbers of samples"),
        (CoxLasso(), np.zeros(N, [("a", float), ("b", float)]), "fields a, b"),
    ],
)
def test_targets_that_cannot_be_fitted_are_named(model, y, message):
    with pytest.raises(ValueError, match=message):
        model.fit(table()[0], y)


def test_cox_reaches_scipys_minimum():
    X, y = targets("survival")
    time, event = y[:, 0], y[:, 1] > 0

    def value_and_grad(coef, b):  # where no times are tied
        z, value, pull = X @ coef, 0.0, np.zeros(N)
        for i in np.flatnonzero(event):
            risk = np.where(time >= time[i], np.exp(z), 0.0)
            value += (np.log(risk.sum()) - z[i]) / N
            pull += risk / risk.sum() / N
            pull[i] -= 1 / N
        return value, X.T @ pull, 0.0

    model = CoxLasso(0.03).fit(X, y)
    value = value_and_grad(model.coef_, 0.0)[0] + 0.03 * np.abs(model.coef_).sum()
    lowest = _minimum(value_and_grad, 0.03, False)
    assert lowest - 1e-7 <= value <= lowest + 1e-10
    assert model.intercept_ == 0
    np.testing.assert_allclose(model.predict(X), X @ model.coef_)
    named = np.array(list(zip(event, time, strict=True)), [("dead", bool), ("months", float)])
    np.testing.assert_array_equal(clone(model).fit(X, named).coef_, model.coef_)
    time = np.ceil(time)  # a score has to say what it makes of ties
    named["months"] = time
    pairs = [
        (z_i > z_j) + 0.5 * (z_i == z_j)
        for z_i, t_i, e_i in zip(model.predict(X), time, event, strict=True)
        for z_j, t_j, e_j in zip(model.predict(X), time, event, strict=True)
        if e_i and (t_i < t_j or (t_i == t_j and not e_j))
    ]
    assert model.score(X, named) == pytest.approx(np.mean(pairs))
    assert np.mean(pairs) > 0.6


# --- any loss and penalty ---------------------------------------------------------------------


@pytest.mark.slow
def test_the_general_estimator_is_the_others():
    X, labels = classes(2)
    with jax.enable_x64(True):
        penalty = sj.penalties.ElasticNet(0.03, 1.0)
    general = GeneralizedLinearEstimator(sj.losses.Logistic(), penalty).fit(X, labels)
    ours = SparseLogisticRegression(0.03).fit(X, labels)
    np.testing.assert_array_equal(general.coef_, ours.coef_)
    np.testing.assert_array_equal(general.predict(X), ours.predict(X))
    np.testing.assert_array_equal(general.predict_proba(X), ours.predict_proba(X))
    assert is_classifier(general)
    assert clone(general).loss == general.loss


@pytest.mark.slow
def test_the_general_estimator_takes_concave_penalties_of_classes():
    """Stationary by NumPy's gradient; the large coefficients are less shrunk than the Lasso's."""
    X, labels = classes(2)
    with jax.enable_x64(True):
        penalty = sj.penalties.SCAD(0.05, 8.0)
    model = GeneralizedLinearEstimator(sj.losses.Logistic(), penalty, tol=1e-8).fit(X, labels)
    signs, w = np.where(labels == model.classes_[1], 1.0, -1.0), model.coef_[0]
    pull = X.T @ (signs / (1 + np.exp(signs * (X @ w + model.intercept_)))) / N
    slopes = np.sign(w) * np.clip((8 * 0.05 - np.abs(w)) / 7, 0, 0.05)
    np.testing.assert_allclose(pull[w != 0], slopes[w != 0], atol=1e-9)
    assert np.max(np.abs(pull)) <= 0.05 * (1 + 1e-8)
    lasso = SparseLogisticRegression(0.05).fit(X, labels).coef_[0]
    assert np.max(np.abs(w)) > np.max(np.abs(lasso)) + 0.01


def test_the_general_estimator_takes_penalties_that_cannot_be_padded():
    X, y = targets("numbers")
    model = GeneralizedLinearEstimator(penalty=sj.penalties.FusedLasso(0.1, 0.5)).fit(X, y)
    w, b = cp.Variable(P), cp.Variable()
    penalty = 0.05 * cp.norm1(w) + 0.05 * cp.norm1(cp.diff(w))
    cp.Problem(cp.Minimize(cp.sum_squares(y - X @ w - b) / (2 * N) + penalty)).solve("CLARABEL")
    np.testing.assert_allclose(model.coef_, w.value, atol=1e-5)


def test_margins_have_no_probabilities():
    X, y = classes(2)
    loss, solver = sj.losses.SquaredHinge(), sj.solvers.FISTA()
    model = GeneralizedLinearEstimator(loss, sj.penalties.L1(0.02), solver).fit(X, y)
    assert model.score(X, y) > 0.7
    assert model.decision_function(X).shape == (N,)
    assert not hasattr(model, "predict_proba")
    assert not hasattr(GeneralizedLinearEstimator(), "decision_function")
    with pytest.raises(ValueError, match="sample weights: give them to `fit`"):
        GeneralizedLinearEstimator(sj.losses.Squared(np.ones(N))).fit(X, np.ones(N))
    with pytest.raises(ValueError, match="'penalty' parameter"):
        GeneralizedLinearEstimator(penalty=0.1).fit(X, y)


@pytest.mark.slow
def test_general_cross_validation_is_that_of_the_others():
    X, labels = classes(2)
    with jax.enable_x64(True):
        penalty = sj.penalties.ElasticNet(7.0, 1.0)
    options = {"alphas": 10, "cv": StratifiedKFold(3, shuffle=True, random_state=0)}
    general = GeneralizedLinearEstimatorCV(sj.losses.Logistic(), penalty, **options).fit(X, labels)
    ours = SparseLogisticRegressionCV(**options).fit(X, labels)
    np.testing.assert_array_equal(general.alphas_, ours.alphas_)
    np.testing.assert_allclose(general.loss_path_, ours.loss_path_, rtol=1e-9)
    np.testing.assert_allclose(general.coef_, ours.coef_, atol=1e-9)
    np.testing.assert_array_equal(general.predict_proba(X), ours.predict_proba(X))
    assert general.alpha_ == ours.alpha_
    assert is_classifier(general)


@pytest.mark.slow
def test_general_cross_validation_equals_scikit_learn():
    X, y = targets("numbers")
    options = {"alphas": 10, "cv": 3, "eps": 1e-2}
    ours = GeneralizedLinearEstimatorCV(**options).fit(X, y, weights())
    theirs = peers.LassoCV(**options, tol=1e-13, max_iter=10**5).fit(X, y, weights())
    np.testing.assert_allclose(ours.mse_path_, theirs.mse_path_, rtol=1e-6)
    assert ours.alpha_ == pytest.approx(theirs.alpha_)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-6)
    with pytest.raises(ValueError, match="1d array"):
        GeneralizedLinearEstimatorCV().fit(X, np.column_stack([y, y]))


@pytest.mark.slow
def test_general_cross_validation_of_quantiles_is_a_loop_of_fits():
    X, y = targets("numbers")
    with jax.enable_x64(True):
        loss = sj.losses.Quantile(0.3)
        penalties = [sj.penalties.L1(alpha) for alpha in (0.2, 0.05, 0.01)]
    model = GeneralizedLinearEstimatorCV(loss, alphas=[0.05, 0.2, 0.01], cv=KFold(3), tol=1e-8)
    model.fit(X, y)
    losses = np.empty((3, 3))
    for k, (train, test) in enumerate(KFold(3).split(X)):
        for i, penalty in enumerate(penalties):
            fold = GeneralizedLinearEstimator(loss, penalty, tol=1e-8).fit(X[train], y[train])
            losses[i, k] = mean_pinball_loss(y[test], fold.predict(X[test]), alpha=0.3)
    assert model.alphas_.tolist() == [0.2, 0.05, 0.01]
    np.testing.assert_allclose(model.loss_path_, losses, rtol=1e-3)
    assert model.alpha_ == model.alphas_[np.argmin(losses.mean(axis=1))]
    grid = GeneralizedLinearEstimatorCV(loss, alphas=2, cv=3, tol=1e-6).fit(X, y).alphas_
    with jax.enable_x64(True):
        problem = sj.Problem(X, y, loss, penalties[0], fit_intercept=True)
        np.testing.assert_allclose(grid[0], sj.strength_max(problem), rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"penalty": sj.penalties.ElasticNet(1.0, 0.0)}, "numbers", "`alphas` must be given"),
        ({"penalty": sj.penalties.SLOPE([2.0, 1.0])}, "numbers", "'penalty' parameter"),
        ({"loss": sj.losses.Equality()}, "numbers", "`loss` must not be Equality"),
        ({"solver": "fast"}, "numbers", "'solver' parameter"),
        ({"loss": sj.losses.Cox(), "fit_intercept": False}, "survival", "fold 0 have no event"),
    ],
)
def test_what_cannot_be_cross_validated_is_named(options, kind, message):
    X, y = targets(kind)
    if kind == "survival":
        y[20:, 1] = 0.0
    with pytest.raises(ValueError, match=message):
        GeneralizedLinearEstimatorCV(**options, cv=3).fit(X, y)


@pytest.mark.slow
def test_sparse_tables_are_taken():
    X, y = targets("tasks")
    X = np.where(np.abs(X) > 0.7, X, 0.0)
    dense, sparse = (MultiTaskLasso(0.1).fit(kind, y) for kind in (X, sp.csr_array(X)))
    np.testing.assert_allclose(sparse.coef_, dense.coef_, atol=1e-6)
