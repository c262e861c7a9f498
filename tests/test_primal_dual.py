"""PrimalDual: losses without a gradient, hard constraints and Analysis, against Clarabel, HiGHS."""

import jax
import jax.numpy as jnp
import numpy as np
import pairs
import pytest
import reference
import scipy.optimize
import scipy.sparse
from registry import LOSSES

import sparsejax as sj
from sparsejax import losses, penalties, solvers

pytestmark = pytest.mark.usefixtures("float64")

N, P = 24, 12
GROUPS = np.arange(P) // 3


def _data(seed, n=N, p=P):
    rng = np.random.default_rng(seed)
    X, w = rng.normal(size=(n, p)), np.zeros(p)
    w[:5] = rng.normal(size=5)
    return X, X @ w + 0.3 * rng.normal(size=n) + 0.5


def _cvxpy_loss(name, z, y):
    import cvxpy as cp

    n = len(y)
    return {
        "quantile": lambda: cp.sum(cp.maximum(0.3 * (y - z), 0.7 * (z - y))) / n,
        "hinge": lambda: cp.sum(cp.pos(1 - cp.multiply(y, z))) / n,
        "square-root": lambda: cp.norm(y - z) / np.sqrt(n),
        "squared": lambda: cp.sum_squares(y - z) / (2 * n),
    }[name]()


