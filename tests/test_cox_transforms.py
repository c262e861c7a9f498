"""Cox's likelihood with norms of transforms, whose dual points must be multiples of its gradient.

Models by ``PrimalDual``, or by FISTA where there is a proximal operator.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pairs
import pytest
import reference

import sparsejax as sj

pytestmark = pytest.mark.usefixtures("float64")

PENALTIES = ["overlapping", "analysis", "isotropic", "total-variation"]


def _problem(penalty, strength, loss="cox"):
    data = pairs.data(loss, 0, ())
    return data, pairs.problem(loss, penalty, False, data, strength)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("loss", ["cox", pytest.param("cox-efron", marks=pytest.mark.slow)])
def test_objective_is_that_of_an_interior_point_method(loss, penalty):
    for strength in (0.003, 0.03):
        (X, *_), problem = _problem(penalty, strength, loss)
        solution = sj.solve(problem, tol=1e-8)
        assert solution.stats["solver"] == "ProxNewton"
        best = reference.optimum_of(X, problem)
        assert abs(float(solution.objective) - best) <= 2e-8 * abs(best)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_gap_bounds_what_is_left_to_gain(penalty):
    _, problem = _problem(penalty, 0.003)
    unit = float(sj.objective(problem, jnp.zeros(pairs.P)))
    best = float(sj.solve(problem, tol=1e-8).objective)
    for steps in (1, 2, 4, 8):
        early = sj.solve(problem, max_steps=steps, throw=False)
        assert float(early.gap) * unit >= float(early.objective) - best - 1e-8 * unit


@pytest.mark.parametrize(
    "penalty",
    ["overlapping", *(pytest.param(p, marks=pytest.mark.slow) for p in PENALTIES[1:])],
)
def test_derivatives_agree_with_differences(penalty):
    _, problem = _problem(penalty, 0.01)
    direction = jnp.cos(jnp.arange(pairs.P))

    @jax.jit
    def of_strength(log_strength):
        changed = problem.penalty.with_strength(jnp.exp(log_strength))
        moved = eqx.tree_at(lambda p: p.penalty, problem, changed)
        return sj.solve(moved, tol=1e-11, throw=False).coef @ direction

    at, step = jnp.log(0.01), 1e-4
    numeric = (of_strength(at + step) - of_strength(at - step)) / (2 * step)
    np.testing.assert_allclose(jax.grad(of_strength)(at), numeric, rtol=1e-4)


@pytest.mark.parametrize(
    "penalty", [pytest.param("overlapping", marks=pytest.mark.slow), "total-variation"]
)
def test_strength_max(penalty):
    _, problem = _problem(penalty, 1.0)
    most = float(sj.strength_max(problem))
    for factor, some in ((0.999, True), (1.001, False)):
        _, problem = _problem(penalty, factor * most)
        coef = sj.solve(problem, tol=1e-10).coef
        assert (float(problem.penalty.value(coef)) > 1e-6) == some
