"""Estimators: scikit-learn's checks, scikit-learn's results, scikit-learn's errors."""

import pickle
import warnings

import jax
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from compilations import count_compilations
from sklearn import linear_model as peers
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, KFold, ShuffleSplit, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from sparsejax.estimators import ElasticNet, ElasticNetCV, Lasso, LassoCV, LassoTuned

ALL = [Lasso, LassoCV, LassoTuned, ElasticNet, ElasticNetCV]
CROSS_VALIDATED = [LassoCV, LassoTuned, ElasticNetCV]
PEERS = {
    Lasso: peers.Lasso,
    ElasticNet: peers.ElasticNet,
    LassoCV: peers.LassoCV,
    ElasticNetCV: peers.ElasticNetCV,
}
EXACT = {"tol": 1e-13, "max_iter": 100_000}


def grid(estimator):
    """Options with which other tests have compiled the same program."""
    return {"alphas": 20, "cv": 4} if estimator in CROSS_VALIDATED else {}


def data(n=50, p=40, targets=None, seed=0):
    """A well-posed problem: seven features of forty matter."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) + 0.5 * rng.normal(size=(n, 1)) + 0.3
    coef = np.zeros((p, targets or 1))
    coef[:7] = rng.normal(size=(7, targets or 1)) + 1
    y = X @ coef + 0.5 * rng.normal(size=(n, targets or 1)) + 2
    return X, (y if targets else y[:, 0])


def weights(n=50):
    """Sample weights; a fifth of them is zero."""
    w = np.random.default_rng(1).uniform(0.2, 3.0, n)
    w[::5] = 0.0
    return w


def sparse(X, kind):
    """X with most entries dropped."""
    return getattr(sp, f"{kind}_array")(np.where(np.abs(X) > 1, X, 0.0))


# Half a minute each, most of it compiling all shapes and precisions that the checks ask for.
@pytest.mark.parametrize(
    "estimator",
    [Lasso, *(pytest.param(e, marks=pytest.mark.slow) for e in ALL if e is not Lasso)],
)
def test_scikit_learns_own_checks(estimator):
    reports = check_estimator(estimator(), on_skip=None)
    skipped = [report["check_name"] for report in reports if report["status"] != "passed"]
    assert set(skipped) <= {"check_array_api_input"}  # scikit-learn skips it without SciPy's


# --- the same numbers as scikit-learn ---------------------------------------------------------

CASES = {
    "dense": ("dense", {}),
    "no intercept": ("dense", {"fit_intercept": False}),
    "positive": ("dense", {"positive": True}),
    "csr": ("csr", {}),
    "csc": ("csc", {}),
    "coo": ("coo", {}),
}


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize(
    ("estimator", "case"),
    [(Lasso, case) for case in CASES]
    + [
        pytest.param(ElasticNet, case, marks=[pytest.mark.slow] * (case != "csr")) for case in CASES
    ],
)
def test_equals_scikit_learn(estimator, case, weighted):
    kind, options = CASES[case]
    X, y = data()
    X = X if kind == "dense" else sparse(X, kind)
    w = weights() if weighted else None
    for alpha in (0.01, 0.3):
        ours = estimator(alpha, **options, **EXACT).fit(X, y, w)
        theirs = PEERS[estimator](alpha, **options, **EXACT).fit(X, y, w)
        np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=0, atol=1e-5)
        np.testing.assert_allclose(ours.intercept_, theirs.intercept_, rtol=0, atol=1e-5)
        np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=0, atol=3e-5)
        assert np.array_equal(ours.coef_ == 0, theirs.coef_ == 0)


@pytest.mark.parametrize(
    ("estimator", "kind"),
    [
        (Lasso, "csr"),
        pytest.param(Lasso, "dense", marks=pytest.mark.slow),
        pytest.param(ElasticNet, "dense", marks=pytest.mark.slow),
    ],
)
def test_float32_stays_float32(estimator, kind):
    X, y = data()
    X = X if kind == "dense" else sparse(X, kind)
    ours = estimator(0.1, tol=1e-6).fit(X.astype(np.float32), y.astype(np.float32))
    theirs = PEERS[estimator](0.1, **EXACT).fit(X, y)
    for value in (ours.coef_, ours.intercept_, ours.dual_gap_, ours.predict(X.astype("f4"))):
        assert value.dtype == np.float32
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=2e-3)


@pytest.mark.parametrize("estimator", [Lasso, pytest.param(LassoTuned, marks=pytest.mark.slow)])
def test_float64_without_the_global_flag(estimator):
    assert not jax.config.jax_enable_x64
    X, y = data()
    model = estimator().fit(X, y)
    assert not jax.config.jax_enable_x64
    assert type(model.coef_) is np.ndarray
    assert model.coef_.dtype == model.predict(X).dtype == np.float64
    assert isinstance(model.n_iter_, int)
    assert model.n_iter_ >= 1


def test_the_flag_is_restored_after_an_error():
    with pytest.raises(ValueError, match="l1_ratio=0"):
        ElasticNetCV(l1_ratio=0).fit(*data())
    assert not jax.config.jax_enable_x64


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_dual_gap_is_a_gap_and_means_what_it_means_in_scikit_learn(fit_intercept):
    X, y = data()
    w = weights()
    share = w / w.sum()
    centred = y - fit_intercept * np.average(y, weights=w)
    allowed = share @ centred**2
    exact = Lasso(0.1, fit_intercept=fit_intercept).fit(X, y, w)
    rough = Lasso(0.1, fit_intercept=fit_intercept, tol=0.01).fit(X, y, w)

    def objective(model):
        residual = y - model.predict(X)
        return share @ residual**2 / 2 + 0.1 * np.abs(model.coef_).sum()

    assert 0 <= exact.dual_gap_ <= 1e-10 * allowed
    assert objective(rough) - objective(exact) <= rough.dual_gap_ <= 0.01 * allowed


def test_several_targets():
    X, Y = data(targets=3)
    ours = Lasso(0.1).fit(X, Y)
    theirs = peers.Lasso(0.1, **EXACT).fit(X, Y)
    assert ours.coef_.shape == theirs.coef_.shape == (3, 40)
    assert ours.intercept_.shape == ours.dual_gap_.shape == (3,)
    assert len(ours.n_iter_) == 3
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=3e-6)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), atol=1e-5)
    assert ours.sparse_coef_.shape == (3, 40)


@pytest.mark.parametrize("model", [Lasso(0.1), peers.Lasso(0.1)], ids=["ours", "theirs"])
def test_a_column_as_target(model):
    X, y = data()
    model.fit(X, y[:, None])
    assert model.coef_.shape == (40,)
    assert model.intercept_.shape == (1,)
    assert model.predict(X).shape == (50,)


def test_edge_cases_of_alpha():
    X, y = data(n=50, p=8)
    least_squares = Lasso(0.0).fit(X, y)
    expected = peers.LinearRegression().fit(X, y)
    np.testing.assert_allclose(least_squares.coef_, expected.coef_, atol=1e-8)
    null = Lasso(1e6).fit(X, y)
    assert not null.coef_.any()
    assert null.intercept_ == pytest.approx(y.mean())
    constant = Lasso(0.1).fit(X, np.full(50, 3.0))
    assert not constant.coef_.any()
    assert constant.intercept_ == pytest.approx(3.0)


# --- cross-validation -------------------------------------------------------------------------


def _same_cross_validation(ours, theirs):
    np.testing.assert_allclose(ours.alphas_, theirs.alphas_, rtol=1e-10)
    np.testing.assert_allclose(ours.mse_path_, theirs.mse_path_, rtol=1e-6)
    assert ours.alpha_ == pytest.approx(theirs.alpha_)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-5)


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("kind", ["dense", pytest.param("csr", marks=pytest.mark.slow)])
def test_lasso_cv_equals_scikit_learn(kind, weighted):
    X, y = data()
    X = X if kind == "dense" else sparse(X, kind)
    w = weights() if weighted else None
    options = {"alphas": 20, "cv": KFold(4, shuffle=True, random_state=0)}
    ours = LassoCV(**options, **EXACT).fit(X, y, w)
    theirs = peers.LassoCV(**options, **EXACT).fit(X, y, w)
    assert ours.mse_path_.shape == (20, 4)
    _same_cross_validation(ours, theirs)


def test_elastic_net_cv_chooses_the_ratio_as_scikit_learn_does():
    X, y = data()
    options = {"l1_ratio": [0.3, 0.8, 1.0], "alphas": 20, "eps": 1e-2, "cv": 4, "tol": 1e-14}
    ours = ElasticNetCV(**options).fit(X, y)
    theirs = peers.ElasticNetCV(**options, max_iter=100_000).fit(X, y)
    assert ours.mse_path_.shape == (3, 20, 4)
    assert ours.l1_ratio_ == theirs.l1_ratio_
    _same_cross_validation(ours, theirs)


def test_given_alphas_are_sorted_and_any_splitter_is_taken():
    X, y = data()
    alphas = np.random.default_rng(0).permutation(np.geomspace(0.01, 1.0, 20))
    options = {"alphas": alphas, "cv": ShuffleSplit(4, random_state=0)}
    ours = LassoCV(**options, **EXACT).fit(X, y)
    _same_cross_validation(ours, peers.LassoCV(**options, **EXACT).fit(X, y))
    splits = list(ShuffleSplit(4, random_state=0).split(X))
    again = LassoCV(**{**options, "cv": splits}, **EXACT).fit(X, y)
    np.testing.assert_array_equal(again.mse_path_, ours.mse_path_)


@pytest.mark.slow
def test_tuning_beats_its_grid_and_finds_the_fine_grids_minimum():
    X, y = data()
    tuned = LassoTuned().fit(X, y)
    fine = LassoCV(alphas=200).fit(X, y)
    assert tuned.tuned_mse_.shape == tuned.tuned_alphas_.shape == (20,)
    best = tuned.tuned_mse_.min()
    assert tuned.alpha_ == pytest.approx(tuned.tuned_alphas_[np.argmin(tuned.tuned_mse_)])
    assert best <= tuned.mse_path_.mean(axis=1).min() * (1 + 1e-9)
    assert best <= fine.mse_path_.mean(axis=1).min() * 1.002
    expected = Lasso(tuned.alpha_).fit(X, y)
    np.testing.assert_allclose(tuned.coef_, expected.coef_, atol=1e-6)


@pytest.mark.slow
def test_tuning_measures_what_cross_validation_measures():
    X, y = data()
    w = weights()
    # An error is as exact as the root of the gap, and strengths that nearly agree share solutions.
    tuned = LassoTuned(n_steps=20, tol=1e-14).fit(X, y, w)
    there = LassoCV(alphas=tuned.tuned_alphas_, tol=1e-14).fit(X, y, w)
    order = np.argsort(tuned.tuned_alphas_)[::-1]
    np.testing.assert_allclose(tuned.tuned_mse_[order], there.mse_path_.mean(axis=1), rtol=1e-6)


# --- compilation ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["dense", "csr"])
def test_tables_of_about_the_same_size_share_one_program(kind):
    def fit(alpha, n, seed):
        X, y = data(n=n, seed=seed)
        return Lasso(alpha).fit(X if kind == "dense" else sparse(X, kind), y)

    fit(0.1, 50, 0)
    with count_compilations() as compiled:
        fit(0.2, 47, 1)
        fit(0.01, 53, 2)
    assert compiled() == 0


def test_other_folds_strengths_and_ratios_compile_nothing():
    X, y = data()
    ElasticNetCV(alphas=20, cv=4).fit(X, y)
    with count_compilations() as compiled:
        ElasticNetCV(l1_ratio=[0.1, 0.9], alphas=20, eps=0.1, tol=1e-6, cv=4).fit(X[:47], y[:47])
    assert compiled() == 0


def test_padding_changes_nothing(monkeypatch):
    X, y = data()
    padded = Lasso(0.05).fit(X, y)
    monkeypatch.setattr("sparsejax.estimators._table._SMALL", 0)
    exact = Lasso(0.05).fit(X, y)
    np.testing.assert_allclose(padded.coef_, exact.coef_, atol=1e-6)
    np.testing.assert_array_equal(padded.coef_ == 0, exact.coef_ == 0)


# --- behaviour of an estimator ----------------------------------------------------------------


def test_warm_start():
    X, y = data()
    model = Lasso(0.05, warm_start=True).fit(X, y)
    cold, steps = model.coef_.copy(), model.n_iter_
    model.fit(X, y)
    assert model.n_iter_ == 1
    assert model.n_iter_ <= steps
    np.testing.assert_allclose(model.coef_, cold, atol=1e-6)
    with pytest.raises(ValueError, match="warm_start"):
        model.fit(X[:, :5], y)


def test_never_silent_about_convergence():
    X, y = data(p=400)  # more than the first step can take in
    with pytest.warns(ConvergenceWarning, match=r"Lasso did not converge.*tol=1e-10.*max_iter"):
        model = Lasso(1e-4, max_iter=1).fit(X, y)
    assert model.dual_gap_ > 1e-10 * np.var(y)
    with pytest.warns(ConvergenceWarning, match="LassoCV did not converge"):
        LassoCV(alphas=20, cv=4, tol=0, max_iter=1).fit(*data())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Lasso(1e-4).fit(X, y)


@pytest.mark.parametrize(
    "estimator", [pytest.param(e, marks=[pytest.mark.slow] * (e is LassoTuned)) for e in ALL]
)
def test_pickle_clone_and_parameters(estimator):
    X, y = data()
    model = estimator(positive=False, tol=1e-9, **grid(estimator)).fit(X, y)
    restored = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(restored.predict(X), model.predict(X))
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    with pytest.raises(NotFittedError):
        copy.predict(X)
    assert copy.set_params(tol=1e-6).tol == 1e-6
    with pytest.raises(ValueError, match="Invalid parameter 'gamma'"):
        copy.set_params(gamma=1)
    with pytest.raises(TypeError, match="gamma"):
        estimator(gamma=1)


def test_pipeline_and_grid_search():
    X, y = data()
    grid = {"lasso__alpha": [0.01, 0.1, 1.0]}
    ours = GridSearchCV(make_pipeline(StandardScaler(), Lasso()), grid).fit(X, y)
    peer = make_pipeline(StandardScaler(), peers.Lasso(**EXACT))
    theirs = GridSearchCV(peer, grid).fit(X, y)
    assert ours.best_params_ == theirs.best_params_
    scores = "mean_test_score"
    np.testing.assert_allclose(ours.cv_results_[scores], theirs.cv_results_[scores], rtol=1e-5)
    np.testing.assert_allclose(
        cross_val_score(Lasso(0.1), X, y), cross_val_score(peers.Lasso(0.1, **EXACT), X, y), 1e-5
    )


@pytest.mark.parametrize("estimator", [Lasso, LassoCV])
def test_pandas_names_are_kept(estimator):
    X, y = data()
    table = pd.DataFrame(X, columns=[f"gene {j}" for j in range(40)])
    model = estimator(**grid(estimator)).fit(table, pd.Series(y))
    assert list(model.feature_names_in_) == list(table.columns)
    assert model.n_features_in_ == 40
    with pytest.raises(ValueError, match="feature names"):
        model.predict(table[table.columns[::-1]])


def test_input_is_left_alone():
    X, y = data()
    rows, columns = np.nonzero(np.abs(X) > 1)
    entries = X[rows, columns]
    twice = sp.csc_array(  # every entry in two halves
        (np.tile(entries / 2, 2), (np.tile(rows, 2), np.tile(columns, 2))), X.shape
    )
    raw = twice.copy()
    halves = sp.csc_array(
        (np.repeat(twice.data / 2, 2), np.repeat(twice.indices, 2), 2 * twice.indptr), X.shape
    )
    before = [halves.data.copy(), halves.indices.copy(), halves.indptr.copy()]
    model = Lasso(0.1).fit(halves, y)
    for old, new in zip(before, (halves.data, halves.indices, halves.indptr), strict=True):
        np.testing.assert_array_equal(old, new)
    np.testing.assert_allclose(model.coef_, Lasso(0.1).fit(raw, y).coef_, atol=1e-10)


# --- errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", ALL)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tol": -1.0}, "'tol' parameter"),
        ({"tol": np.nan}, "'tol' parameter"),
        ({"max_iter": 0}, "'max_iter' parameter"),
        ({"fit_intercept": "yes"}, "'fit_intercept' parameter"),
        ({"positive": 3}, "'positive' parameter"),
    ],
)
def test_bad_parameters_are_named(estimator, change, message):
    with pytest.raises(ValueError, match=message):
        estimator(**change).fit(*data())


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Lasso(-0.1), "'alpha' parameter"),
        (Lasso(np.nan), "'alpha' parameter"),
        (Lasso("strong"), "'alpha' parameter"),
        (Lasso(warm_start="yes"), "'warm_start' parameter"),
        (ElasticNet(l1_ratio=1.5), "'l1_ratio' parameter"),
        (ElasticNet(l1_ratio=-0.5), "'l1_ratio' parameter"),
        (ElasticNetCV(l1_ratio=2), "'l1_ratio' parameter"),
        (ElasticNetCV(l1_ratio=[0.5, 2]), r"l1_ratio\[1\] == 2"),
        (ElasticNetCV(l1_ratio=0), "`alphas` must be given"),
        (LassoCV(alphas=[0.1, -1]), r"alphas\[1\] == -1"),
        (LassoCV(alphas=[]), "`alphas` must hold at least one"),
        (LassoCV(alphas=0), "'alphas' parameter"),
        (LassoCV(eps=0), "'eps' parameter"),
        (LassoCV(cv=51), "n_splits=51"),
        (LassoCV(cv=[]), "yields no splits|[Nn]o"),
        (LassoTuned(n_steps=0), "'n_steps' parameter"),
        (LassoTuned(alphas=[0.1]), "'alphas' parameter"),
    ],
    ids=str,
)
def test_bad_parameters_of_one_estimator_are_named(model, message):
    with pytest.raises(ValueError, match=message):
        model.fit(*data())


@pytest.mark.parametrize("estimator", ALL)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X, y: (np.where(X[3, 3] == X, np.nan, X), y), "Input X contains NaN"),
        (lambda X, y: (X, np.where(y == y[3], np.inf, y)), "y contains infinity"),
        (lambda X, y: (X[:-1], y), "inconsistent numbers of samples"),
        (lambda X, y: (X[:, :0], y), "0 feature"),
        (lambda X, y: (X[0], y), "Expected 2D array"),
        (lambda X, y: (X, y, np.full(50, -1.0)), "[Nn]egative"),
        (lambda X, y: (X, y, np.zeros(50)), "[Ss]ample.weight"),
        (lambda X, y: (X, y, np.ones(49)), r"sample_weight.shape"),
    ],
)
def test_bad_data_are_named(estimator, change, message):
    with pytest.raises(ValueError, match=message):
        estimator().fit(*change(*data()))


@pytest.mark.parametrize("estimator", CROSS_VALIDATED)
def test_a_fold_without_weight_is_named(estimator):
    X, y = data()
    w = np.ones(50)
    w[:10] = 0
    with pytest.raises(ValueError, match="test samples of fold 0 have no weight"):
        estimator(cv=5).fit(X, y, w)


@pytest.mark.parametrize("estimator", CROSS_VALIDATED)
def test_cross_validation_takes_one_target(estimator):
    with pytest.raises(ValueError, match="1d array"):
        estimator().fit(*data(targets=2))