def _optimum(loss, X, y, terms, fit_intercept=False):
    import cvxpy as cp

    w, b = cp.Variable(X.shape[1]), cp.Variable()
    z = X @ w + (b if fit_intercept else 0)
    if loss == "equality":
        problem = cp.Problem(cp.Minimize(terms(cp, w)), [z == y])
    else:
        problem = cp.Problem(cp.Minimize(_cvxpy_loss(loss, z, y) + terms(cp, w)))
    problem.solve(cp.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
    assert problem.status == cp.OPTIMAL
    return problem.value


TERMS = {
    "l1": (lambda s: penalties.L1(s), lambda s: lambda cp, w: s * cp.norm1(w)),
    "ridge": (
        lambda s: penalties.ElasticNet(s, 0.0),
        lambda s: lambda cp, w: s * cp.sum_squares(w) / 2,
    ),
    "group": (
        lambda s: penalties.GroupL2(s, GROUPS),
        lambda s: lambda cp, w: s * sum(3**0.5 * cp.norm(w[g == GROUPS]) for g in range(4)),
    ),
}


@pytest.mark.parametrize(
    ("loss", "penalty", "fit_intercept"),
    [
        pytest.param("quantile", "l1", False, marks=pytest.mark.slow),
        ("quantile", "l1", True),
        pytest.param("hinge", "l1", True, marks=pytest.mark.slow),
        ("hinge", "ridge", True),
        ("square-root", "l1", True),
        pytest.param("equality", "l1", False, marks=pytest.mark.slow),
        ("equality", "group", True),
    ],
)
def test_reaches_the_optimum(loss, penalty, fit_intercept):
    pytest.importorskip("cvxpy")
    make, terms = TERMS[penalty]
    for seed, strength in [(0, 0.03), (1, 0.1)]:
        X, y = _data(seed)
        if loss == "hinge":
            y = np.where(y > 0, 1.0, -1.0)
        if loss == "equality":
            X = X[:8]
            y = y[:8]
        problem = sj.Problem(X, y, LOSSES[loss][0](None), make(strength), fit_intercept)
        solution = sj.solve(problem, solvers.PrimalDual(), tol=1e-9)
        assert solution.result == sj.RESULTS.successful
        best = _optimum(loss, X, y, terms(strength), fit_intercept)
        np.testing.assert_allclose(solution.objective, best, rtol=1e-7)
        value = sj.objective(problem, solution.coef, solution.intercept)
        np.testing.assert_allclose(value, best, rtol=1e-7)
        assert bool(solution.intercept == 0) != fit_intercept


def test_while_all_duals_are_at_their_ends():
    """Only coefficients move then, and what rounding moves the dual by balances nothing."""
    pytest.importorskip("cvxpy")
    X, y, weights, offset = pairs.data("quantile", 0)
    loss = losses.Quantile(0.3, weights)
    for strength in (0.2669, 0.2674):
        problem = sj.Problem(X, y, loss, penalties.L1(strength), True, offset)
        solution = sj.solve(problem, tol=1e-9, max_steps=20_000)
        np.testing.assert_allclose(solution.objective, reference.optimum_of(X, problem), rtol=1e-7)


@pytest.mark.parametrize(
    "loss", [losses.Hinge(), pytest.param(losses.Quantile(0.3), marks=pytest.mark.slow)]
)
def test_several_targets_are_as_many_problems(loss):
    """With an intercept each, which only the penalty could make depend on each other."""
    X, y = _data(4)
    Y = np.stack([y, -y + X[:, 3], y + X[:, 1]], axis=1)
    Y = np.sign(Y) if isinstance(loss, losses.Hinge) else Y

    def solved(y):
        return sj.solve(sj.Problem(X, y, loss, penalties.L1(0.05), fit_intercept=True), tol=1e-9)

    together, alone = solved(Y), [solved(y) for y in Y.T]
    assert together.intercept.shape == (3,)
    np.testing.assert_allclose(together.objective, sum(s.objective for s in alone), rtol=1e-8)
    for task, own in enumerate(alone):
        np.testing.assert_allclose(together.coef[:, task], own.coef, atol=1e-5)
        np.testing.assert_allclose(together.intercept[task], own.intercept, atol=1e-5)


def test_basis_pursuit_is_a_linear_programme():
    X, y = _data(2)
    X, y = X[:8], y[:8]
    problem = sj.Problem(X, y, losses.Equality(), penalties.L1(1.0))
    solution = sj.solve(problem, solvers.PrimalDual(), tol=1e-9)
    peer = scipy.optimize.linprog(np.ones(2 * P), A_eq=np.hstack([X, -X]), b_eq=y, method="highs")
    np.testing.assert_allclose(solution.objective, peer.fun, rtol=1e-8)
    np.testing.assert_allclose(solution.coef, peer.x[:P] - peer.x[P:], atol=1e-6)
    np.testing.assert_array_equal(np.asarray(solution.coef) == 0, (peer.x[:P] == peer.x[P:]))


@pytest.mark.parametrize(
    "solver", [solvers.PrimalDual(), pytest.param(solvers.Bregman(), marks=pytest.mark.slow)]
)
def test_targets_out_of_reach_are_never_a_success(solver):
    X, y = _data(3)
    problem = sj.Problem(X, y, losses.Equality(), penalties.L1(1.0))
    solution = sj.solve(problem, solver, throw=False)
    assert solution.result == sj.RESULTS.infeasible
    assert np.isinf(solution.gap)
    with pytest.raises(RuntimeError, match="range of `X`"):
        sj.solve(problem, solver)
    # One sample that contradicts another, and nothing else wrong.
    X, y = X[:8].copy(), y[:8].copy()
    X[7] = X[0]
    contradiction = sj.Problem(X, y, losses.Equality(), penalties.GroupL2(1.0, GROUPS), True)
    solution = sj.solve(contradiction, solver, throw=False)
    assert solution.result == sj.RESULTS.infeasible
    y[7] = y[0]
    consistent = sj.Problem(X, y, losses.Equality(), penalties.GroupL2(1.0, GROUPS), True)
    assert sj.solve(consistent, solver).gap <= 1e-8


def test_agrees_with_fista_on_least_squares():
    X, y = _data(4)
    problem = sj.Problem(X, y, penalty=penalties.L1(0.1), fit_intercept=True)
    mine = sj.solve(problem, solvers.PrimalDual(), tol=1e-11)
    other = sj.solve(problem, solvers.FISTA(), tol=1e-11)
    np.testing.assert_allclose(mine.objective, other.objective, rtol=1e-10)
    np.testing.assert_allclose(mine.coef, other.coef, atol=1e-5)


def test_certificates_of_inpainting_are_as_good_as_the_iterates():
    # Many forces end close to their limit, where the correction of the dual has next to no room:
    # with conjugate gradients that do not know it, the gap takes more than twice the steps.
    side, rng = 96, np.random.default_rng(0)
    rows = np.arange(side)
    image = np.sin(0.21 * rows[:, None]) * np.cos(0.13 * rows)
    image = image + 0.1 * rng.normal(size=image.shape)
    seen = np.flatnonzero(rng.random(image.size) < 0.5)
    n = seen.size
    X = scipy.sparse.csr_array((np.ones(n), (np.arange(n), seen)), shape=(n, image.size))
    penalty = penalties.Analysis(0.1 / n, penalties.difference_operator(image.shape))
    problem = sj.Problem(X, image.ravel()[seen], penalty=penalty)
    coarse = sj.solve(problem, solvers.PrimalDual(), tol=1e-6, max_steps=200, throw=False)
    fine = sj.solve(problem, solvers.PrimalDual(), tol=1e-6, max_steps=400)
    # Also where the steps run out, the gap is a certificate.
    unit = sj.objective(problem, np.zeros(image.size))
    assert coarse.result == sj.RESULTS.max_steps_reached
    assert coarse.objective - fine.objective <= coarse.gap * unit <= 1e-3 * unit


def test_analysis_of_differences_is_total_variation():
    X, y = _data(5)
    D = penalties.difference_operator((P,))
    mine = sj.solve(sj.Problem(X, y, penalty=penalties.Analysis(0.1, D)), tol=1e-9)
    other = sj.solve(sj.Problem(X, y, penalty=penalties.TotalVariation(0.1)), tol=1e-10)
    np.testing.assert_allclose(mine.objective, other.objective, rtol=1e-8)
    np.testing.assert_allclose(mine.coef, other.coef, atol=1e-4)
    assert mine.kkt < 1e-4
    v = np.random.default_rng(0).normal(size=P)
    expected = penalties.TotalVariation(0.1).prox(jnp.asarray(v), 2.0)
    np.testing.assert_allclose(
        penalties.Analysis(0.1, D).prox(jnp.asarray(v), 2.0), expected, atol=1e-5
    )


def _dense(D):
    return np.asarray(D.all_columns()).T


OPERATORS = {
    "fused": lambda: np.vstack([np.eye(P), 2 * np.diff(np.eye(P), axis=0)]),
    "trend": lambda: _dense(penalties.trend_operator(P)),
    "grid": lambda: _dense(penalties.difference_operator((3, 4))),
    "graph": lambda: _dense(penalties.incidence_operator([(0, j) for j in range(1, P)] + [(3, 5)])),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_analysis_reaches_the_optimum(name):
    pytest.importorskip("cvxpy")
    X, y = _data(6)
    D = OPERATORS[name]()
    D = np.vstack([D, np.zeros((2 * P - len(D), P))])  # one shape, one compilation
    problem = sj.Problem(X, y, penalty=penalties.Analysis(0.1, D), fit_intercept=True)
    solution = sj.solve(problem, tol=1e-9)
    best = _optimum("squared", X, y, lambda cp, w: 0.1 * cp.norm1(D @ w), True)
    np.testing.assert_allclose(solution.objective, best, rtol=1e-7)


@pytest.mark.parametrize(("loss", "fit_intercept"), [("equality", False), ("quantile", True)])
def test_analysis_with_a_loss_without_gradient(loss, fit_intercept):
    pytest.importorskip("cvxpy")
    X, y = _data(7)
    if loss == "equality":
        X, y = X[:8], y[:8]
    penalty = penalties.Analysis(0.1, penalties.difference_operator((3, 4)))
    solution = sj.solve(sj.Problem(X, y, LOSSES[loss][0](None), penalty, fit_intercept), tol=1e-9)
    D = _dense(penalty.operator)
    best = _optimum(loss, X, y, lambda cp, w: 0.1 * cp.norm1(D @ w), fit_intercept)
    np.testing.assert_allclose(solution.objective, best, rtol=1e-7)


def test_free_directions_and_sample_weights():
    """An unpenalised feature and repeated samples, both with an intercept."""
    X, y = _data(8)
    counts = np.random.default_rng(0).permutation(np.arange(N) % 3)  # they sum to N
    weights = (np.arange(P) > 0) * 1.0
    penalty = penalties.L1(0.05, weights=weights)
    loss = losses.Quantile(0.3, sample_weight=counts)
    first = sj.solve(sj.Problem(X, y, loss, penalty, True), tol=1e-9)
    X, y = np.repeat(X, counts, axis=0), np.repeat(y, counts)
    second = sj.solve(sj.Problem(X, y, losses.Quantile(0.3, np.ones(N)), penalty, True), tol=1e-9)
    np.testing.assert_allclose(first.objective, second.objective, rtol=1e-7)
    assert first.coef[0] != 0


def test_a_gap_bounds_the_suboptimality():
    """Of whatever a few steps give, against an objective that NumPy evaluates."""
    X, y = _data(0)
    problem = sj.Problem(X, y, losses.Quantile(0.3), penalties.L1(0.03), True)
    best = sj.solve(problem, tol=1e-9)
    unit = sj.solve(problem, max_steps=0, throw=False).objective
    for max_steps in (0, 40, 80, 160):
        rough = sj.solve(problem, tol=1e-9, max_steps=max_steps, throw=False)
        z = X @ np.asarray(rough.coef) + float(rough.intercept)
        value = reference.loss_value(problem.loss, z, y) + 0.03 * np.abs(rough.coef).sum()
        assert rough.gap >= (value - best.objective) / unit - 1e-9
        assert (rough.result == sj.RESULTS.successful) == bool(rough.gap <= 1e-9)


def test_float32_jit_and_vmap():
    X, y = (a.astype(np.float32) for a in _data(0))

    def coef(strength):
        problem = sj.Problem(X, y, losses.Quantile(0.3), penalties.L1(strength), True)
        return sj.solve(problem, tol=1e-5).coef

    strengths = jnp.array([0.03, 0.1], jnp.float32)
    together = jax.jit(jax.vmap(coef))(strengths)
    assert together.dtype == jnp.float32
    for row, strength in zip(together, strengths, strict=True):
        problem = sj.Problem(*_data(0), losses.Quantile(0.3), penalties.L1(strength), True)
        best = sj.solve(problem, tol=1e-9)
        np.testing.assert_allclose(row, best.coef, atol=2e-3)


@pytest.mark.parametrize("name", ["square-root", "analysis"])
def test_derivative_in_the_strength(name):
    X, y = _data(9)
    ones = jnp.arange(1.0, P + 1)

    def summary(s):
        if name == "analysis":
            loss, penalty = None, penalties.Analysis(s, penalties.difference_operator((P,)))
        else:
            loss, penalty = losses.SquareRoot(), penalties.L1(s)
        problem = sj.Problem(X, y, loss, penalty, fit_intercept=name != "analysis")
        return ones @ sj.solve(problem, tol=1e-12).coef

    slope = (summary(0.1 + 1e-5) - summary(0.1 - 1e-5)) / 2e-5
    np.testing.assert_allclose(jax.grad(summary)(0.1), slope, rtol=1e-4)


def test_refusals_name_what_is_supported():
    X, y = _data(0)
    quantile = sj.Problem(X, y, losses.Quantile(), penalties.L1(0.1))
    analysis = sj.Problem(X, y, None, penalties.Analysis(0.1, np.eye(P)))
    for problem in (quantile, analysis):
        for solver in (solvers.FISTA, solvers.ProxNewton, solvers.WorkingSet):
            with pytest.raises(TypeError, match="PrimalDual"):
                sj.solve(problem, solver())
        for judge in (sj.duality_gap, sj.kkt_violation):
            with pytest.raises(TypeError, match="dual"):
                judge(problem, np.zeros(P))
    counts = sj.Problem(X, np.abs(y).round(), losses.Poisson(), penalties.L1(0.1), True)
    with pytest.raises(TypeError, match=r"Poisson.*ProxNewton"):
        sj.solve(counts, solvers.PrimalDual())
    grid = penalties.Analysis(0.1, np.eye(P))
    with pytest.raises(TypeError, match=r"Logistic with an intercept: use VarPro"):
        sj.solve(sj.Problem(X, np.sign(y), losses.Logistic(), grid, True), solvers.PrimalDual())
    huber = sj.Problem(X, y, losses.Huber(), penalties.L1(0.1), True)
    with pytest.raises(TypeError, match=r"Huber.*intercept"):
        sj.solve(huber, solvers.PrimalDual())


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: penalties.difference_operator((1,)), "shape"),
        (lambda: penalties.trend_operator(3, 2), "num_features"),
        (lambda: penalties.trend_operator(5, -1), "order"),
        (lambda: penalties.incidence_operator([(0, 0)]), "different nodes"),
        (lambda: penalties.incidence_operator([(0, 4)], 3), "different nodes"),
        (lambda: penalties.incidence_operator([0, 1]), "pairs"),
        (lambda: penalties.Analysis(-1.0, np.eye(2)), "strength"),
        (lambda: sj.Problem(np.eye(3), np.ones(3), None, penalties.Analysis(1.0, np.eye(2))), "op"),
    ],
)
def test_bad_input(make, match):
    with pytest.raises(ValueError, match=match):
        make()
