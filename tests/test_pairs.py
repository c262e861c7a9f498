"""Losses with penalties: every kind of pair that `Auto` takes, against an interior-point method.

One compilation a pair: all data sets have the same shapes, sample weights and an offset.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pairs
import pytest
import reference
import scipy.optimize
from pairs import GROUPS, SQRT, TASKS, N, P
from sklearn import linear_model

import sparsejax as sj
from sparsejax import losses, penalties, solvers
from sparsejax._certificate import objective_at_zero
from sparsejax._problem import project_intercept

pytestmark = [pytest.mark.usefixtures("float64"), pytest.mark.slow]

TOL = 1e-9
# loss, penalty, whether there is an intercept
PAIRS = [
    ("squared", "group-l2", True),
    ("squared", "group-linf", True),
    ("squared", "slope", False),
    ("squared", "total-variation", False),
    ("squared", "fused-lasso", True),
    ("huber", "slope", True),
    ("huber", "sparse-group", False),
    ("logistic", "group-l2", True),
    ("logistic", "k-support", False),
    ("logistic", "total-variation", True),
    ("poisson", "elastic-net", True),
    ("gamma", "sparse-group", True),
    ("squared-hinge", "group-linf", True),
    ("cox", "l1", False),
]
SEVERAL = [
    (loss, penalty, True)
    for loss in ("squared", "multinomial")
    for penalty in ("l1", "row-l2", "nuclear")
] + [("huber", "l1", True), ("gamma", "nuclear", False), ("poisson", "row-l2", True)]


# What VarPro takes of losses that are not quadratic.
PROJECTED = [
    ("huber", "sparse-group", False),
    ("logistic", "l1", True),
    ("poisson", "group-l2", True),
    ("gamma", "elastic-net", True),
    ("squared-hinge", "l1", False),
    ("cox", "group-l2", False),
    ("multinomial", "row-l2", True),
]


@eqx.filter_jit
def _unit(problem):
    """What gaps are relative to."""
    return objective_at_zero(project_intercept(problem)[0])


def _largest(problem):
    """strength_max, or an estimate for what has none."""
    if hasattr(problem.penalty, "strength_max"):
        return float(sj.strength_max(problem))
    return 0.3


def _is_null(problem, coef):
    coef = np.asarray(coef)
    return np.ptp(coef) == 0 if problem.penalty.null_space(P) is not None else not np.any(coef)


def _check_pair(loss, penalty, intercept, shape=(), solver=None):
    pytest.importorskip("cvxpy")
    for seed, ratio in ((0, 0.3), (1, 0.05)):
        data = pairs.data(loss, seed, shape)
        problem = pairs.problem(loss, penalty, intercept, data, 1.0)
        largest = _largest(problem)
        problem = pairs.problem(loss, penalty, intercept, data, ratio * largest)
        unit, best = float(_unit(problem)), reference.optimum_of(data[0], problem)
        solution = sj.solve(problem, solver, tol=TOL)
        assert solution.result == sj.RESULTS.successful
        assert solution.gap <= TOL
        value = reference.value(problem.penalty, np.asarray(solution.coef))
        predictions = data[0] @ solution.coef + solution.intercept + data[3]
        value += reference.loss_value(problem.loss, predictions, np.asarray(problem.y))
        np.testing.assert_allclose(solution.objective, value, rtol=1e-10)
        np.testing.assert_allclose(value, best, atol=1e-7 * max(unit, abs(best)))
        assert solution.kkt < 1e-3
        if intercept:
            gradient = problem.loss.gradient(predictions, problem.y)
            np.testing.assert_allclose(jnp.sum(gradient, axis=0), 0, atol=1e-12)
        for steps in (0, 1, 2):  # however early: no certificate promises too much
            early = sj.solve(problem, solver, tol=TOL, max_steps=steps, throw=False)
            assert early.gap * unit >= float(early.objective) - best - 1e-8 * max(unit, abs(best))
        if hasattr(problem.penalty, "strength_max") and np.isfinite(largest):
            for factor, is_null in ((1 + 1e-6, True), (0.99, False)):
                problem = pairs.problem(loss, penalty, intercept, data, factor * largest)
                coef = sj.solve(problem, solver, tol=TOL).coef
                assert _is_null(problem, coef) == is_null


@pytest.mark.parametrize(("loss", "penalty", "intercept"), PAIRS)
def test_pair(loss, penalty, intercept):
    _check_pair(loss, penalty, intercept)


@pytest.mark.parametrize(("loss", "penalty", "intercept"), PROJECTED)
def test_pair_by_variable_projection(loss, penalty, intercept):
    shape = (TASKS,) if loss == "multinomial" else ()
    _check_pair(loss, penalty, intercept, shape, solvers.VarPro())


def test_schatten_penalty_of_several_targets():
    """Smooth for q > 1: quasi-Newton in NumPy finds the same."""
    X, Y, weights, _ = pairs.data("squared", 3, (TASKS,))
    problem = sj.Problem(X, Y, losses.Squared(weights), penalties.Schatten(0.1, 1.5))
    solution = sj.solve(problem, tol=1e-11)
    assert solution.kkt < 1e-4
    h = reference.row_weights(Y, weights)

    def objective(flat):
        w = flat.reshape(P, TASKS)
        left, sizes, right = np.linalg.svd(w, full_matrices=False)
        slope = -X.T @ (h[:, None] * (Y - X @ w)) + 0.1 * 1.5 * (left * sizes**0.5) @ right
        value = reference.loss_value(problem.loss, X @ w, Y)
        return value + reference.value(problem.penalty, w), slope.ravel()

    found = scipy.optimize.minimize(
        objective, np.ones(P * TASKS), jac=True, tol=1e-14, options={"maxiter": 10_000}
    )
    np.testing.assert_allclose(solution.objective, found.fun, rtol=1e-9)
    np.testing.assert_allclose(solution.coef.ravel(), found.x, atol=1e-4)


@pytest.mark.parametrize(("loss", "penalty", "intercept"), SEVERAL)
def test_pair_of_several_targets(loss, penalty, intercept):
    _check_pair(loss, penalty, intercept, (TASKS,))


def _solved(loss, penalty, data, strength, intercept=True, **more):
    problem = pairs.problem(loss, penalty, intercept, data, strength)
    return sj.solve(problem, tol=1e-13, throw=False, **more)


def _same(first, second, atol=1e-6):
    np.testing.assert_allclose(first.coef, second.coef, atol=atol)
    np.testing.assert_allclose(first.intercept, second.intercept, atol=atol)


def test_solvers_agree_on_logistic_regression():
    data = pairs.data("logistic", 2)
    peers = [None, solvers.FISTA(), solvers.ProxNewton(inner=solvers.FISTA())]
    ours, *others = [_solved("logistic", "l1", data, 0.05, solver=solver) for solver in peers]
    assert ours.stats["solver"] == "ProxNewton"
    assert np.any(ours.coef != 0)
    for other in others:
        _same(ours, other)
        np.testing.assert_allclose(ours.objective, other.objective, rtol=1e-11)


@pytest.mark.parametrize(("loss", "penalty"), [("logistic", "l1"), ("poisson", "elastic-net")])
def test_sample_weights_are_repeated_rows(loss, penalty):
    """As many rows after as before, so that nothing is compiled for it."""
    X, y, _, offset = pairs.data(loss, 3)
    counts = np.array([0, 2, 1, 1, 1] * 5)
    weighted = _solved(loss, penalty, (X, y, counts.astype(float), offset), 0.05)
    rows = np.repeat(np.arange(N), counts)
    repeated = _solved(loss, penalty, (X[rows], y[rows], np.ones(N), offset[rows]), 0.05)
    _same(weighted, repeated)
    assert np.any(weighted.coef != 0)


def test_logistic_regression_equals_scikit_learn():
    X, y, weights, _ = pairs.data("logistic", 4)
    ours = _solved("logistic", "l1", (X, y, weights, np.zeros(N)), 0.05)
    model = linear_model.LogisticRegression(
        l1_ratio=1.0, C=1 / (0.05 * weights.sum()), solver="saga", tol=1e-9, max_iter=100_000
    ).fit(X, y, weights)
    np.testing.assert_allclose(ours.coef, model.coef_[0], atol=1e-5)
    np.testing.assert_allclose(ours.intercept, model.intercept_[0], atol=1e-5)


def test_poisson_regression_equals_scikit_learn(monkeypatch):
    X, y, weights, _ = pairs.data("poisson", 4)
    monkeypatch.setitem(pairs.PENALTIES, "elastic-net", lambda s: penalties.ElasticNet(s, 0.0))
    ours = _solved("poisson", "elastic-net", (X, y, weights, np.zeros(N)), 0.1)
    model = linear_model.PoissonRegressor(alpha=0.1, solver="newton-cholesky", tol=1e-10)
    model.fit(X, y, weights)
    np.testing.assert_allclose(ours.coef, model.coef_, atol=1e-6)
    np.testing.assert_allclose(ours.intercept, model.intercept_, atol=1e-6)


def test_offset_of_counts_is_their_exposure():
    """Counts with the logarithm of an exposure as offset are rates weighted by the exposure."""
    X, y, _, _ = pairs.data("poisson", 5)
    exposure = np.random.default_rng(0).uniform(0.5, 2.0, N)
    exposure *= N / exposure.sum()
    counts = _solved("poisson", "elastic-net", (X, y, np.ones(N), np.log(exposure)), 0.05)
    rates = _solved("poisson", "elastic-net", (X, y / exposure, exposure, np.zeros(N)), 0.05)
    _same(counts, rates)


@pytest.mark.parametrize(("penalty", "shape"), [("group-l2", ()), ("row-l2", (TASKS,))])
def test_offset_of_least_squares_shifts_the_targets(penalty, shape):
    X, y, weights, offset = pairs.data("squared", 6, shape)
    ours = _solved("squared", penalty, (X, y, weights, offset), 0.1)
    _same(ours, _solved("squared", penalty, (X, y - offset, weights, 0 * offset), 0.1))


def test_group_lasso_of_an_orthogonal_design():
    X, y, _, _ = pairs.data("squared", 7)
    X, _ = np.linalg.qr(X - X.mean(0))
    X *= np.sqrt(N)
    ours = _solved("squared", "group-l2", (X, y, np.ones(N), np.zeros(N)), 0.2)
    v = X.T @ y / N
    norms = np.sqrt(np.bincount(GROUPS, v**2))
    closed = v * np.maximum(0, 1 - 0.2 * SQRT / norms)[GROUPS]
    assert 0 < np.count_nonzero(closed) < P
    np.testing.assert_allclose(ours.coef, closed, atol=1e-7)
    np.testing.assert_allclose(ours.intercept, y.mean(), rtol=1e-12)


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_zero_and_infinite_group_weights(loss, monkeypatch):
    data = pairs.data(loss, 8)
    weights = np.array([1.0, 0.0, np.inf, 2.0])
    monkeypatch.setitem(
        pairs.PENALTIES, "group-l2", lambda s: penalties.GroupL2(s, GROUPS, weights)
    )
    solution = _solved(loss, "group-l2", data, 0.05)
    assert solution.gap <= 1e-10
    np.testing.assert_array_equal(solution.coef[GROUPS == 2], 0.0)
    problem = pairs.problem(loss, "group-l2", True, data, 0.05)
    pull = data[0].T @ problem.loss.gradient(
        data[0] @ solution.coef + solution.intercept + data[3], problem.y
    )
    np.testing.assert_allclose(pull[GROUPS == 1], 0, atol=1e-8)
    largest = float(sj.strength_max(problem))
    for factor, is_null in ((1 + 1e-6, True), (0.99, False)):
        coef = _solved(loss, "group-l2", data, factor * largest).coef
        assert np.all(coef[GROUPS == 1] != 0)
        assert np.all(coef[np.isin(GROUPS, [0, 3])] == 0) == is_null


def test_groups_of_one_are_the_lasso():
    X, y, _, _ = pairs.data("squared", 9)
    lasso, groups = penalties.L1(0.1), penalties.GroupL2(0.1, np.arange(P)[::-1])
    pair = [sj.solve(sj.Problem(X, y, penalty=g), tol=1e-13) for g in (lasso, groups)]
    _same(*pair)
    np.testing.assert_array_equal(pair[0].coef != 0, pair[1].coef != 0)


def test_rows_of_several_targets_are_groups_of_a_block_design():
    n, p = 8, 4
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(n, p)), rng.normal(size=(n, TASKS))
    rows = sj.solve(sj.Problem(X, Y, penalty=penalties.RowL2(0.3)), tol=1e-13)
    groups = np.repeat(np.arange(p), TASKS)
    penalty = penalties.GroupL2(0.3 / TASKS, groups, np.ones(p))  # the mean is over n·TASKS
    block = sj.solve(sj.Problem(np.kron(X, np.eye(TASKS)), Y.ravel(), penalty=penalty), tol=1e-13)
    np.testing.assert_allclose(rows.coef.ravel(), block.coef, atol=1e-6)
    np.testing.assert_allclose(rows.objective, TASKS * block.objective, rtol=1e-10)


def _make(loss, y, penalty=None, **more):
    X = np.random.default_rng(0).normal(size=(4, 3))
    return sj.Problem(X, y, loss, penalties.L1(0.1) if penalty is None else penalty, **more)


LABELS, SURVIVAL = np.array([1.0, -1.0, 1.0, -1.0]), np.array([[1.0, 1], [2, 0], [3, 1], [4, 1]])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: _make(losses.Logistic(), np.ones((4, 2)) * 0.3), "`y` must hold the labels"),
        (lambda: _make(losses.Squared(), np.ones(4), offset=np.ones(3)), "`offset` must have"),
        (lambda: _make(losses.Squared(), np.ones((4, 2)), offset=np.ones(4)), "`offset` must"),
        (lambda: _make(losses.Poisson(), np.ones(4), offset=np.full(4, np.inf)), "`offset`"),
        (lambda: _make(losses.Cox(), SURVIVAL, offset=np.ones((4, 2))), "`offset` must have"),
        (lambda: _make(losses.Cox(), SURVIVAL, fit_intercept=True), "`fit_intercept`.*Cox"),
        (lambda: _make(losses.Cox(), np.ones(4)), "`y`"),
        (lambda: _make(losses.Squared(), np.ones((4, 2, 2))), "`y` must be a vector"),
        (lambda: _make(losses.Multinomial(), np.ones((4, 2))), "`y`"),
        (
            lambda: sj.solve(_make(losses.Squared(), np.ones((4, 2))), init=np.zeros(3)),
            r"`init` must have shape \(3, 2\)",
        ),
        (
            lambda: sj.solve(_make(losses.Logistic(), LABELS), init=np.zeros((3, 1))),
            r"`init` must have shape \(3,\)",
        ),
    ],
)
def test_bad_input_names_the_argument(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("problem", "solver", "message"),
    [
        (lambda: _make(losses.Poisson(), np.ones(4)), solvers.FISTA(), "Poisson.*ProxNewton"),
        (lambda: _make(losses.Gamma(), np.ones(4)), solvers.FISTA(), "Gamma.*ProxNewton"),
        (lambda: _make(losses.Logistic(), LABELS), solvers.WorkingSet(), "Logistic.*FISTA"),
        (
            lambda: _make(losses.Multinomial(), np.arange(4) % 3, penalties.Nuclear(1.0)),
            solvers.ProxNewton(),
            "Multinomial with Nuclear.*FISTA",
        ),
        (
            lambda: _make(losses.Logistic(), LABELS, penalties.SLOPE(np.ones(3))),
            solvers.ProxNewton(inner=solvers.WorkingSet()),
            "SLOPE.*FISTA",
        ),
        (lambda: _make(losses.Hinge(), LABELS), solvers.FISTA(), "Hinge.*PrimalDual"),
        (
            lambda: _make(losses.Cox(), SURVIVAL, penalties.Analysis(1.0, np.eye(3))),
            solvers.PrimalDual(),
            "Cox.*ProxNewton",
        ),
    ],
)
def test_unsupported_pairs_name_what_supports_them(problem, solver, message):
    with pytest.raises(TypeError, match=message):
        sj.solve(problem(), solver)


def test_an_outlier_that_hides_all_curvature():
    """Huber's loss is straight at every sample at first: its models must not be flat."""
    X, y = np.arange(4.0)[:, None], np.array([0.1, 0.9, 2.1, 40.0])
    problem = sj.Problem(X, y, losses.Huber(0.5), penalties.L1(0.01), fit_intercept=True)
    solution = sj.solve(problem, solvers.ProxNewton(), tol=1e-8)
    np.testing.assert_allclose(solution.coef, [1.72], atol=1e-4)
    np.testing.assert_allclose(solution.intercept, -0.36, atol=1e-4)


