"""Concave penalties: proximal operators that are global minimisers, and stationary solutions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
import scipy.optimize
from hypothesis import example, given, strategies as st
from registry import CONCAVE
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold

import sparsejax as sj
from sparsejax import estimators, losses, penalties, solvers

pytestmark = pytest.mark.usefixtures("float64")

N, P = 30, 60
every_penalty = pytest.mark.parametrize("make", CONCAVE.values(), ids=CONCAVE)
numbers = st.floats(-4, 4).map(lambda x: round(x, 3))
strengths = st.floats(0.05, 2.0)


@every_penalty
@given(v=numbers, step=st.floats(0.02, 20.0), strength=strengths)
@example(v=1e-3, step=1e-3, strength=0.05)
@example(v=3.0, step=3.0, strength=1.0)
@example(v=2.0, step=0.5, strength=1.0)
@example(v=-1.0, step=1e-300, strength=1.0)
@example(v=2.5, step=1.0, strength=0.0)
def test_prox_against_brute_force(make, v, step, strength):
    """The global minimiser, wherever (u − v)²/2 + step·h(|u|) has several minima."""
    penalty = make(strength, 1)

    def cost(u):
        return (u - abs(v)) ** 2 / 2 + step * reference.concave_profile(penalty, u)

    u = float(penalty.prox(jnp.array([v]), step)[0])
    assert np.sign(u) in (0.0, np.sign(v))
    grid = np.linspace(0.0, abs(v), 4001)
    spacing, costs = grid[1], cost(grid)
    minima = np.flatnonzero(costs <= np.minimum(np.roll(costs, 1), np.roll(costs, -1)))
    best = costs[0]
    for k in {*minima, 1, grid.size - 1}:
        bounds = (max(grid[k] - spacing, 0.0), grid[k] + spacing)
        found = scipy.optimize.minimize_scalar(
            cost, bounds=bounds, method="bounded", options={"xatol": 1e-12}
        )
        best = min(best, found.fun, costs[k])
    assert cost(abs(u)) <= best + 1e-14 * (1 + v**2)


@every_penalty
@given(w=numbers, other=numbers, strength=strengths)
def test_slope_is_that_of_a_line_above(make, w, other, strength):
    """h(t) ≤ h(|w|) + slope·(t − |w|): what convex relaxation stands on."""
    penalty = make(strength, 1)
    w, other = abs(w), abs(other)
    slope = float(penalty.slope(jnp.array([w]))[0])
    if np.isinf(slope):
        assert w == 0
        assert penalty.steep
        return
    line = reference.concave_profile(penalty, w) + slope * (other - w)
    assert reference.concave_profile(penalty, other) <= line + 1e-12


@every_penalty
def test_conjugate_is_infinite_but_at_zero(make):
    penalty, w = make(0.7, 2), jnp.array([0.5, 0.0])
    none, some = jnp.zeros(2), jnp.array([0.0, 1e-9])
    assert penalty.dual_scale(none) == 1
    assert penalty.dual_scale(some) == 0
    np.testing.assert_allclose(penalty.fenchel_gap(w, none), penalty.value(w))
    assert np.isinf(penalty.fenchel_gap(w, some))
    far = jnp.array([0.0, 1e15])  # grows more slowly than any line
    assert penalty.value(far) < 1e-3 * 1e15


def _data(seed=0):
    rng = np.random.default_rng(seed)
    X, w = rng.normal(size=(N, P)), np.zeros(P)
    w[:5] = [2.0, -2.0, 1.5, 1.0, -1.0]
    y = X @ w + 0.3 * rng.normal(size=N)
    return X, y, np.max(np.abs(X.T @ y)) / N


def _violation(X, y, penalty, w):
    """From the definition: slopes of the value by differences, h′(0) from the right."""
    pull, size, h = X.T @ (y - X @ w) / len(y), np.abs(w), 1e-7
    profile = reference.concave_profile
    ahead = (profile(penalty, size + h) - profile(penalty, size)) / h
    resting = np.maximum(np.abs(pull) - ahead, 0)
    around = profile(penalty, size + h) - profile(penalty, np.maximum(size - h, 0))
    moving = np.abs(pull - np.sign(w) * around / (2 * h))
    return np.max(np.where(w == 0, resting, moving)) / float(penalty.strength)


@pytest.mark.parametrize("solver", [solvers.CoordinateDescent(), solvers.FISTA()], ids=["cd", "fb"])
@pytest.mark.parametrize(
    "name",
    ["mcp", "l0"]
    + [pytest.param(n, marks=pytest.mark.slow) for n in CONCAVE if n not in ("mcp", "l0")],
)
def test_solutions_are_stationary(name, solver):
    for seed in range(3):
        X, y, largest = _data(seed)
        penalty = CONCAVE[name](0.1 * largest, P)
        problem = sj.Problem(X, y, penalty=penalty)
        solution = sj.solve(problem, solver)
        assert solution.result == sj.RESULTS.successful
        assert solution.kkt <= 1e-8
        assert np.isnan(solution.gap)
        coef = np.asarray(solution.coef)
        assert 0 < np.count_nonzero(coef) < N
        assert _violation(X, y, penalty, coef) < 1e-5
        value = np.mean((y - X @ coef) ** 2) / 2 + reference.value(penalty, coef)
        np.testing.assert_allclose(solution.objective, value, rtol=1e-12)
        assert value < np.mean(y**2) / 2  # better than where it began


def test_kkt_decides_and_there_is_no_gap():
    X, y, largest = _data()
    problem = sj.Problem(X, y, penalty=penalties.MCP(0.1 * largest))
    early = sj.solve(problem, max_steps=1, tol=1e-12, throw=False)
    assert early.result == sj.RESULTS.max_steps_reached
    np.testing.assert_allclose(sj.kkt_violation(problem, early.coef), early.kkt, rtol=1e-6)
    with pytest.raises(RuntimeError, match="KKT violation"):
        sj.solve(problem, max_steps=1, tol=1e-12)
    with pytest.raises(TypeError, match=r"MCP is not convex.*kkt_violation"):
        sj.duality_gap(problem, early.coef)


@pytest.mark.slow
def test_float32_ends_at_its_own_rounding():
    X, y, largest = _data()
    with jax.enable_x64(False):
        X, y = jnp.asarray(X, jnp.float32), jnp.asarray(y, jnp.float32)
        solution = sj.solve(sj.Problem(X, y, penalty=penalties.MCP(0.02 * largest)))
        assert solution.coef.dtype == jnp.float32
        assert solution.kkt <= 1e-6 / 0.02


def test_a_wide_mcp_is_the_lasso():
    X, y, largest = _data()
    lasso = sj.solve(sj.Problem(X, y, penalty=penalties.L1(0.2 * largest)), tol=1e-14)
    wide = sj.solve(sj.Problem(X, y, penalty=penalties.MCP(0.2 * largest, gamma=1e9)), tol=1e-10)
    np.testing.assert_allclose(wide.coef, lasso.coef, atol=1e-6)


@pytest.mark.parametrize("name", ["MCP", pytest.param("SCAD", marks=pytest.mark.slow)])
def test_agrees_with_skglm(name):
    """No worse from the same start, and its solution is stationary for us as well."""
    skglm = pytest.importorskip("skglm")
    from skglm.penalties import SCAD, MCPenalty
    from skglm.solvers import AndersonCD

    for seed in range(3):
        X, y, largest = _data(seed)
        strength = 0.1 * largest
        theirs = skglm.GeneralizedLinearEstimator(
            skglm.datafits.Quadratic(),
            MCPenalty(strength, 3.0) if name == "MCP" else SCAD(strength, 3.7),
            AndersonCD(tol=1e-12, fit_intercept=False),
        ).fit(X, y)
        problem = sj.Problem(X, y, penalty=getattr(penalties, name)(strength))
        ours = sj.solve(problem, tol=1e-10)
        assert sj.kkt_violation(problem, theirs.coef_) < 1e-8
        assert ours.objective <= sj.objective(problem, theirs.coef_) + 1e-12


@pytest.mark.parametrize(
    ("model", "penalty"),
    [
        (estimators.MCPRegression, lambda s: penalties.MCP(s, 5.0)),
        pytest.param(
            estimators.SCADRegression, lambda s: penalties.SCAD(s, 5.0), marks=pytest.mark.slow
        ),
        pytest.param(
            estimators.CappedL1Regression,
            lambda s: penalties.CappedL1(s, 5.0),
            marks=pytest.mark.slow,
        ),
    ],
)
@pytest.mark.slow
def test_estimators(model, penalty):
    """What `solve` finds, with an intercept; a fit that was cut short says so."""
    X, y, largest = _data()
    y, strength = y + 3.0, 0.1 * largest
    fitted = model(strength, 5.0).fit(X, y)
    solution = sj.solve(sj.Problem(X, y, penalty=penalty(strength), fit_intercept=True))
    np.testing.assert_allclose(fitted.coef_, solution.coef, atol=1e-7)
    np.testing.assert_allclose(fitted.intercept_, solution.intercept, atol=1e-7)
    assert np.isnan(fitted.dual_gap_)
    assert fitted.score(X, y) > 0.9
    alike = X.cumsum(axis=1)  # or one step might do
    with pytest.warns(ConvergenceWarning, match="times alpha"):
        model(strength / 30, 5.0, max_iter=1, tol=1e-14).fit(alike, y)
    with pytest.raises(ValueError, match=r"'(gamma|threshold)'"):
        model(strength, 0.0).fit(X, y)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "penalty"),
    [
        (estimators.MCPRegressionCV, penalties.MCP(1.0, 3.0)),
        (estimators.SCADRegressionCV, penalties.SCAD(1.0, 3.7)),
    ],
)
def test_cross_validation(model, penalty):
    """Held-out errors are those of paths on the other rows; the best strength fits all of them."""
    X, y, _ = _data()
    fitted = model(alphas=6, eps=0.05, cv=KFold(3), tol=1e-9).fit(X, y)
    for fold, (train, test) in enumerate(KFold(3).split(X)):
        problem = sj.Problem(X[train], y[train], penalty=penalty, fit_intercept=True)
        path = sj.path(problem, strengths=fitted.alphas_, tol=1e-9)
        predicted = X[test] @ np.asarray(path.coefs).T + np.asarray(path.intercepts)
        errors = np.mean((y[test][:, None] - predicted) ** 2, axis=0)
        np.testing.assert_allclose(fitted.mse_path_[:, fold], errors, rtol=1e-5)
    best = fitted.alphas_[np.argmin(fitted.mse_path_.mean(axis=1))]
    assert fitted.alpha_ == best
    refit = sj.Problem(X, y, penalty=penalty.with_strength(best), fit_intercept=True)
    np.testing.assert_allclose(fitted.coef_, sj.solve(refit, tol=1e-9).coef, atol=1e-6)


def test_strength_max():
    X, y, largest = _data()
    problem = sj.Problem(X, y, penalty=penalties.MCP(1.0))
    np.testing.assert_allclose(sj.strength_max(problem), largest, rtol=1e-12)
    path = sj.path(problem, num=5, ratio=0.1, tol=1e-8)
    assert np.all(path.results == sj.RESULTS.successful)
    assert np.all(np.isnan(path.gaps))
    assert not np.any(path.coefs[0])
    assert np.count_nonzero(path.coefs[-1]) >= 5
    with pytest.raises(TypeError, match="L0 has no largest strength"):
        sj.strength_max(sj.Problem(X, y, penalty=penalties.L0(1.0)))


@pytest.mark.parametrize(
    "make",
    [
        # Wide enough that no slope has ended.
        pytest.param(lambda s: penalties.MCP(s, gamma=20.0), marks=pytest.mark.slow),
        lambda s: penalties.Lq(s, 0.3),
        pytest.param(lambda s: penalties.SCAD(s, gamma=20.0), marks=pytest.mark.slow),
        pytest.param(lambda s: penalties.LogSum(s, 0.3), marks=pytest.mark.slow),
    ],
)
def test_derivative_with_respect_to_the_strength(make):
    """Against central differences of stationary points, each begun at the one in the middle."""
    X, y, largest = _data()
    strength = 0.1 * largest
    middle = sj.solve(sj.Problem(X, y, penalty=make(strength)), tol=1e-13).coef

    def total(strength):
        problem = sj.Problem(X, y, penalty=make(strength))
        coef = sj.solve(problem, tol=1e-13, init=middle).coef
        return jnp.sum(coef * jnp.arange(P))

    h = 1e-5 * strength
    expected = (total(strength + h) - total(strength - h)) / (2 * h)
    assert abs(expected) > 1e-3
    np.testing.assert_allclose(jax.grad(total)(strength), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: penalties.MCP(-1.0), "`strength`"),
        (lambda: penalties.MCP(1.0, gamma=0.0), "`gamma`"),
        (lambda: penalties.SCAD(1.0, gamma=1.0), "`gamma` must be above 1"),
        (lambda: penalties.CappedL1(1.0, threshold=np.nan), "`threshold`"),
        (lambda: penalties.LogSum(1.0, epsilon=-1.0), "`epsilon`"),
        (lambda: penalties.Lq(1.0, q=1.0), "`q`"),
        (lambda: penalties.L0(np.inf), "`strength`"),
    ],
)
def test_parameters_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("solver", [solvers.WorkingSet(), solvers.VarPro(), solvers.PrimalDual()])
def test_solvers_for_convex_problems_refuse(solver):
    problem = sj.Problem(np.eye(3), np.ones(3), penalty=penalties.MCP(0.1))
    with pytest.raises(TypeError, match=r"MCP.*not convex: use FISTA\(\)"):
        sj.solve(problem, solver)


@pytest.mark.parametrize(
    "make",
    [penalties.MCP, pytest.param(penalties.SCAD, marks=pytest.mark.slow)],
    ids=["mcp", "scad"],
)
@pytest.mark.slow
def test_working_sets_grow_to_a_stationary_point(make):
    """Of all features, though no working set holds more than a few, and below the Lasso's point."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 400))
    y = X[:, :5] @ np.array([3.0, -2.0, 2.0, 1.5, -1.0]) + 0.3 * rng.normal(size=60)
    penalty = make(0.05 * np.abs(X.T @ y).max() / 60)
    problem = sj.Problem(X, y, penalty=penalty)
    solution = sj.solve(problem, tol=1e-10)
    assert solution.stats["solver"] == "WorkingSet"
    assert solution.stats["width"] < 400
    coef = np.asarray(solution.coef)
    assert _violation(X, y, penalty, coef) < 1e-5
    lasso = sj.solve(sj.Problem(X, y, penalty=penalties.L1(penalty.strength)))
    assert solution.objective < sj.objective(problem, lasso.coef)
    # Coordinate descent agrees that nothing is left to gain.
    again = sj.solve(problem, solvers.CoordinateDescent(), tol=1e-9, init=coef)
    assert again.stats["num_steps"] == 0


