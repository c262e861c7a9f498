"""Multinomial models for proximal Newton: contrasts of classes in which the Hessian is diagonal."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

import sparsejax as sj
from sparsejax import losses, penalties, solvers
from sparsejax.designs import as_design
from sparsejax.designs._class_contrasted import ClassContrasted
from sparsejax.designs._projection import Projection
from sparsejax.losses._class_contrasts import ClassContrasts
from sparsejax.solvers._models import one_by_one

pytestmark = pytest.mark.usefixtures("float64")

N, P, K = 30, 8, 4


def _data(seed=0):
    """Correlated features, labels that depend on the first three, and weights, some zero."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N, P)) + rng.normal(size=(N, 1))
    labels = np.argmax(X[:, :3] @ rng.normal(size=(3, K)) + rng.gumbel(size=(N, K)), axis=1)
    labels[:K] = np.arange(K)
    weights = rng.uniform(0.5, 2.0, N)
    weights[[5, N - 1]] = 0.0
    return X, labels.astype(float), weights


@pytest.mark.parametrize("weighted", [False, True], ids=["equal", "weighted"])
@pytest.mark.parametrize("spread", [1.0, 8.0])
def test_contrasts_factorise_the_hessian(weighted, spread):
    _, labels, weights = _data()
    loss = losses.Multinomial(weights if weighted else None)
    y = loss.targets(jnp.asarray(labels))
    z = spread * jnp.asarray(np.random.default_rng(1).normal(size=(N, K)))
    contrasts, curvature = loss.contrasts(z, y)
    matrix = jax.jacfwd(contrasts.matvec)(z).reshape(-1, N * K)
    hessian = jax.hessian(lambda z: loss.value(z, y))(z).reshape(N * K, N * K)
    np.testing.assert_allclose(
        matrix.T @ (curvature.reshape(-1, 1) * matrix), hessian, atol=1e-14 * np.abs(hessian).max()
    )
    gradient = loss.gradient(z, y)
    seen = contrasts.solve_transposed(gradient)
    np.testing.assert_allclose(matrix.T @ seen.reshape(-1), gradient.reshape(-1), atol=1e-16)
    np.testing.assert_allclose(contrasts.rmatvec(seen), gradient, atol=1e-16)
    each = contrasts.of_each_class()
    for k in range(K):
        np.testing.assert_array_equal(each[k], contrasts.matvec(jnp.eye(K)[jnp.full(N, k)]))


def test_contrasts_survive_probabilities_that_vanish():
    """Where exp(z) underflows beside others, what is left is finite."""
    _, labels, _ = _data()
    loss = losses.Multinomial()
    y = loss.targets(jnp.asarray(labels))
    z = 2000 * jnp.asarray(np.random.default_rng(1).normal(size=(N, K)))
    contrasts, curvature = loss.contrasts(z, y)
    assert np.isfinite(contrasts.matvec(z)).all()
    assert np.isfinite(contrasts.solve_transposed(loss.gradient(z, y))).all()
    assert (np.asarray(curvature) >= 0).all()
    assert np.isfinite(curvature).all()


def test_designs_are_their_matrices():
    X, _, _ = _data()
    rng = np.random.default_rng(2)
    logits = jnp.asarray(rng.normal(size=(N, K)))
    contrasts, curvature = ClassContrasts.of(jax.nn.log_softmax(logits))
    design = ClassContrasted(as_design(X), contrasts, contrasts.of_each_class())
    stacked = np.kron(X, np.eye(K)).reshape(N, K, P * K)
    dense = np.einsum("nkl,nlp->nkp", _matrices(contrasts), stacked).reshape(-1, P * K)
    intercepts = np.asarray(design.seen[:-1]).reshape(K - 1, -1).T
    h = np.asarray(curvature).reshape(-1)
    root = np.sqrt(h)[:, None]
    fitted = np.linalg.lstsq(root * intercepts, root * dense)[0]
    projection = Projection.out_of(design, jnp.asarray(intercepts), jnp.asarray(h))
    cases = (design, dense), (projection, dense - intercepts @ fitted)
    for found, expected in cases:
        w, r = rng.normal(size=P * K), rng.normal(size=N * (K - 1))
        factors, few = rng.uniform(size=r.shape), jnp.array([3, 17, P * K])
        np.testing.assert_allclose(found.matvec(jnp.asarray(w)), expected @ w, atol=1e-12)
        np.testing.assert_allclose(found.rmatvec(jnp.asarray(r)), expected.T @ r, atol=1e-12)
        np.testing.assert_allclose(found.columns(few)[:2], expected.T[few[:2]], atol=1e-12)
        np.testing.assert_array_equal(found.columns(few)[2], 0)
        np.testing.assert_allclose(found.all_columns(), expected.T, atol=1e-12)
        np.testing.assert_allclose(
            found.square_norms(jnp.asarray(factors)), factors @ expected**2, atol=1e-12
        )
        for size in (3, P * K - 2, P * K):  # fewer columns than features, more, and all
            chosen = jnp.array([*rng.permutation(P * K)[:size], P * K])
            padded = np.pad(expected, ((0, 0), (0, 1)))[:, chosen]
            gram = found.gram_rows(chosen, jnp.asarray(factors))
            places = np.append(rng.permutation(chosen.size)[:5], chosen.size)
            rows = np.pad(padded, ((0, 0), (0, 1)))[:, places]
            np.testing.assert_allclose(
                gram(jnp.asarray(places)), rows.T @ (factors[:, None] * padded), atol=1e-12
            )
        few, values = few[:2], rng.normal(size=2)
        np.testing.assert_allclose(
            found.combine(few, jnp.asarray(values)), expected[:, few] @ values, atol=1e-12
        )
    np.testing.assert_allclose(projection.project(jnp.asarray(intercepts.T)), 0, atol=1e-12)