def test_newton_starts_next_to_a_solution():
    """Where Huber's loss is straight, models have targets far away, whose rounding is none here."""
    for seed in range(8):
        X, y, weights, _ = pairs.data("huber", seed)
        y += np.random.default_rng(seed).standard_t(1.5, N)
        penalty = penalties.SparseGroup(0.02, GROUPS, 0.5)
        problem = sj.Problem(X, y, losses.Huber(0.1, weights), penalty)
        solution = sj.solve(problem, solvers.ProxNewton(), tol=1e-12, init=np.zeros(P))
        for distance in (1e-6, 1e-5, 1e-4):
            start = solution.coef * (1 + distance * np.linspace(-1, 1, P))
            again = sj.solve(problem, solvers.ProxNewton(), tol=1e-12, init=start)
            np.testing.assert_allclose(again.coef, solution.coef, atol=1e-8)


def test_weights_are_of_features_not_of_targets():
    rng = np.random.default_rng(0)
    X, Y, weights = rng.normal(size=(20, 6)), rng.normal(size=(20, 6)), rng.uniform(0.5, 2, 6)
    penalty = penalties.L1(0.05, weights=weights)
    together = sj.solve(sj.Problem(X, Y, penalty=penalty), tol=1e-12)
    for task in range(6):
        alone = sj.solve(sj.Problem(X, Y[:, task], penalty=penalty), tol=1e-12)
        np.testing.assert_allclose(together.coef[:, task], alone.coef, atol=1e-6)


@pytest.mark.parametrize("penalty", [penalties.SLOPE([0.2, 0.1]), penalties.GroupL2(0.1, [0, 0])])
def test_penalties_of_vectors_refuse_several_targets(penalty):
    with pytest.raises(TypeError, match="takes one target"):
        sj.Problem(np.eye(2), np.eye(2), penalty=penalty)
