"""VarPro for norms of a transform: dense, tridiagonal and by products; against Clarabel."""

import jax.numpy as jnp
import numpy as np
import pytest
import reference

import sparsejax as sj
from sparsejax import losses, penalties, solvers
from sparsejax._certificate import objective_at_zero

pytestmark = pytest.mark.usefixtures("float64")

GRID = (5, 6)
P = 30
STEPS = np.repeat([0.0, 1.0, -1.0], 10)


def _noise(seed, size=P):
    return np.random.default_rng(seed).normal(size=size)


def _check(X, problem, tol=1e-9, solver=None):
    """The optimum, and an honest certificate wherever one stops."""
    solver = solvers.VarPro() if solver is None else solver
    solution = sj.solve(problem, solver, tol=tol)
    best = reference.optimum_of(X, problem)
    unit = float(objective_at_zero(problem))
    value = reference.value(problem.penalty, np.asarray(solution.coef))
    value += reference.loss_value(problem.loss, X @ solution.coef, np.asarray(problem.y))
    np.testing.assert_allclose(solution.objective, value, rtol=1e-10)
    np.testing.assert_allclose(value, best, atol=1e-7 * unit)
    early = sj.solve(problem, solver, tol=tol, max_steps=2, throw=False)
    assert early.result == sj.RESULTS.max_steps_reached
    assert early.gap * unit >= float(early.objective) - best - 1e-8 * unit
    return solution


@pytest.mark.slow
def test_groups_of_differences_of_a_regression():
    """Fewer samples than features; weights that vanish in the limit, around loops of the grid."""
    pytest.importorskip("cvxpy")
    D, groups = penalties.difference_operator(GRID), penalties.difference_groups(GRID)
    for seed, strength in ((0, 0.01), (1, 0.1)):
        X = _noise(seed, (20, P))
        y = X @ STEPS + 0.3 * _noise(seed + 5, 20)
        weights = np.random.default_rng(seed).uniform(0.5, 2.0, 20)
        penalty = penalties.Analysis(strength, D, groups)
        _check(X, sj.Problem(X, y, losses.Squared(weights), penalty))


@pytest.mark.slow
def test_absolute_values_of_a_chain():
    """TV-L1 of a signal and other quantiles: tridiagonal systems, a weight for every sample."""
    pytest.importorskip("cvxpy")
    chain = penalties.difference_operator((P,))
    for level, strength in ((0.5, 0.02), (0.3, 0.02), (0.5, 0.3)):
        y = STEPS + 0.3 * _noise(2)
        y[4] = 20.0
        penalty = penalties.Analysis(strength, chain)
        problem = sj.Problem(sj.designs.Identity(P), y, losses.Quantile(level), penalty)
        solution = _check(np.eye(P), problem)
        assert jnp.max(solution.coef) < 4


@pytest.mark.parametrize(
    "groups", [penalties.difference_groups(GRID), pytest.param(None, marks=pytest.mark.slow)]
)
def test_denoising_of_a_grid_by_products(groups):
    """Without groups the forces around flat loops are not unique."""
    penalty = penalties.Analysis(0.01, penalties.difference_operator(GRID), groups)
    y = STEPS + 0.3 * _noise(3)
    problem = sj.Problem(sj.designs.Identity(P), y, penalty=penalty)
    solution = sj.solve(problem, solvers.VarPro(), tol=1e-9)
    peer = sj.solve(problem, tol=1e-11)
    np.testing.assert_allclose(solution.coef, peer.coef, atol=1e-4)
    np.testing.assert_allclose(solution.objective, peer.objective, rtol=1e-8)


@pytest.mark.slow
def test_total_variation():
    """With an intercept and without; one flat solution, one hardly penalised."""
    X = _noise(0, (40, P))
    y = X @ STEPS + 0.3 * _noise(4, 40) + 2.0
    for intercept, strength in ((False, 0.05), (True, 0.05), (True, 1e-3), (True, 100.0)):
        problem = sj.Problem(
            X, y, penalty=penalties.TotalVariation(strength), fit_intercept=intercept
        )
        solution = sj.solve(problem, solvers.VarPro(), tol=1e-8)
        peer = sj.solve(problem, tol=1e-10)
        np.testing.assert_allclose(solution.coef, peer.coef, atol=1e-3)
        np.testing.assert_allclose(solution.objective, peer.objective, rtol=1e-7)


