"""The graphical Lasso: its peers' numbers, optimality, certificates, errors."""

import itertools
import pickle

import cvxpy as cp
import jax
import numpy as np
import pytest
from compilations import count_compilations
from sklearn import covariance as peers
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import check_estimator

from sparsejax import estimators
from sparsejax.estimators import AdaptiveGraphicalLasso, GraphicalLasso

N, P = 30, 8  # one shape for all that compiles
BOTH = [GraphicalLasso, AdaptiveGraphicalLasso]
OFF = ~np.eye(P, dtype=bool)


def data(n=N, seed=0):
    """Features along a chain, of different sizes and means."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, P))
    for j in range(1, P):
        X[:, j] += 0.6 * X[:, j - 1]
    return X * np.linspace(0.7, 1.5, P) + np.arange(P)


def second_moments(X):
    return np.cov(X, rowvar=False, bias=True)


def objective(K, S, slopes):
    sign, log_det = np.linalg.slogdet(K)
    assert sign > 0
    return -log_det + np.sum(S * K) + np.sum(np.where(K != 0, slopes * np.abs(K), 0.0)[OFF])


def kkt_violation(K, S, slopes):
    """Largest distance of the gradient S − K⁻¹ to minus the subdifferential."""
    gradient, slopes = S - np.linalg.inv(K), np.where(OFF, slopes, 0.0)
    at_rest = np.maximum(np.abs(gradient) - slopes, 0.0)
    pull = np.where(K == 0, 0.0, slopes) * np.sign(K)
    return np.max(np.where(K == 0, at_rest, np.abs(gradient + pull)))


def exact(alpha, **options):
    return GraphicalLasso(alpha, tol=0.0, covariance="precomputed", **options)


@pytest.mark.parametrize("estimator", BOTH)
@pytest.mark.slow
def test_scikit_learns_own_checks(estimator):
    reports = check_estimator(estimator(), on_skip=None)
    skipped = [report["check_name"] for report in reports if report["status"] != "passed"]
    assert set(skipped) <= {"check_array_api_input"}  # scikit-learn skips it without SciPy's


@pytest.mark.parametrize("alpha", [0.02, 0.1, 0.4])
@pytest.mark.parametrize("n", [N, 5])  # one sample fewer than would do without a penalty
def test_equals_scikit_learn_and_is_optimal(alpha, n):
    X = data(n)
    ours = GraphicalLasso(alpha).fit(X)
    theirs = peers.GraphicalLasso(alpha, tol=1e-13, enet_tol=1e-14, max_iter=2000).fit(X)
    np.testing.assert_allclose(ours.precision_, theirs.precision_, atol=1e-6)
    np.testing.assert_array_equal(ours.precision_ == 0, theirs.precision_ == 0)
    np.testing.assert_array_equal(ours.location_, theirs.location_)
    assert ours.score(X[::2]) == pytest.approx(theirs.score(X[::2]), abs=1e-5)
    assert 0 <= ours.dual_gap_ <= 1e-12
    S = second_moments(X)
    best = exact(alpha).fit(S)
    assert kkt_violation(best.precision_, S, alpha) <= 1e-9
    np.testing.assert_allclose(best.precision_ @ best.covariance_, np.eye(P), atol=1e-12)


def test_weights_equal_cvxpy():
    S = second_moments(data())
    weights = np.random.default_rng(1).uniform(0.2, 2.0, (P, P))
    weights = (weights + weights.T) / 2
    weights[0, 3] = weights[3, 0] = 0.0
    weights[1, 2] = weights[2, 1] = np.inf
    np.fill_diagonal(weights, 7.0)  # not used
    K = cp.Variable((P, P), symmetric=True)
    finite = np.where(np.isinf(weights) | ~OFF, 0.0, weights)
    value = -cp.log_det(K) + cp.trace(S @ K) + 0.1 * cp.sum(cp.multiply(finite, cp.abs(K)))
    problem = cp.Problem(cp.Minimize(value), [K[1, 2] == 0])
    lowest = problem.solve("CLARABEL", tol_gap_abs=1e-12, tol_gap_rel=1e-12, tol_feas=1e-12)
    model = exact(0.1, weights=weights).fit(S)
    np.testing.assert_allclose(model.precision_, K.value, atol=1e-4)
    assert objective(model.precision_, S, 0.1 * finite) == pytest.approx(lowest, abs=1e-7)
    assert model.precision_[1, 2] == 0
    assert model.precision_[0, 3] != 0
    assert kkt_violation(model.precision_, S, 0.1 * weights) <= 1e-9


def test_units_of_the_features_are_weights():
    S, sizes = second_moments(data()), np.geomspace(1e-3, 1e3, P)
    units = np.outer(sizes, sizes)
    plain = exact(0.1).fit(S)
    scaled = exact(0.1, weights=units).fit(S * units)
    np.testing.assert_allclose(scaled.precision_ * units, plain.precision_, atol=1e-9)


def test_extremes_of_alpha():
    S = second_moments(data())
    np.testing.assert_allclose(exact(0.0).fit(S).precision_, np.linalg.inv(S), rtol=1e-8)
    diagonal = exact(10.0).fit(S)
    np.testing.assert_allclose(diagonal.precision_, np.diag(1 / np.diag(S)), atol=1e-14)
    assert not diagonal.precision_[OFF].any()


def test_dual_gap_bounds_what_is_lost():
    S = second_moments(data())
    lowest = objective(exact(0.05).fit(S).precision_, S, 0.05)
    for steps in (2, 3, 5):
        with pytest.warns(ConvergenceWarning, match=r"GraphicalLasso did not converge.*max_iter"):
            rough = exact(0.05, max_iter=steps).fit(S)
        assert rough.n_iter_ == steps
        lost = objective(rough.precision_, S, 0.05) - lowest
        assert 1e-12 < lost <= rough.dual_gap_


def test_centred_and_given_moments():
    X = data()
    S = second_moments(X)
    for model, argument in (
        (GraphicalLasso(0.1, assume_centered=True), X - X.mean(axis=0)),
        (GraphicalLasso(0.1, covariance="precomputed"), S),
    ):
        model.fit(argument)
        np.testing.assert_allclose(model.precision_, GraphicalLasso(0.1).fit(X).precision_)
        assert not model.location_.any()


def test_copies_of_a_feature():
    X = data()
    X[:, 4], X[:, 6] = X[:, 3], -X[:, 5]
    S = second_moments(X)
    model = exact(0.01).fit(S)
    assert kkt_violation(model.precision_, S, 0.01) <= 1e-8
    assert model.precision_[3, 4] < -10
    with pytest.raises((ValueError, ConvergenceWarning), match=r"did not converge|was found"):
        exact(0.0).fit(S)  # has no solution; warnings are errors here


def test_float32_stays_float32():
    X = data().astype(np.float32)
    model = GraphicalLasso(0.1).fit(X)
    for value in (model.precision_, model.covariance_, model.location_, model.dual_gap_):
        assert value.dtype == np.float32
    expected = GraphicalLasso(0.1).fit(data())
    assert not jax.config.jax_enable_x64
    assert expected.precision_.dtype == np.float64
    np.testing.assert_allclose(model.precision_, expected.precision_, atol=2e-3)


def test_other_strengths_and_weights_compile_nothing():
    S = second_moments(data())
    exact(0.1).fit(S)
    with count_compilations() as compiled:
        exact(0.3, weights=np.full((P, P), 2.0)).fit(S)
        AdaptiveGraphicalLasso(0.2, covariance="precomputed", tol=1e-9).fit(S)
    assert compiled() == 0


# --- reweighting ------------------------------------------------------------------------------


def test_reweighting_descends_and_is_a_chain_of_graphical_lassos():
    S, alpha = second_moments(data()), 0.1

    def fit(number):
        return AdaptiveGraphicalLasso(alpha, n_reweights=number, covariance="precomputed").fit(S)

    def concave(K):
        return objective(K, S, 0.0) + alpha * np.sum(np.sqrt(np.abs(K[OFF])))

    models = [fit(number) for number in range(4)]
    first = GraphicalLasso(alpha, covariance="precomputed").fit(S)
    np.testing.assert_array_equal(models[0].precision_, first.precision_)
    for before, after in itertools.pairwise(models):
        assert concave(after.precision_) < concave(before.precision_)
        assert not after.precision_[before.precision_ == 0].any()
        assert after.n_iter_ > before.n_iter_
        with np.errstate(divide="ignore"):
            slopes = alpha / (2 * np.sqrt(np.abs(before.precision_)))
        assert kkt_violation(after.precision_, S, slopes) <= 1e-6
        assert after.dual_gap_ <= 1e-12
    nonzero = [np.count_nonzero(model.precision_) for model in models]
    assert nonzero[-1] < nonzero[0]


def test_reweighting_equals_skglm():
    rival = pytest.importorskip("skglm.covariance")
    S = second_moments(data())
    options = {"alpha": 0.1, "tol": 1e-12, "max_iter": 10_000}
    theirs = rival.AdaptiveGraphicalLasso(**options, n_reweights=4).fit(S, mode="precomputed")
    ours = AdaptiveGraphicalLasso(0.1, n_reweights=3, covariance="precomputed").fit(S)
    np.testing.assert_allclose(ours.precision_, theirs.precision_, atol=1e-3)


# --- behaviour of an estimator ----------------------------------------------------------------


@pytest.mark.parametrize("estimator", BOTH)
def test_parameters_clone_pickle_and_documentation(estimator):
    model = estimator(0.1, tol=1e-9).fit(data())
    restored = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(restored.get_precision(), model.precision_)
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    with pytest.raises(ValueError, match="Invalid parameter 'gamma'"):
        copy.set_params(gamma=1)
    assert getattr(estimators, estimator.__name__) is estimator
    for section in ("Parameters", "Attributes", "Examples", "precision_", "n_iter_", "dual_gap_"):
        assert section in estimator.__doc__


def _with(X, column, value):
    X = X.copy()
    X[:, column] = value
    return X


@pytest.mark.parametrize(
    ("model", "X", "message"),
    [
        (GraphicalLasso(-1.0), data(), "'alpha' parameter"),
        (GraphicalLasso(tol=-1.0), data(), "'tol' parameter"),
        (GraphicalLasso(max_iter=0), data(), "'max_iter' parameter"),
        (GraphicalLasso(covariance="known"), data(), "'covariance' parameter"),
        (AdaptiveGraphicalLasso(n_reweights=-1), data(), "'n_reweights' parameter"),
        (GraphicalLasso(), _with(data(), 2, np.nan), "contains NaN"),
        (GraphicalLasso(), _with(data(), 2, 0.1), "Feature 2 of `X` has no variance"),
        (GraphicalLasso(assume_centered=True), _with(data(), 2, 0), "Feature 2 of `X` has no"),
        (GraphicalLasso(covariance="precomputed"), np.diag([1.0, 0, 2]), "Feature 1 of `X` has"),
        (GraphicalLasso(covariance="precomputed"), data(), "`X` must be a symmetric matrix"),
        (GraphicalLasso(weights=np.ones((2, 2))), data(), r"`weights` must be.*8 features"),
        (GraphicalLasso(weights=np.triu(np.ones((P, P)))), data(), "`weights` must be a symmetric"),
        (GraphicalLasso(weights=np.full((P, P), np.nan)), data(), "`weights` must be nonneg"),
        (GraphicalLasso(weights=-np.ones((P, P))), data(), "`weights` must be nonnegative"),
        (GraphicalLasso(0.0, weights=np.ones((P, P))), data(4), "was found|did not converge"),
    ],
)
def test_what_cannot_be_fitted_is_named(model, X, message):
    with pytest.raises((ValueError, ConvergenceWarning), match=message):
        model.fit(X)
