"""Derivatives of a held-out loss through groups, other losses, several targets and fixed points.

Against central differences of solves at machine precision; one compilation a pair does both.
"""

from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax import losses, penalties

pytestmark = [pytest.mark.usefixtures("float64"), pytest.mark.slow]

N, P, TASKS = 24, 8, 3
H = 1e-5
GROUPS = np.array([0, 1, 0, 2, 1, 2, 0, 1])


def _targets(loss, linear, rng):
    if loss is losses.Logistic:
        return np.where(linear > 0, 1.0, -1.0)
    if loss is losses.Poisson:  # none is zero, so that each may move both ways
        return rng.poisson(np.exp(linear / 3)) + 0.5
    return linear


def _data(loss, tasks=()):
    rng = np.random.default_rng(0)
    X, w = rng.normal(size=(2 * N, P)), np.zeros((P, *tasks))
    w[GROUPS == 0] = 1 + rng.random((3, *tasks))
    y = X @ w + rng.normal(size=(2 * N, *tasks)) + 0.3
    y = _targets(loss, y, rng)
    offset = 0.3 * rng.normal(size=(N, *tasks))
    return tuple(map(jnp.asarray, (X[:N], y[:N], 0.5 + rng.random(N), offset, X[N:], y[N:])))


# loss, penalty, intercept, tasks, strength
CASES = {
    "logistic-l1": (losses.Logistic, penalties.L1, False, (), 0.05),
    "logistic-l1-intercept": (losses.Logistic, penalties.L1, True, (), 0.05),
    "logistic-sparse-group": (
        losses.Logistic,
        lambda s: penalties.SparseGroup(s, GROUPS, 0.4),
        False,
        (),
        0.05,
    ),
    "squared-group-l2": (
        losses.Squared,
        lambda s: penalties.GroupL2(s, GROUPS),
        True,
        (),
        0.2,
    ),
    "squared-slope": (
        losses.Squared,
        lambda s: penalties.SLOPE(s * jnp.linspace(1.0, 0.3, P)),
        False,
        (),
        0.3,
    ),
    "poisson-slope": (
        losses.Poisson,
        lambda s: penalties.SLOPE(s * jnp.linspace(1.0, 0.3, P)),
        True,
        (),
        0.1,
    ),
    "squared-k-support": (losses.Squared, lambda s: penalties.KSupport(s, 3), True, (), 0.3),
    "squared-total-variation": (losses.Squared, penalties.TotalVariation, True, (), 0.1),
    "squared-row-l2": (losses.Squared, penalties.RowL2, True, (TASKS,), 0.3),
    "squared-schatten": (
        losses.Squared,
        lambda s: penalties.Schatten(s, 1.3),
        False,
        (TASKS,),
        0.2,
    ),
    "squared-nuclear": (losses.Squared, penalties.Nuclear, False, (TASKS,), 0.5),
}


@cache
def _functional(case, adjoint=None):
    """(strength, X, y, weights, offset) -> loss on what was held out, and the coefficients."""
    loss, penalty, intercept, tasks, _ = CASES[case]
    *_, held_out, target = map(np.asarray, _data(loss, tasks))

    def f(strength, X, y, weights, offset):
        problem = sj.Problem(X, y, loss(weights), penalty(strength), intercept, offset)
        solution = sj.solve(problem, tol=0.0, throw=False, adjoint=adjoint)
        aside, wanted = (jnp.asarray(a, X.dtype) for a in (held_out, target))
        predictions = aside @ solution.coef + solution.intercept
        return loss().value(predictions, wanted), solution.coef

    return f


@cache
def _value_and_grad(case, adjoint=None):
    """Compiled once for all that is asked of a pair."""
    return jax.jit(jax.value_and_grad(_functional(case, adjoint), tuple(range(5)), has_aux=True))


def _point(case):
    loss, _, _, tasks, strength = CASES[case]
    return (jnp.asarray(strength), *_data(loss, tasks)[:4])


