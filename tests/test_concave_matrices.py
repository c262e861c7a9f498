"""Concave penalties of matrices: of the lengths of rows, and of singular values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
import scipy.optimize

import sparsejax as sj
from sparsejax import losses, penalties, solvers

pytestmark = pytest.mark.usefixtures("float64")

N, P, TASKS = 30, 8, 4
CASES = {"rows": penalties.Rows, "spectral": penalties.Spectral}
WEIGHTS = np.linspace(0.5, 1.5, N) * (np.arange(N) != 3)
every_case = pytest.mark.parametrize("make", CASES.values(), ids=CASES)


def _sizes(make, w):
    if make is penalties.Rows:
        return np.linalg.norm(w, axis=1)
    return np.linalg.svd(w, compute_uv=False)


def _data(seed=0):
    """Rows beyond the fourth are zero, and the rank is two."""
    rng = np.random.default_rng(seed)
    X, W = rng.normal(size=(N, P)), rng.normal(size=(P, 2)) @ rng.normal(size=(2, TASKS))
    W[4:] = 0.0
    return X, X @ W + 0.5 * rng.normal(size=(N, TASKS))


def _problem(make, strength=0.4, gamma=3.0, **more):
    X, Y = _data()
    penalty = make(penalties.MCP(strength, gamma))
    loss = losses.Squared(WEIGHTS)
    return sj.Problem(X, Y, loss, penalty, **({"fit_intercept": True} | more))


@every_case
def test_prox_against_brute_force(make):
    rng = np.random.default_rng(0)
    for inner in (penalties.MCP(0.6), penalties.LogSum(0.6, 0.3), penalties.Lq(0.6, 0.5)):
        penalty, v = make(inner), 1.5 * rng.normal(size=(2, 2))

        def cost(u, v=v, inner=inner):
            sizes = _sizes(make, u.reshape(2, 2))
            profile = np.sum(reference.concave_profile(inner, sizes))
            return np.sum((u.reshape(2, 2) - v) ** 2) / 2 + 0.8 * profile

        u = np.asarray(penalty.prox(jnp.asarray(v), 0.8))
        starts = [*rng.normal(size=(4, 4)), v.ravel(), u.ravel() + 1e-3]
        options = {"xatol": 1e-9, "fatol": 1e-13, "maxiter": 4000}
        rivals = [
            scipy.optimize.minimize(cost, s, method="Nelder-Mead", options=options).fun
            for s in starts
        ]
        assert cost(u) <= min(rivals) + 1e-9
        np.testing.assert_allclose(penalty.value(jnp.asarray(v)), cost(v) / 0.8, rtol=1e-12)


@every_case
def test_relaxation_touches_from_above(make):
    penalty = make(penalties.SCAD(0.5))
    rng = np.random.default_rng(0)
    full = rng.normal(size=(5, 3))
    for at in (full, full[:, :1] @ full[:1], np.zeros((5, 3))):
        at = jnp.asarray(at)
        touching, tilt = penalty.touching(at), penalty.tilt(at)
        assert touching.is_convex
        tilt = np.zeros((5, 3)) if tilt is None else tilt

        def above(w, touching=touching, tilt=tilt):
            return float(touching.value(w) - jnp.vdot(tilt, w) - penalty.value(w))

        lowest = above(at)
        for scale in (0.01, 0.3, 3.0):
            for other in rng.normal(size=(20, 5, 3)):
                assert above(jnp.asarray(at + scale * other)) >= lowest - 1e-12
                assert above(jnp.asarray(scale * other)) >= lowest - 1e-12


@every_case
@pytest.mark.parametrize("solver", [None, solvers.MultiStage()], ids=["auto", "stages"])
def test_solutions_are_stationary(make, solver):
    """By the definition: −∇loss is h′ in the directions of w, and no more than h′(0) elsewhere."""
    problem = _problem(make)
    solution = sj.solve(problem, solver)
    assert solution.kkt <= 1e-8
    assert np.isnan(solution.gap)
    W, (X, Y) = np.asarray(solution.coef), _data()
    residual = (WEIGHTS / WEIGHTS.sum())[:, None] * (Y - X @ W - solution.intercept)
    pull, left, right = X.T @ residual, np.eye(P), np.eye(TASKS)
    if make is penalties.Spectral:
        left, sizes, right = np.linalg.svd(W)
        moving = sizes > 1e-10
        expected = np.zeros((P, TASKS))
        np.fill_diagonal(expected, np.maximum(0.4 - sizes / 3, 0) * moving)
        turned = left.T @ pull @ right.T
        rank = moving.sum()
        np.testing.assert_allclose(turned[:rank], expected[:rank], atol=1e-7)
        np.testing.assert_allclose(turned[:, :rank], expected[:, :rank], atol=1e-7)
        assert np.linalg.norm(turned[rank:, rank:], 2) <= 0.4 + 1e-8
        assert rank == 2
    else:
        lengths = np.linalg.norm(W, axis=1, keepdims=True)
        moving = lengths[:, 0] > 0
        slopes = np.maximum(0.4 - lengths / 3, 0) * W / np.where(lengths > 0, lengths, 1)
        np.testing.assert_allclose(pull[moving], slopes[moving], atol=1e-7)
        assert np.all(np.linalg.norm(pull[~moving], axis=1) <= 0.4 + 1e-8)
        np.testing.assert_array_equal(np.flatnonzero(moving), np.arange(4))
    if solver is not None:
        count = int(solution.stats["num_steps"])
        assert np.all(solution.stats["gaps"][:count] <= 1e-13)


@pytest.mark.slow
def test_second_stage_of_singular_values_against_an_interior_point_method():
    """Nuclear norm less a linear function, written out; the weights and the intercept too."""
    cp = pytest.importorskip("cvxpy")
    problem, (X, Y) = _problem(penalties.Spectral), _data()
    stages = [sj.solve(problem, solvers.MultiStage(k), tol=1e-12) for k in (1, 2)]
    left, sizes, right = np.linalg.svd(np.asarray(stages[0].coef), full_matrices=False)
    for stage, missing in zip(stages, (np.zeros(TASKS), np.minimum(sizes / 3, 0.4)), strict=True):
        W, b = cp.Variable((P, TASKS)), cp.Variable((1, TASKS))
        rows = np.sqrt(WEIGHTS / WEIGHTS.sum())[:, None]
        residual = cp.multiply(rows, Y - X @ W - np.ones((N, 1)) @ b)
        tilt = cp.sum(cp.multiply((left * missing) @ right, W))
        cost = cp.sum_squares(residual) / 2 + 0.4 * cp.normNuc(W) - tilt
        cp.Problem(cp.Minimize(cost)).solve(solver="CLARABEL")
        np.testing.assert_allclose(stage.coef, W.value, atol=2e-5)
        np.testing.assert_allclose(stage.intercept, b.value[0], atol=2e-5)
    assert np.max(np.abs(stages[1].coef - stages[0].coef)) > 0.05
    assert stages[1].gap == np.max(stages[1].stats["gaps"]) <= 1e-12


@every_case
@pytest.mark.slow
def test_batches_and_derivatives(make):
    """Through the stages: several strengths in one call, and central differences."""

    @jax.jit
    def solved(strengths):
        def one(strength):
            solution = sj.solve(_problem(make, strength, 20.0), solvers.MultiStage(), tol=2e-9)
            return jnp.sum(solution.coef * jnp.cos(jnp.arange(P))[:, None]), solution.coef

        return jax.vmap(jax.value_and_grad(one, has_aux=True))(strengths)

    middle = np.array([0.2, 0.4])
    (_, coefs), slopes = solved(middle)
    assert np.linalg.norm(coefs[0]) > np.linalg.norm(coefs[1])
    alone = sj.solve(_problem(make, 0.4, 20.0), solvers.MultiStage(), tol=2e-9)
    np.testing.assert_allclose(coefs[1], alone.coef, atol=1e-8)
    ahead, behind = (solved(middle + h)[0][0] for h in (1e-3, -1e-3))
    np.testing.assert_allclose(slopes, (ahead - behind) / 2e-3, rtol=1e-4)
    assert np.all(np.abs(slopes) > 1e-2)


@pytest.mark.slow
@every_case
def test_classes(make):
    """A loss that is tilted, with its intercepts profiled out."""
    X, Y = _data()
    labels = np.argmax(Y + 3 * np.random.default_rng(5).normal(size=Y.shape), axis=1)
    penalty = make(penalties.LogSum(0.1, 1.0))
    problem = sj.Problem(X, labels, losses.Multinomial(), penalty, fit_intercept=True)
    stages = sj.solve(problem, solvers.MultiStage(), tol=1e-6)
    assert stages.kkt <= 1e-6
    assert np.all(stages.stats["gaps"][: int(stages.stats["num_steps"])] <= 1e-12)
    direct = sj.solve(problem, tol=1e-8, init=stages.coef)
    np.testing.assert_allclose(direct.coef, stages.coef, atol=1e-3)
    sizes = _sizes(make, np.asarray(stages.coef))
    assert 1 <= np.sum(sizes > 1e-8) < sizes.size


def test_one_target_is_one_singular_value_or_row():
    X, Y = _data()
    for make, plain in (
        (lambda p: penalties.Rows(p, np.arange(P) / 4), penalties.Weighted),
        (penalties.Spectral, lambda p, _: penalties.Grouped(p, np.zeros(P, int), [1.0])),
    ):
        inner = penalties.MCP(0.3)
        ours = sj.Problem(X, Y[:, 0], penalty=make(inner))
        theirs = sj.Problem(X, Y[:, 0], penalty=plain(inner, np.arange(P) / 4))
        w, c = jnp.asarray(X[0]), jnp.asarray(X[1])
        for got, expected in (
            (ours.penalty.value(w), theirs.penalty.value(w)),
            (ours.penalty.prox(w, 0.5), theirs.penalty.prox(w, 0.5)),
            (ours.penalty.strength_max(c), theirs.penalty.strength_max(c)),
            (ours.penalty.fenchel_gap(w, 0 * c), theirs.penalty.value(w)),
            (ours.penalty.fenchel_gap(w, c), np.inf),
        ):
            np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)


def test_refusals():
    X, Y = _data()
    for make in CASES.values():
        with pytest.raises(TypeError, match=r"`penalty` must be MCP.*got L1"):
            make(penalties.L1(1.0))
        steep = sj.Problem(X, Y, penalty=make(penalties.Lq(0.1, 0.5)))
        with pytest.raises(TypeError, match=r"slope at zero is infinite.*use FISTA\(\)"):
            sj.solve(steep, solvers.MultiStage())
        with pytest.raises(TypeError, match=r"WorkingSet does not support (Rows|Spectral)"):
            sj.solve(steep, solvers.WorkingSet())
    with pytest.raises(ValueError, match="`weights` must have shape"):
        sj.Problem(X, Y, penalty=penalties.Rows(penalties.MCP(1.0), np.ones(3)))
    problem = sj.Problem(X, Y[:, 0], losses.Quantile(0.5), penalties.Spectral(penalties.MCP(0.1)))
    with pytest.raises(TypeError, match="Spectral with Quantile, which has no gradient"):
        sj.solve(problem, solvers.MultiStage())