def _grid_with_groups(strength):
    return penalties.Analysis(
        strength, penalties.difference_operator(GRID), penalties.difference_groups(GRID)
    )


def _labels(z, rng):
    return np.where(z + rng.normal(size=z.size) > 0, 1.0, -1.0)


@pytest.mark.parametrize(
    ("loss", "penalty", "draw", "intercept"),
    [
        (losses.Logistic, penalties.TotalVariation, _labels, True),
        pytest.param(
            losses.Poisson,
            _grid_with_groups,
            lambda z, rng: rng.poisson(np.exp(z / 4)).astype(float),
            True,
            marks=pytest.mark.slow,
        ),
        pytest.param(
            lambda weights: losses.Huber(0.5, weights),
            _grid_with_groups,
            lambda z, rng: z + rng.standard_t(1.5, z.size),
            False,
            marks=pytest.mark.slow,
        ),
        pytest.param(
            losses.SquaredHinge, penalties.TotalVariation, _labels, False, marks=pytest.mark.slow
        ),
        pytest.param(
            losses.Gamma,
            penalties.TotalVariation,
            lambda z, rng: rng.gamma(2.0, np.exp(z / 4) / 2),
            True,
            marks=pytest.mark.slow,
        ),
    ],
)
def test_other_smooth_losses(loss, penalty, draw, intercept):
    """By Newton's method, with sample weights and an offset; straight pieces included."""
    pytest.importorskip("cvxpy")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, P))
    y, offset, weights = draw(X @ STEPS, rng), 0.3 * rng.normal(size=60), rng.uniform(0.5, 2, 60)
    problem = sj.Problem(X, y, loss(weights), penalty(0.02), intercept, offset)
    for steps in (2, None):
        solution = sj.solve(
            problem, solvers.VarPro(), tol=1e-7, max_steps=steps, throw=steps is None
        )
        value = sj.objective(problem, solution.coef, solution.intercept)
        unit, best = float(objective_at_zero(problem)), reference.optimum_of(X, problem)
        assert solution.gap * unit >= float(value) - best - 1e-8 * unit
    np.testing.assert_allclose(value, best, atol=1e-7 * unit)


def test_is_chosen_where_an_intercept_leaves_no_proximal_operator():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, P))
    penalty = penalties.Analysis(0.05, penalties.difference_operator((P,)))
    problem = sj.Problem(X, _labels(X @ STEPS, rng), losses.Logistic(), penalty, True)
    solution = sj.solve(problem, tol=1e-7)
    assert solution.stats.solver == "VarPro"
    plain = sj.Problem(X, problem.y, losses.Logistic(), penalty)
    assert type(solvers.Auto().choose(plain)) is solvers.PrimalDual


@pytest.mark.parametrize(
    "penalty",
    [
        penalties.Analysis(0.05, penalties.difference_operator((P,))),
        pytest.param(_grid_with_groups(0.05), marks=pytest.mark.slow),
    ],
)
def test_denoising_of_counts(penalty):
    """Tridiagonal systems, and those of products."""
    pytest.importorskip("cvxpy")
    y = np.random.default_rng(0).poisson(np.exp(STEPS + 1)).astype(float)
    problem = sj.Problem(sj.designs.Identity(P), y, losses.Poisson(), penalty)
    _check(np.eye(P), problem, tol=1e-7)


@pytest.mark.parametrize(
    ("loss", "intercept", "solver", "message"),
    [
        (losses.Hinge(), False, {}, "does not support Hinge with Analysis"),
        (losses.Quantile(0.5), True, {}, "does not support Quantile with Analysis"),
        (losses.Squared(), False, {"inner": "cg"}, "for denoising"),
    ],
)
def test_refuses(loss, intercept, solver, message):
    penalty = penalties.Analysis(1.0, penalties.difference_operator((3,)))
    problem = sj.Problem(np.eye(3), np.ones(3), loss, penalty, intercept)
    with pytest.raises(TypeError, match=message):
        sj.solve(problem, solvers.VarPro(**solver))