LINKS = {  # gradient of the loss by prediction and target
    "Logistic": lambda z, y: -y / (1 + np.exp(y * z)),
    "Huber": lambda z, y: np.clip(z - y, -1, 1),
    "Poisson": lambda z, y: np.exp(z) - y,
}


@pytest.mark.parametrize("name", list(LINKS))
@pytest.mark.slow
def test_models_of_other_losses_by_working_sets(name):
    """Stationary by NumPy's gradient, for several strengths at once, with exact derivatives."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(80, 120))
    z = X[:, :3] @ np.array([1.0, -0.8, 0.6]) + 0.3
    targets = {
        "Logistic": lambda: np.where(z + rng.logistic(size=80) > 0, 1.0, -1.0),
        "Huber": lambda: z + rng.standard_t(2, size=80),
        "Poisson": lambda: rng.poisson(np.exp(z)),
    }
    y, loss = targets[name](), getattr(losses, name)(**{"delta": 1.0} if name == "Huber" else {})

    def total(strength):
        problem = sj.Problem(X, y, loss, penalties.MCP(strength, 12.0), fit_intercept=True)
        solution = sj.solve(problem, tol=1e-9)
        assert solution.stats["solver"] == "ProxNewton"
        return jnp.sum(solution.coef * jnp.cos(jnp.arange(120))), solution

    solved = jax.jit(jax.vmap(jax.value_and_grad(total, has_aux=True)))
    l1 = sj.Problem(X, y, loss, penalties.L1(1.0), fit_intercept=True)
    strengths = float(sj.strength_max(l1)) * np.array([0.8, 0.5])
    (_, solution), slopes = solved(strengths)
    assert np.all(solution.kkt <= 1e-9)
    for s, coef, b in zip(strengths, np.asarray(solution.coef), solution.intercept, strict=True):
        gradient = LINKS[name](X @ coef + float(b), y) / 80
        size, moving = np.abs(coef), coef != 0
        ideal = -np.sign(coef) * np.maximum(s - size / 12, 0)
        np.testing.assert_allclose((X.T @ gradient)[moving], ideal[moving], atol=1e-8)
        assert np.max(np.abs(X.T @ gradient)) <= s * (1 + 1e-8)
        assert abs(np.sum(gradient)) < 1e-10
        assert 0 < np.sum(moving) < 20
    ahead, behind = (solved(strengths + h)[0][0] for h in (1e-5, -1e-5))
    np.testing.assert_allclose(slopes, (ahead - behind) / 2e-5, rtol=1e-4)


def test_working_sets_of_steep_penalties_are_refused():
    X, y, largest = _data()
    inner = solvers.WorkingSet(solvers.GramCoordinateDescent())
    with pytest.raises(TypeError, match="not support Lq, which is not convex"):
        sj.solve(sj.Problem(X, y, penalty=penalties.Lq(0.1 * largest, 0.5)), inner)
    with pytest.raises(TypeError, match="not support MCP, which is not convex"):
        sj.solve(sj.Problem(X, y, penalty=penalties.MCP(largest)), solvers.WorkingSet())
    with pytest.raises(TypeError, match="ProxNewton does not support Lq, which is not convex"):
        sj.solve(sj.Problem(X, y, losses.Huber(1.0), penalties.Lq(0.1, 0.5)), solvers.ProxNewton())


def test_zero_and_infinite_weights():
    """Unpenalised features have no pull left, forbidden ones no coefficient."""
    X, y, largest = _data()
    weights = np.ones(P)
    weights[[7, 8]], weights[[0, 1]], weights[2] = 0.0, np.inf, 2.0
    penalty = penalties.Weighted(penalties.MCP(0.1 * largest), weights)
    solution = sj.solve(sj.Problem(X, y, penalty=penalty), tol=1e-10)
    coef = np.asarray(solution.coef)
    pull = X.T @ (y - X @ coef) / N
    assert not np.any(coef[:2])
    assert np.all(sj.solve(sj.Problem(X, y, penalty=penalty.penalty)).coef[:2] != 0)
    np.testing.assert_allclose(pull[7:9], 0.0, atol=1e-10 * largest)
    assert np.all(coef[7:9] != 0)
    kept = np.isfinite(weights) & (weights > 0)
    strength, size = 0.1 * largest * weights[kept], np.abs(coef[kept])
    slope = weights[kept] * np.maximum(0.1 * largest - size / 3.0, 0)
    rest = size == 0
    assert np.all(np.abs(pull[kept][rest]) <= strength[rest] * (1 + 1e-8))
    moving = np.sign(coef[kept]) * slope
    np.testing.assert_allclose(pull[kept][~rest], moving[~rest], atol=1e-8 * largest)


def test_weights_of_one_change_nothing_and_are_checked():
    X, y, largest = _data()
    plain = penalties.MCP(0.1 * largest)
    weighted = penalties.Weighted(plain, np.ones(P))
    solutions = [sj.solve(sj.Problem(X, y, penalty=p), tol=1e-10).coef for p in (plain, weighted)]
    np.testing.assert_allclose(*solutions, atol=1e-8)
    np.testing.assert_allclose(
        sj.strength_max(sj.Problem(X, y, penalty=penalties.Weighted(plain, np.full(P, 2.0)))),
        largest / 2,
        rtol=1e-12,
    )
    with pytest.raises(TypeError, match=r"`penalty` must be MCP, SCAD.*got L1"):
        penalties.Weighted(penalties.L1(1.0), np.ones(P))
    with pytest.raises(ValueError, match="`weights` must be nonnegative"):
        penalties.Weighted(plain, -np.ones(P))
    with pytest.raises(ValueError, match=r"`weights` must have shape \(60,\)"):
        sj.Problem(X, y, penalty=penalties.Weighted(plain, np.ones(3)))
