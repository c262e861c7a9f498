"""VarPro beyond the Lasso: groups, rows, trace norm, interpolation and the square root."""

import cvxpy as cp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
import scipy.optimize
import scipy.sparse

import sparsejax as sj
from sparsejax import losses, penalties, solvers
from sparsejax._certificate import objective_at_zero
from sparsejax._problem import project_intercept

pytestmark = pytest.mark.usefixtures("float64")

N, P = 14, 20
GROUPS = np.array([0, 2, 0, 1, 3])[np.arange(P) % 5]  # unequal and interleaved


def _data(seed, n=N, p=P, shape=(), rank=None, noise=0.3):
    rng = np.random.default_rng(seed)
    X, w = rng.normal(size=(n, p)), np.zeros((p, *shape))
    w[:5] = rng.normal(size=(5, *shape))
    if rank is not None:
        w = rng.normal(size=(p, rank)) @ rng.normal(size=(rank, *shape))
    y = X @ w + noise * rng.normal(size=(n, *shape)) + 0.5
    return X, y, rng.uniform(0.5, 2.0, n)


BLOCKS = {
    "group-l2": lambda s: penalties.GroupL2(s, GROUPS, [0.5, 1.0, 2.0, 1.5]),
    "group-l2-unpenalised": lambda s: penalties.GroupL2(s, GROUPS, [0.5, 0.0, np.inf, 1.5]),
    "sparse-group": lambda s: penalties.SparseGroup(s, GROUPS, 0.4),
    "row-l2": penalties.RowL2,
}


@pytest.mark.parametrize(
    ("name", "n"),
    [
        ("group-l2", N),
        pytest.param("sparse-group", 24, marks=pytest.mark.slow),
        pytest.param("row-l2", N, marks=pytest.mark.slow),
    ],
)
def test_sums_of_norms(name, n):
    """Fewer samples than features and more, sample weights, an intercept; nothing but VarPro."""
    shape = (3,) if name == "row-l2" else ()
    for seed, strength in ((0, 0.03), (1, 0.2)):
        X, y, weights = _data(seed, n, shape=shape)
        problem = sj.Problem(X, y, losses.Squared(weights), BLOCKS[name](strength), True)
        solution = sj.solve(problem, solvers.VarPro(finish=False), tol=1e-9)
        assert solution.result == sj.RESULTS.successful
        unit = float(objective_at_zero(project_intercept(problem)[0]))
        best = reference.optimum_of(X, problem)
        np.testing.assert_allclose(solution.objective, best, atol=1e-7 * unit)
        value = sj.objective(problem, solution.coef, solution.intercept)
        np.testing.assert_allclose(value, solution.objective, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["group-l2", "group-l2-unpenalised"])
def test_finish_has_exact_zeros(name):
    X, y, weights = _data(0)
    problem = sj.Problem(X, y, losses.Squared(weights), BLOCKS[name](0.6), True)
    solution = sj.solve(problem, solvers.VarPro(), tol=1e-12)
    peer = sj.solve(problem, tol=1e-12)
    np.testing.assert_allclose(solution.coef, peer.coef, atol=1e-8)
    np.testing.assert_array_equal(solution.coef == 0, peer.coef == 0)
    assert jnp.any(solution.coef == 0)


@pytest.mark.slow
def test_groups_on_a_working_set():
    X, y, weights = _data(3)
    problem = sj.Problem(X, y, losses.Squared(weights), BLOCKS["group-l2"](0.1), True)
    solution = sj.solve(problem, solvers.WorkingSet(solvers.VarPro()), tol=1e-10)
    peer = sj.solve(problem, tol=1e-10)
    np.testing.assert_allclose(solution.coef, peer.coef, atol=1e-7)
    assert solution.stats["num_inner_iterations"] > 0


TASKS = 16