@pytest.mark.parametrize("case", CASES)
def test_gradients_against_central_differences(case):
    f, point = _value_and_grad(case), _point(case)
    (_, coef), gradient = f(*point)
    assert np.any(coef != 0)
    rng = np.random.default_rng(1)
    for k, (x, slope) in enumerate(zip(point, gradient, strict=True)):
        tangent = rng.normal(size=x.shape)
        ends = [f(*point[:k], x + sign * H * tangent, *point[k + 1 :])[0][0] for sign in (1, -1)]
        expected = (ends[0] - ends[1]) / (2 * H)
        size = np.linalg.norm(slope) * np.linalg.norm(tangent)
        assert size > 1e-4
        np.testing.assert_allclose(np.vdot(slope, tangent), expected, atol=2e-6 * size)


@pytest.mark.parametrize("case", ["logistic-l1-intercept", "squared-nuclear"])
def test_forward_equals_reverse(case):
    f, point = _functional(case), _point(case)
    rng = np.random.default_rng(2)
    tangents = tuple(jnp.asarray(rng.normal(size=x.shape)) for x in point)
    scalar = lambda *x: f(*x)[0]  # noqa: E731
    _, forward = jax.jit(lambda p, t: jax.jvp(scalar, p, t))(point, tangents)
    _, gradient = _value_and_grad(case)(*point)
    backward = sum(jnp.vdot(g, t) for g, t in zip(gradient, tangents, strict=True))
    np.testing.assert_allclose(forward, backward, rtol=1e-9)


@pytest.mark.parametrize("case", ["squared-group-l2", "squared-nuclear", "poisson-slope"])
def test_unrolled_equals_implicit(case):
    """Well-conditioned: a few hundred proximal-gradient steps forget where they began."""
    point = _point(case)
    _, implicit = _value_and_grad(case)(*point)
    _, unrolled = _value_and_grad(case, sj.Unrolled(300))(*point)
    for ours, theirs in zip(unrolled, implicit, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_float32():
    case = "squared-group-l2"
    point = _point(case)
    _, expected = _value_and_grad(case)(*point)
    with jax.enable_x64(False):
        single = tuple(jnp.asarray(np.asarray(x), jnp.float32) for x in point)
        (_, coef), gradient = _value_and_grad(case)(*single)
    for ours, theirs in zip((*gradient, coef), (*expected, coef), strict=True):
        assert ours.dtype == jnp.float32
        np.testing.assert_allclose(ours, theirs, rtol=5e-3, atol=1e-4)


def test_hessian_through_groups():
    """Twice differentiable where the support does not change."""
    groups = np.append(GROUPS, 0)

    @eqx.filter_jit
    def slope(strength, X, y):
        def f(s):
            problem = sj.Problem(X, y, penalty=penalties.GroupL2(s, groups))
            return jnp.sum(sj.solve(problem, tol=0.0, throw=False).coef ** 2)

        return jax.value_and_grad(jax.grad(f))(strength)

    X, y, *_ = _data(losses.Squared)
    X = jnp.append(X, jnp.zeros((N, 1)), axis=1)  # a zero within a group that moves
    _, bend = slope(jnp.asarray(0.2), X, y)
    up, down = (slope(jnp.asarray(0.2 + h), X, y)[0] for h in (H, -H))
    np.testing.assert_allclose(bend, (up - down) / (2 * H), rtol=1e-5)


def test_held_out_deviance():
    """`Holdout` takes labels as the loss does, and averages it over the samples kept aside."""
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 5)), rng.integers(0, 2, 40)
    problem = sj.Problem(
        X[:25], y[:25], sj.losses.Logistic(), sj.penalties.L1(0.05), fit_intercept=True
    )
    criterion = sj.bilevel.Holdout(X[25:], y[25:])
    value, coef = criterion.value(problem, criterion.start(problem), 1e-10)
    linear = X[25:] @ np.asarray(coef) + float(sj.solve(problem, tol=1e-10).intercept)
    expected = metrics.log_loss(y[25:], 1 / (1 + np.exp(-linear)))
    np.testing.assert_allclose(value, expected, rtol=1e-8)
