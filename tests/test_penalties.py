"""Penalties against their definition: values, proximal operators, subdifferentials, conjugates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from hypothesis import assume, given, strategies as st
from hypothesis.extra.numpy import arrays
from registry import CONCAVE, PENALTIES, SEPARABLE, each

import sparsejax as sj
from sparsejax.penalties import (
    AbstractConcavePenalty,
    AbstractSeparablePenalty,
    AbstractStrengthPenalty,
)

pytestmark = pytest.mark.usefixtures("float64")

P = 5
EPS = 1e-12
numbers = st.floats(-4, 4).map(lambda x: round(x, 3))
vectors = arrays(np.float64, P, elements=numbers)
strengths = st.floats(0.05, 2.0)
steps = st.floats(0.05, 3.0)
every_penalty = each("make", PENALTIES)
_ALL, _COORDINATES = PENALTIES | CONCAVE, SEPARABLE | CONCAVE
convex_or_not = each("make", _ALL)
coordinates = each("make", _COORDINATES)
separable = each("make", SEPARABLE)


def _project(penalty, c):
    """c where the penalty is not constant."""
    basis = penalty.null_space(P)
    return c if basis is None else c - np.asarray(basis @ (basis.T @ c))


def test_registry_knows_what_is_separable():
    for name, make in _ALL.items():
        assert isinstance(make(1.0, P), AbstractSeparablePenalty) == (name in _COORDINATES)
        assert isinstance(make(1.0, P), AbstractConcavePenalty) == (name in CONCAVE)


@convex_or_not
@given(w=vectors, strength=strengths)
def test_value(make, w, strength):
    penalty = make(strength, P)
    np.testing.assert_allclose(penalty.value(w), reference.value(penalty, w), rtol=EPS)
    inside = np.asarray(penalty.prox(w, 1.0))
    assert np.isfinite(penalty.value(inside))
    np.testing.assert_allclose(penalty.value(inside), reference.value(penalty, inside), rtol=EPS)


@convex_or_not
@given(v=vectors, step=steps, strength=strengths)
def test_prox_satisfies_its_optimality_condition(make, v, step, strength):
    penalty = make(strength, P)
    u = penalty.prox(v, step)
    distance = penalty.subdiff_distance(u, (u - v) / step)
    np.testing.assert_allclose(distance, 0, atol=1e-12 * (1 + np.max(np.abs(v)) / step))


@every_penalty
@given(v=vectors, other=vectors, step=steps, strength=strengths)
def test_prox_is_the_minimiser(make, v, other, step, strength):
    """Strong convexity: every other point is worse by at least half its squared distance."""
    penalty = make(strength, P)
    u = np.asarray(penalty.prox(v, step))
    other = np.asarray(penalty.prox(other, 1e-3))  # into the domain, nearly where it was

    def cost(x):
        return np.sum((x - v) ** 2) / 2 + step * reference.value(penalty, x)

    assert cost(other) - cost(u) >= np.sum((u - other) ** 2) / 2 - 1e-10


@every_penalty
@given(v=vectors, j=st.integers(0, P - 1), step=steps, strength=strengths)
def test_prox_against_a_grid(make, v, j, step, strength):
    """Moving one coordinate over a grid never does better, and the best grid point is near."""
    penalty = make(strength, P)
    u = np.asarray(penalty.prox(v, step))
    grid = np.linspace(-5, 5, 401)
    spacing = grid[1] - grid[0]

    def cost(x):
        return np.sum((x - v) ** 2) / 2 + step * reference.value(penalty, x)

    points = np.tile(u, (grid.size, 1))
    points[:, j] = grid
    costs = np.array([cost(point) for point in points])
    assert cost(u) <= costs.min() + 1e-12
    assert np.isinf(costs.min()) or abs(grid[costs.argmin()] - u[j]) <= spacing


@every_penalty
@given(v=vectors, step=steps, strength=strengths, other=vectors)
def test_moreau(make, v, step, strength, other):
    """v = prox(v) + step·c where c is the proximal point of the conjugate at v/step."""
    penalty = make(strength, P)
    u = np.asarray(penalty.prox(v, step))
    c = (v - u) / step
    # Fenchel's equality marks c as a subgradient at u: both sides of Moreau's decomposition.
    fenchel = reference.value(penalty, u) + reference.conjugate(penalty, c) - u @ c
    np.testing.assert_allclose(fenchel, 0, atol=1e-10)

    def dual_cost(q):
        return np.sum((q - v / step) ** 2) / 2 + reference.conjugate(penalty, q) / step

    assert dual_cost(c) <= dual_cost(c + 0.1 * other) + 1e-9
    assert dual_cost(c) <= dual_cost(0 * c) + 1e-9


@every_penalty
@given(v=vectors, w=vectors, step=steps, strength=strengths)
def test_prox_is_firmly_nonexpansive(make, v, w, step, strength):
    penalty = make(strength, P)
    moved = np.asarray(penalty.prox(v, step) - penalty.prox(w, step))
    assert moved @ (v - w) >= moved @ moved - 1e-12


@coordinates
@given(v=vectors, factors=arrays(np.float64, P, elements=steps), strength=strengths)
def test_prox_takes_one_step_per_coordinate(make, v, factors, strength):
    penalty = make(strength, P)
    together = penalty.prox(v, factors)
    for j in range(P):
        np.testing.assert_allclose(together[j], penalty.prox(v, factors[j])[j], rtol=EPS)


@every_penalty
@given(w=vectors, c=vectors, strength=strengths)
def test_fenchel_gap(make, w, c, strength):
    penalty = make(strength, P)
    w = np.asarray(penalty.prox(w, 1.0))
    c = _project(penalty, c)
    s = float(penalty.dual_scale(c))
    assert 0 <= s <= 1
    gap = float(penalty.fenchel_gap(w, s * c))
    expected = reference.value(penalty, w) + reference.conjugate(penalty, s * c) - s * w @ c
    assert np.isfinite(gap), "the scaled point must lie in the domain of the conjugate"
    np.testing.assert_allclose(gap, expected, rtol=1e-9, atol=1e-11)
    assert gap >= -1e-13
    unscaled = reference.value(penalty, w) + reference.conjugate(penalty, c) - w @ c
    np.testing.assert_allclose(penalty.fenchel_gap(w, c), unscaled, rtol=1e-9, atol=1e-11)


@coordinates
@given(w=vectors, grad=vectors, strength=strengths)
def test_subdiff_distance(make, w, grad, strength):
    """∂g along a coordinate is the interval between the one-sided slopes of the value."""
    penalty = make(strength, P)
    w = np.asarray(penalty.prox(w, 1.0))
    distance = np.asarray(penalty.subdiff_distance(w, grad))
    assert distance.shape == (P,)
    h = 1e-7
    here = reference.value(penalty, w)
    for j, unit in enumerate(np.eye(P)):
        above = (reference.value(penalty, w + h * unit) - here) / h
        below = (here - reference.value(penalty, w - h * unit)) / h
        if w[j] != 0 and abs(w[j]) < h:
            continue  # the kink at zero lies within the difference
        expected = max(0.0, -grad[j] - above, below + grad[j])
        np.testing.assert_allclose(distance[j], expected, atol=1e-5)


@coordinates
@given(w=vectors, strength=strengths)
def test_local_gradient_on_the_support(make, w, strength):
    penalty = make(strength, P)
    w = np.asarray(penalty.prox(w, 0.5))
    support = np.asarray(penalty.support(w))
    gradient = np.asarray(penalty.local_gradient(w))
    h = 1e-6
    for j in np.flatnonzero(support):
        up, down = w.copy(), w.copy()
        up[j] += h
        down[j] -= h
        slope = (reference.value(penalty, up) - reference.value(penalty, down)) / (2 * h)
        assume((np.isfinite(slope) and abs(w[j]) > h) or w[j] == 0)  # not across a kink
        np.testing.assert_allclose(gradient[j], slope, atol=1e-8)
    anchor = penalty.anchor(w)
    pinned = np.zeros(P) if anchor is None else np.asarray(anchor)
    np.testing.assert_array_equal(w[~support], pinned[~support])


@separable
@given(v=vectors, step=steps, strength=strengths)
def test_prox_derivative(make, v, step, strength):
    penalty = make(strength, P)
    h = 1e-7
    up, down = (np.asarray(penalty.prox(v + move, step)) for move in (h, -h))
    middle = np.asarray(penalty.prox(v, step))
    smooth = np.abs(up + down - 2 * middle) < 1e-10  # a kink within h of v bends the three points
    derivative = np.asarray(penalty.prox_derivative(v, step))
    np.testing.assert_allclose(derivative[smooth], ((up - down) / (2 * h))[smooth], atol=1e-6)
    assert np.all((derivative >= 0) & (derivative <= 1))


@coordinates
@given(w=vectors, strength=strengths)
def test_restrict(make, w, strength):
    penalty = make(strength, P)
    w = np.asarray(penalty.prox(w, 1.0))
    index = np.array([3, 0, 4])
    part = penalty.restrict(jnp.asarray(index))
    rest = np.setdiff1d(np.arange(P), index)
    total = part.value(w[index]) + penalty.restrict(jnp.asarray(rest)).value(w[rest])
    np.testing.assert_allclose(total, penalty.value(w), rtol=EPS)
    np.testing.assert_allclose(part.prox(w[index], 0.3), penalty.prox(w, 0.3)[index], rtol=EPS)


@coordinates
@given(c=vectors, strength=strengths)
def test_saturation_tells_which_coordinates_must_move(make, c, strength):
    penalty = make(strength, P)
    rest = np.asarray(penalty.prox(np.zeros(P), 1.0))
    still = ~np.asarray(penalty.support(rest))
    distance = np.asarray(penalty.subdiff_distance(rest, -c))
    saturation = np.broadcast_to(penalty.saturation(rest, c), (P,))
    clear = still & (np.abs(saturation - 1) > 1e-9)
    np.testing.assert_array_equal((saturation > 1)[clear], (distance > 0)[clear])


@every_penalty
@given(c=vectors)
def test_strength_max(make, c):
    """At strength_max zero is optimal, a little below it is not."""
    penalty = make(1.0, P)
    if not isinstance(penalty, AbstractStrengthPenalty):
        pytest.skip("a penalty without a strength")
    free = reference.free(penalty, P)
    c = _project(penalty, np.where(free, 0.0, c))
    largest = float(penalty.strength_max(c))
    if np.isinf(largest):  # ridge regression: never exactly zero
        assert np.any(c != 0)
        return
    zero = np.zeros(P)
    above = penalty.with_strength(jnp.asarray(largest * (1 + 1e-12)))
    np.testing.assert_allclose(above.subdiff_distance(zero, -c), 0, atol=1e-12)
    if largest > 0:
        below = penalty.with_strength(jnp.asarray(0.99 * largest))
        assert np.max(below.subdiff_distance(zero, -c)) > 0


@convex_or_not
def test_works_under_jit_and_vmap(make, rng):
    penalty = make(0.7, P)
    batch = rng.normal(size=(4, P))
    together = jax.jit(jax.vmap(lambda v: penalty.prox(v, 0.5)))(batch)
    np.testing.assert_allclose(together, [penalty.prox(v, 0.5) for v in batch], rtol=EPS)


@convex_or_not
def test_float32_stays_float32(make, rng):
    # The constructors follow the dtype of their inputs, a Problem that of X.
    with jax.enable_x64(False):
        penalty = make(0.7, P)
        w = jnp.asarray(rng.normal(size=P), jnp.float32)
        results = penalty.prox(w, 0.5), penalty.value(w), penalty.subdiff_distance(w, w)
        assert {x.dtype for x in results} == {jnp.dtype("float32")}


@given(v=vectors, step=steps, strength=strengths)
def test_zero_weight_is_unpenalised_and_infinite_weight_is_zero(v, step, strength):
    weights = np.array([0.0, np.inf, 1.0, 0.0, np.inf])
    for s in (strength, 0.0):
        penalty = sj.penalties.L1(s, weights=weights)
        u = np.asarray(penalty.prox(v, step))
        np.testing.assert_array_equal(u[[0, 3]], v[[0, 3]])
        np.testing.assert_array_equal(u[[1, 4]], 0.0)
        assert not np.isnan(penalty.value(u))
        assert np.isinf(penalty.value(np.ones(P)))


@given(v=vectors, step=steps, strength=strengths)
def test_elastic_net_ends_are_lasso_and_ridge(v, step, strength):
    lasso = sj.penalties.ElasticNet(strength, 1.0)
    np.testing.assert_allclose(
        lasso.prox(v, step), sj.penalties.L1(strength).prox(v, step), rtol=EPS
    )
    ridge = sj.penalties.ElasticNet(strength, 0.0)
    np.testing.assert_allclose(ridge.prox(v, step), v / (1 + step * strength), rtol=EPS)


@pytest.mark.parametrize(
    "name",
    [
        "l1-weights",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("elastic-net", "box-vector")),
    ],
)
def test_prox_works_inside_jaxopt(name, rng):
    jaxopt = pytest.importorskip("jaxopt")
    n, p = 20, 8
    X, y = rng.normal(size=(n, p)), rng.normal(size=n)
    penalty = PENALTIES[name](0.1, p)

    def loss(w, _=None):
        return jnp.sum((X @ w - y) ** 2) / (2 * n)

    def prox(w, penalty, scaling=1.0):
        return penalty.prox(w, scaling)

    peer = jaxopt.ProximalGradient(loss, prox, tol=1e-12, maxiter=5000)
    w = peer.run(jnp.zeros(p), hyperparams_prox=penalty).params
    problem = sj.Problem(X, y, penalty=penalty)
    ours = sj.solve(problem, tol=1e-12)
    np.testing.assert_allclose(w, ours.coef, atol=1e-7)