@pytest.mark.parametrize(("n", "p"), [(24, 18), pytest.param(18, 24, marks=pytest.mark.slow)])
def test_trace_norm(n, p):
    """Ranks below and above the width of the first factor; weights and an intercept."""
    ranks = []
    for seed, rank, ratio, noise in [(0, 2, 0.1, 0.1), (1, 16, 0.02, 0.5), (2, 16, 0.6, 0.5)]:
        X, Y, weights = _data(seed, n, p, (TASKS,), rank, noise)
        loss = losses.Squared(weights)
        largest = sj.strength_max(sj.Problem(X, Y, loss, penalties.Nuclear(1.0), True))
        problem = sj.Problem(X, Y, loss, penalties.Nuclear(ratio * largest), True)
        solution = sj.solve(problem, solvers.VarPro(), tol=1e-9)
        assert solution.gap <= 1e-9
        peer = sj.solve(problem, solvers.FISTA(), tol=1e-10)
        unit = float(objective_at_zero(project_intercept(problem)[0]))
        np.testing.assert_allclose(solution.objective, peer.objective, atol=2e-9 * unit)
        np.testing.assert_allclose(solution.coef, peer.coef, atol=1e-3)
        ranks.append(np.linalg.matrix_rank(solution.coef))
        assert ranks[-1] == np.linalg.matrix_rank(peer.coef)
        # From a neighbour, from the solution, and from a saddle point: rank one is too little.
        left, sizes, right = np.linalg.svd(solution.coef, full_matrices=False)
        thin = sizes[0] * np.outer(left[:, 0], right[0])
        for start, steps in ((0.9 * solution.coef, 1), (solution.coef, 0), (thin, ranks[-1] - 1)):
            again = sj.solve(problem, solvers.VarPro(), tol=1e-9, init=start)
            np.testing.assert_allclose(again.objective, peer.objective, atol=2e-9 * unit)
            assert (again.stats["num_steps"] > 0) == (steps > 0)
        early = sj.solve(problem, solvers.VarPro(), tol=1e-9, max_steps=1, throw=False)
        assert early.result == sj.RESULTS.max_steps_reached
        assert early.gap * unit >= early.objective - peer.objective
    assert min(ranks) < 8 < max(ranks)  # both widths were needed
    null = sj.Problem(X, Y, loss, penalties.Nuclear(1.001 * largest), True)
    assert not jnp.any(sj.solve(null, solvers.VarPro()).coef)


def test_auto_takes_factors_for_the_trace_norm():
    X, Y, weights = _data(0, 24, 18, (TASKS,), 2)
    problem = sj.Problem(X, Y, losses.Squared(weights), penalties.Nuclear(0.5), True)
    assert isinstance(solvers.Auto().choose(problem), solvers.VarPro)
    sparse = sj.Problem(scipy.sparse.csr_array(X), Y, penalty=penalties.Nuclear(0.5))
    assert isinstance(solvers.Auto().choose(sparse), solvers.FISTA)


def test_basis_pursuit():
    """Supports as large as the samples, and smaller; against the simplex method."""
    for seed, sparse in ((0, False), (1, True), (2, False)):
        X, y, _ = _data(seed, 10)
        y = X[:, 2:4] @ np.array([1.0, -2.0]) if sparse else y
        problem = sj.Problem(X, y, losses.Equality(), penalties.L1(1.0))
        solution = sj.solve(problem, solvers.VarPro(), tol=1e-8)
        peer = scipy.optimize.linprog(
            np.ones(2 * P), A_eq=np.hstack([X, -X]), b_eq=y, method="highs"
        )
        np.testing.assert_allclose(solution.objective, peer.fun, rtol=1e-7)
        assert np.linalg.norm(X @ solution.coef - y) <= 1e-12 * np.linalg.norm(y)
        np.testing.assert_allclose(solution.coef, peer.x[:P] - peer.x[P:], atol=1e-9)
        np.testing.assert_array_equal(solution.coef == 0, peer.x[:P] == peer.x[P:])
    X, y, _ = _data(3, 10)
    X[9], y[9] = X[0], y[0] + 1  # one sample contradicts another
    problem = sj.Problem(X, y, losses.Equality(), penalties.L1(1.0))
    solution = sj.solve(problem, solvers.VarPro(), throw=False)
    assert solution.result == sj.RESULTS.infeasible
    y[9] = y[0]
    problem = sj.Problem(X, y, losses.Equality(), penalties.L1(1.0))
    assert sj.solve(problem, solvers.VarPro(), tol=1e-7).gap <= 1e-7


