"""Resampling: equal to fits of the drawn rows one by one, summaries, failures, batches."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import linear_model

import sparsejax as sj
from sparsejax import resampling
from sparsejax.resampling import _bootstrap, _stability_selection

pytestmark = pytest.mark.usefixtures("float64")

N, P, STRENGTHS = 21, 8, (0.5, 0.2, 0.1)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, P))
Y = X[:, 0] - X[:, 1] + 0.5 * RNG.normal(size=N) + 1.0
WEIGHTS = np.arange(1.0, N + 1)
KEY = jax.random.key(0)


def lasso(strength=0.1, y=Y, **options):
    return sj.Problem(X, y, penalty=sj.penalties.L1(strength), fit_intercept=True, **options)


def weighted(y=Y):
    return lasso(y=y, loss=sj.losses.Squared(WEIGHTS))


def lasso_of_rows(rows, strength, weights=None):
    model = linear_model.Lasso(alpha=strength, tol=1e-12, max_iter=10**5)
    return model.fit(X[rows], Y[rows], None if weights is None else weights[rows])


def results_where(mask, yes, no):
    """An array of results."""
    flat = jax.vmap(lambda at: sj.RESULTS.where(at, yes, no))(jnp.ravel(jnp.asarray(mask)))
    return jax.tree.map(lambda x: x.reshape(jnp.shape(mask)), flat)


@pytest.fixture(scope="module")
def fits():
    return resampling.bootstrap(weighted(), 6, KEY, tol=1e-12)


@pytest.fixture(scope="module")
def stable():
    return resampling.stability_selection(lasso(), 4, KEY, STRENGTHS, tol=1e-10)


@pytest.fixture(scope="module")
def curve():
    return resampling.cross_validate(lasso(), 4, STRENGTHS, tol=1e-12)


def test_bootstrap_fits_the_drawn_rows(fits):
    assert np.all(np.sum(fits.counts, axis=1) == N)
    assert len(np.unique(fits.counts, axis=0)) == 6
    assert np.all(fits.gaps <= 1e-12)
    for k in range(6):
        rows = np.repeat(np.arange(N), np.asarray(fits.counts[k], int))
        model = lasso_of_rows(rows, 0.1, WEIGHTS)
        np.testing.assert_allclose(fits.coefs[k], model.coef_, atol=1e-6)
        np.testing.assert_allclose(fits.intercepts[k], model.intercept_, atol=1e-6)


@pytest.mark.parametrize("size", [None, pytest.param(3, marks=pytest.mark.slow)])
def test_convex_resamples_start_from_the_solution_on_all_samples(monkeypatch, size):
    """Others from zero: of these it decides which stationary point is found."""
    whole = sj.solve(lasso(), tol=1e-12).coef
    starts = []

    def solve(problem, *how, **options):
        jax.debug.callback(lambda start: starts.append(np.asarray(start)), how[3])
        return sj.solve(problem, *how, **options)

    monkeypatch.setattr(_bootstrap, "solve", solve)
    fit = functools.partial(resampling.bootstrap, num=3, key=KEY, tol=1e-12, batch_size=size)
    jax.block_until_ready(fit(lasso()).coefs)
    given = np.any(starts, axis=1)  # in no order, and once for a batch
    assert (~given).sum() == 1
    assert given.sum() * (size or 1) == 3
    for start in np.array(starts)[given]:
        np.testing.assert_allclose(start, whole, atol=1e-8)


def test_bootstrap_summaries(fits):
    coefs = np.asarray(fits.coefs)
    np.testing.assert_allclose(fits.frequencies, np.mean(coefs != 0, axis=0))
    np.testing.assert_allclose(fits.standard_errors, np.std(coefs, axis=0, ddof=1))
    np.testing.assert_allclose(fits.interval(0.8), np.quantile(coefs, [0.1, 0.9], axis=0))
    with pytest.raises(ValueError, match="`level` must lie in"):
        fits.interval(80)


def test_failed_resamples_are_reported_and_left_out(fits):
    with pytest.raises(RuntimeError, match="did not converge \\(first at index 0\\)"):
        resampling.bootstrap(weighted(), 6, KEY, tol=1e-12, max_steps=0)
    failed = results_where(np.arange(6) == 2, sj.RESULTS.stagnated, sj.RESULTS.successful)
    some = resampling.Bootstrap(
        fits.coefs.at[2].set(1e9), fits.intercepts, fits.gaps, fits.kkts, failed, fits.counts
    )
    kept = np.delete(np.asarray(fits.coefs), 2, axis=0)
    np.testing.assert_allclose(some.frequencies, np.mean(kept != 0, axis=0))
    np.testing.assert_allclose(some.standard_errors, np.std(kept, axis=0, ddof=1))
    np.testing.assert_allclose(some.interval(1.0), [kept.min(0), kept.max(0)])


def test_stability_selection_counts_what_halves_select(stable):
    halves = np.asarray(_stability_selection._draw(lasso(), 4, KEY, True))
    pairs = halves.reshape(4, 2, N).sum(axis=1)
    assert np.all(halves.sum(axis=1) == N // 2)
    assert np.all((pairs <= 1) & (pairs.sum(axis=1, keepdims=True) == N - 1))
    chosen = np.array([[lasso_of_rows(h > 0, s).coef_ != 0 for s in STRENGTHS] for h in halves])
    np.testing.assert_allclose(stable.probabilities, chosen.mean(axis=0))
    np.testing.assert_allclose(stable.sizes, chosen.any(axis=1).sum(axis=1))
    np.testing.assert_allclose(stable.scores, chosen.mean(axis=0).max(axis=0))
    np.testing.assert_array_equal(stable.selected(0.75), stable.scores >= 0.75)
    alone = np.asarray(_stability_selection._draw(lasso(), 4, KEY, False))
    assert alone.shape == (4, N)
    assert np.all(alone.sum(axis=1) == N // 2)


def constant(cutoff, pairs, share):
    """The divisor of q²/p in theorem 2 of Shah & Samworth, as the R package stabs has it."""
    if cutoff <= 0.75:
        if cutoff < 0.5 + min(share**2, 1 / (2 * pairs) + 0.75 * share**2):
            return 0.0
        return 2 * (2 * cutoff - 1 - 1 / (2 * pairs))
    return (1 + 1 / pairs) / (4 * (1 - cutoff + 1 / (2 * pairs)))


@pytest.mark.parametrize("threshold", [0.52, 0.6, 0.75, 0.9, 1.0])
def test_error_bounds(threshold):
    pairs, p, q = 50, 200, 12.0
    sizes = jnp.full(2 * pairs, q)
    none = results_where(np.ones((2 * pairs, 1), bool), sj.RESULTS.successful, sj.RESULTS.invalid)
    result = resampling.StabilitySelection(
        jnp.ones(1), jnp.zeros((1, p)), sizes, sizes[:, None], none, True
    )
    general = q**2 / p / (2 * threshold - 1)
    assert result.error_bound(threshold) == pytest.approx(general)
    divisor = constant(threshold, pairs, q / p)
    smaller = min(general, q**2 / p / divisor) if divisor else general
    assert result.error_bound(threshold, unimodal=True) == pytest.approx(smaller)


def test_error_bounds_need_a_majority_and_pairs(stable):
    with pytest.raises(ValueError, match="`threshold` must be above"):
        stable.error_bound(0.5)
    single = resampling.stability_selection(
        lasso(), 8, KEY, STRENGTHS, complementary=False, tol=1e-10
    )
    with pytest.raises(ValueError, match="complementary pairs"):
        single.error_bound(0.8, unimodal=True)


def test_cross_validation_is_that_of_scikit_learn(curve):
    model = linear_model.LassoCV(alphas=STRENGTHS, cv=4, tol=1e-12, max_iter=10**5).fit(X, Y)
    np.testing.assert_allclose(2 * curve.losses, model.mse_path_.T, rtol=1e-6)
    assert float(curve.best) == model.alpha_


def test_cross_validation_chooses():
    losses = jnp.array([[3.0, 1.2, 1.0, 0.8], [3.0, 1.0, 1.1, 1.3], [3.0, 1.4, 1.2, 1.1]])
    results = results_where(losses > 0, sj.RESULTS.successful, sj.RESULTS.invalid)
    strengths = jnp.array([1.0, 0.5, 0.2, 0.1])
    curve = resampling.CrossValidation(strengths, losses, jnp.zeros((3, 4)), results)
    np.testing.assert_allclose(curve.standard_errors, np.std(losses, axis=0, ddof=1) / np.sqrt(3))
    assert curve.best == 0.1
    assert curve.sparsest == 0.5
    failed = results_where(losses == 0.8, sj.RESULTS.stagnated, sj.RESULTS.successful)
    curve = resampling.CrossValidation(strengths, losses, jnp.zeros((3, 4)), failed)
    assert curve.best == 0.2


def test_a_fold_that_fails_is_named():
    with pytest.raises(RuntimeError, match="first at index 0, 1"):
        resampling.cross_validate(lasso(), 4, (5.0, 0.2, 0.1), tol=1e-12, max_steps=0)


def test_folds_of_other_data():
    folds = sj.bilevel.Folds(np.ones((2, 5)), np.ones((2, 5)))
    with pytest.raises(ValueError, match="made for 5 samples"):
        resampling.cross_validate(lasso(), folds, STRENGTHS)
    with pytest.raises(TypeError, match="`folds` must be"):
        resampling.cross_validate(lasso(), [[1]], STRENGTHS)


def test_batches_and_devices_change_nothing(fits):
    options = {"batch_size": 4, "devices": jax.devices()}
    others = resampling.bootstrap(weighted(), 6, KEY, tol=1e-12, **options)
    np.testing.assert_array_equal(others.counts, fits.counts)
    np.testing.assert_allclose(others.coefs, fits.coefs, atol=1e-6)


@pytest.mark.slow
def test_in_jit_and_vmap(fits):
    targets = jnp.stack([Y, -Y])

    @jax.jit
    @jax.vmap
    def coefs(y):
        return resampling.bootstrap(weighted(y), 6, KEY, tol=1e-12, throw=False).coefs

    found = coefs(targets)
    np.testing.assert_allclose(found[0], fits.coefs, atol=1e-9)
    np.testing.assert_allclose(found[1], -fits.coefs, atol=1e-9)


@pytest.mark.slow
def test_other_losses_and_penalties():
    labels = (np.median(Y) < Y).astype(float)
    penalty = sj.penalties.GroupL2(0.05, np.arange(P) // 2)
    groups = sj.Problem(X, labels, sj.losses.Logistic(), penalty, fit_intercept=True)
    fits = resampling.bootstrap(groups, 3, KEY, tol=1e-6)
    together = np.asarray(fits.coefs != 0).reshape(3, P // 2, 2)
    np.testing.assert_array_equal(together[..., 0], together[..., 1])
    several = sj.Problem(X, np.stack([Y, -Y], axis=1), penalty=sj.penalties.RowL2(1.0))
    stable = resampling.stability_selection(several, 2, KEY, STRENGTHS)
    assert stable.probabilities.shape == (len(STRENGTHS), P)


@pytest.mark.parametrize(
    ("options", "match"),
    [({"num": 0}, "`num`"), ({"batch_size": 0}, "`batch_size`"), ({"devices": []}, "`devices`")],
)
def test_bad_arguments(options, match):
    with pytest.raises(ValueError, match=match):
        resampling.bootstrap(lasso(), **{"num": 2, "key": KEY, **options})