def _matrices(contrasts):
    """(n, k − 1, k)."""
    return np.moveaxis(np.asarray(contrasts.of_each_class()), 0, 2)


def test_a_column_that_repeats_another_is_projected_once():
    X, _, _ = _data()
    h = jnp.ones(N)
    twice = jnp.asarray(np.column_stack([X[:, 0], X[:, 0], X[:, 1]]))
    once = Projection.out_of(as_design(X), twice[:, 1:], h)
    found = Projection.out_of(as_design(X), twice, h)
    np.testing.assert_allclose(found.all_columns(), once.all_columns(), atol=1e-12)


@pytest.mark.parametrize(
    "penalty",
    [
        penalties.L1(0.3),
        penalties.L1(0.3, np.arange(P), nonnegative=True),
        penalties.ElasticNet(0.3, 0.4),
        penalties.RowL2(0.3),
        penalties.RowL2(0.3, np.arange(P)),
    ],
    ids=["l1", "weights", "elastic-net", "rows", "row-weights"],
)
def test_penalties_of_coefficients_one_by_one(penalty):
    W = jnp.asarray(np.random.default_rng(3).uniform(size=(P, K)))
    single = one_by_one(penalty, P, K)
    assert single.value(W.reshape(-1)) == pytest.approx(float(penalty.value(W)))
    np.testing.assert_allclose(
        single.prox(W.reshape(-1), 0.5).reshape(P, K), penalty.prox(W, 0.5), atol=1e-15
    )


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (penalties.L1, "dense"),
        (penalties.RowL2, "sparse"),
        pytest.param(penalties.L1, "sparse", marks=pytest.mark.slow),
        pytest.param(lambda s: penalties.ElasticNet(s, 0.9), "dense", marks=pytest.mark.slow),
    ],
    ids=["l1", "rows-sparse", "l1-sparse", "elastic-net"],
)
def test_few_models_where_gradients_take_thousands_of_steps(make, kind):
    X, labels, weights = _data()
    X = scipy.sparse.csr_matrix(X * (np.abs(X) > 0.5)) if kind == "sparse" else X
    rng = np.random.default_rng(4)
    options = {"fit_intercept": True, "offset": rng.normal(size=(N, K))}
    loss = losses.Multinomial(weights)
    strength = sj.strength_max(sj.Problem(X, labels, loss, make(1.0), **options)) / 100
    problem = sj.Problem(X, labels, loss, make(strength), **options)
    found = sj.solve(problem, tol=1e-11)
    assert found.stats["solver"] == "ProxNewton"
    assert found.stats["num_steps"] <= 15
    by_gradients = sj.solve(problem, solvers.FISTA(), tol=1e-9, max_steps=10**6)
    assert by_gradients.stats["num_steps"] > 500
    values = [float(sj.objective(problem, of.coef, of.intercept)) for of in (found, by_gradients)]
    assert values[0] <= values[1] + 1e-12
    assert values[1] - values[0] <= 2e-9
    probabilities = [
        jax.nn.softmax(problem.predict(of.coef, of.intercept)) for of in (found, by_gradients)
    ]
    np.testing.assert_allclose(*probabilities, atol=1e-4)


def test_single_precision():
    X, labels, _ = _data()
    X = X.astype(np.float32)
    problem = sj.Problem(X, labels, losses.Multinomial(), penalties.L1(0.003), fit_intercept=True)
    found = sj.solve(problem, tol=1e-5)
    assert found.coef.dtype == np.float32
    assert found.stats["solver"] == "ProxNewton"
    assert found.stats["num_steps"] <= 15


def test_what_models_do_not_take_goes_to_fista():
    X, labels, _ = _data()
    make = lambda penalty, X=X, y=labels: sj.Problem(X, y, losses.Multinomial(), penalty)  # noqa: E731
    assert isinstance(solvers.Auto().choose(make(penalties.L1(0.1))), solvers.ProxNewton)
    assert isinstance(solvers.Auto().choose(make(penalties.Nuclear(0.1))), solvers.FISTA)
    # 3 · 30 000 rows of contrasts, of which a working set of 1200 columns would take .8 GiB.
    many = make(penalties.L1(0.1), np.ones((30_000, 300), np.float32), np.arange(30_000) % 4)
    assert isinstance(solvers.Auto().choose(many), solvers.FISTA)


def test_derivatives_of_intercepts():
    """Along the constants, where the loss does not change, they sum to zero as intercepts do."""
    rng = np.random.default_rng(0)
    X, labels = rng.normal(size=(40, 5)), rng.integers(0, 4, 40)

    def intercepts(strength):
        # Unique coefficients, which those of an L1 penalty alone need not be.
        penalty = sj.penalties.ElasticNet(strength, 0.9)
        problem = sj.Problem(X, labels, sj.losses.Multinomial(), penalty, True)
        return sj.solve(problem, tol=1e-14, throw=False).intercept

    step = 1e-5
    expected = (intercepts(0.03 + step) - intercepts(0.03 - step)) / (2 * step)
    np.testing.assert_allclose(jnp.sum(intercepts(0.03)), 0.0, atol=1e-14)
    np.testing.assert_allclose(jax.jacfwd(intercepts)(0.03), expected, rtol=1e-5)
    np.testing.assert_allclose(jax.jacrev(intercepts)(0.03), expected, rtol=1e-5)