@pytest.mark.slow
def test_interpolation_with_groups():
    X, y, _ = _data(4, 10)
    problem = sj.Problem(X, y, losses.Equality(), penalties.GroupL2(1.0, GROUPS), True)
    solution = sj.solve(problem, solvers.VarPro(), tol=1e-8)
    w, b = cp.Variable(P), cp.Variable()
    sizes = np.sqrt(np.bincount(GROUPS))
    terms = sum(sizes[g] * cp.norm(w[g == GROUPS]) for g in range(4))
    peer = cp.Problem(cp.Minimize(terms), [X @ w + b == y])
    peer.solve(cp.CLARABEL)
    np.testing.assert_allclose(solution.objective, peer.value, rtol=1e-7)


def test_square_root():
    """With a residual, and down to strengths that interpolate, where the loss has a kink."""
    for seed, strength in ((0, 0.3), (1, 0.1), (2, 0.01)):
        X, y, weights = _data(seed, noise=2.0)
        loss = losses.SquareRoot(weights)
        problem = sj.Problem(X, y, loss, penalties.L1(strength), True)
        solution = sj.solve(problem, solvers.VarPro(), tol=1e-8)
        w, b = cp.Variable(P), cp.Variable()
        scaled = cp.multiply(np.sqrt(weights / weights.sum()), y - X @ w - b)
        peer = cp.Problem(cp.Minimize(cp.norm(scaled) + strength * cp.norm1(w)))
        peer.solve(cp.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10)
        np.testing.assert_allclose(solution.objective, peer.value, rtol=1e-7)
        assert jnp.any(solution.coef == 0)


@pytest.mark.slow
def test_smooth_losses():
    """Against proximal Newton, from far away too: exp overflows on the way."""
    X, y, weights = _data(0)
    y = np.abs(np.round(3 * y))
    problem = sj.Problem(X, y, losses.Poisson(weights), penalties.L1(0.3), True)
    peer = sj.solve(problem, solvers.ProxNewton(), tol=1e-10)
    for init in (None, np.full(P, 30.0)):
        solution = sj.solve(problem, solvers.VarPro(finish=False), tol=1e-9, init=init)
        assert solution.gap <= 1e-9
        np.testing.assert_allclose(solution.coef, peer.coef, atol=1e-4)
    assert 0 < np.sum(np.asarray(peer.coef) == 0) < P


@pytest.mark.parametrize(
    ("loss", "penalty", "tasks", "solver", "message"),
    [
        (losses.Quantile(), penalties.L1(0.1), (), {}, "Quantile with L1: use Auto"),
        (losses.Huber(), penalties.Nuclear(0.1), (2,), {}, "Huber with Nuclear: use Auto"),
        (losses.Equality(), penalties.Nuclear(0.1), (2,), {}, "Equality with Nuclear: use Auto"),
        (losses.Equality(), penalties.SLOPE(np.ones(P)), (), {}, "SLOPE: use PrimalDual"),
        (losses.Squared(), penalties.SLOPE(np.ones(P)), (), {}, "SLOPE: use FISTA"),
        (losses.Squared(), penalties.L1(0.1), (2,), {}, "one target for L1: use FISTA"),
        (losses.Equality(), penalties.L1(1.0), (), {"inner": "primal"}, "use 'dual'"),
    ],
)
def test_what_is_not_supported_is_refused(loss, penalty, tasks, solver, message):
    X, y, _ = _data(0, shape=tasks)
    with pytest.raises(TypeError, match=message):
        sj.solve(sj.Problem(X, y, loss, penalty), solvers.VarPro(**solver))


def test_rows_on_a_working_set_are_refused():
    X, Y, _ = _data(0, shape=(2,))
    problem = sj.Problem(X, Y, penalty=penalties.RowL2(0.1))
    with pytest.raises(TypeError, match="GramFISTA"):
        sj.solve(problem, solvers.WorkingSet(solvers.VarPro()))


POWERS = [pytest.param(2 / 3, id="q=2/3"), pytest.param(0.9, id="q=.9", marks=pytest.mark.slow)]


@pytest.mark.parametrize("q", POWERS)
def test_power_form_is_a_minimum_of_weighted_ridges(q):
    """Against a minimisation over v of w²/(2W) + v²/2, and at the v that is said to be best."""
    penalty = penalties.Lq(0.7, q)
    form = penalty.variational_form(1)
    for w in (1e-3, 0.4, -3.0):

        def cost(log_v, w=w):
            v = jnp.exp(jnp.array([log_v]))
            return float(w**2 / (2 * form.root(v)[0] ** 2) + v[0] ** 2 / 2)

        best = scipy.optimize.minimize_scalar(cost, bounds=(-12, 3), method="bounded")
        value = float(penalty.value(jnp.array([w])))
        np.testing.assert_allclose(best.fun, value, rtol=1e-6)
        said = float(jnp.log(form.best(jnp.array([w]))[0]))
        np.testing.assert_allclose(cost(said), value, rtol=1e-12)
        # The form of b ↦ g(b/scale).
        scaled = form.rescaled(jnp.array([2.0]))
        np.testing.assert_allclose(
            scaled.best(jnp.array([2 * w])), form.best(jnp.array([w])), rtol=1e-12
        )


@pytest.mark.parametrize("q", POWERS)
def test_powers_recover_a_sparse_vector(q):
    """From so few measurements that only ε, from wide to narrow, leads past other minima.

    Near q = 1 weights fade slowly: a coefficient may be left at the size of rounding.
    """
    for seed in (0, 6, 8):
        rng = np.random.default_rng(seed)
        X, w = rng.normal(size=(20 if q < 0.7 else 30, 60)), np.zeros(60)
        w[rng.choice(60, 8, replace=False)] = rng.normal(size=8)
        problem = sj.Problem(X, X @ w, losses.Equality(), penalties.Lq(1.0, q))
        solution = sj.solve(problem, solvers.VarPro(), tol=1e-8)
        assert np.count_nonzero(solution.coef) <= 9
        np.testing.assert_allclose(solution.coef, w, atol=1e-10)


@pytest.mark.parametrize("solver", [solvers.VarPro(), solvers.IRLS()])
def test_powers_keep_what_is_as_small_as_the_last_epsilon(solver):
    """Without it the targets are missed."""
    targets = np.array([1.0, 1e-9])
    problem = sj.Problem(np.eye(2, 3), targets, losses.Equality(), penalties.Lq(1.0, 2 / 3))
    solution = sj.solve(problem, solver, tol=1e-8)
    np.testing.assert_allclose(solution.coef, [*targets, 0.0], rtol=1e-12)


@pytest.mark.slow
def test_powers_with_least_squares():
    """A stationary point by definition, no worse than where reweighted least squares ends."""
    X, y, weights = _data(3, 30, 60)
    penalty = penalties.Lq(0.05, 2 / 3)
    problem = sj.Problem(X, y, losses.Squared(weights), penalty, True)
    solution = sj.solve(problem, solvers.VarPro(), tol=1e-9)
    coef = np.asarray(solution.coef)
    residual = y - X @ coef - solution.intercept
    pull = X.T @ (weights / weights.sum() * residual)
    moving = coef != 0
    assert 0 < moving.sum() < 30
    slope = 0.05 * 2 / 3 * np.abs(coef[moving]) ** (-1 / 3) * np.sign(coef[moving])
    np.testing.assert_allclose(pull[moving], slope, atol=1e-8)
    other = sj.solve(problem, solvers.IRLS(), tol=1e-9)
    assert solution.objective <= other.objective * 1.05


@pytest.mark.slow
def test_powers_from_many_starts():
    """Under ``vmap``: every start ends at a stationary point, and the best is kept."""
    X, y, _ = _data(3, 30, 60)
    problem = sj.Problem(X, y, penalty=penalties.Lq(0.05, 2 / 3))
    starts = jnp.asarray(np.random.default_rng(1).normal(size=(4, 60)))

    def begun_at(init):
        return sj.solve(problem, solvers.VarPro(), tol=1e-8, init=init, throw=False)

    many = jax.vmap(begun_at)(starts)
    assert np.all(many.kkt <= 1e-8)
    for k in range(4):
        alone = begun_at(starts[k])
        np.testing.assert_allclose(many.coef[k], alone.coef, atol=1e-8)
    assert np.ptp(np.asarray(many.objective)) > 0


def test_powers_refuse():
    problem = sj.Problem(np.eye(3), np.ones(3), losses.Logistic(), penalties.Lq(0.1, 0.5))
    with pytest.raises(TypeError, match="VarPro does not support Logistic with Lq"):
        sj.solve(problem, solvers.VarPro())
