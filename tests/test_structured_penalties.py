"""Penalties on groups, order, differences and matrices: what vectors of five do not show."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from compilations import compiled
from registry import STRUCTURED, each

import sparsejax as sj
from sparsejax import penalties

pytestmark = pytest.mark.usefixtures("float64")

P, TASKS = 6, 3
MATRIX = {
    "row-l2": lambda s: penalties.RowL2(s),
    "row-l2-weights": lambda s: penalties.RowL2(s, np.array([1.0, 0.0, 2.0, 0.5, np.inf, 1.0])),
    "nuclear": lambda s: penalties.Nuclear(s),
    "schatten": lambda s: penalties.Schatten(s, 1.3),
}
# name -> (penalty of that strength, shape of the coefficients)
CASES = {name: (lambda s, make=make: make(s, P), (P,)) for name, make in STRUCTURED.items()}
CASES |= {f"{name}-matrix": (make, (P, TASKS)) for name, make in MATRIX.items()}
every_case = each("make, shape", CASES)
NORMS = [name for name in CASES if "simplex" not in name and "schatten" not in name]


def _points(rng, shape):
    """General position, ties, zeros."""
    ties = np.round(rng.normal(size=shape)) + 0.0
    return [rng.normal(size=shape) * 2, ties, np.zeros(shape), np.ones(shape)]


@every_case
def test_prox_against_an_interior_point_method(make, shape, rng):
    import cvxpy as cp

    penalty = make(0.4)
    if isinstance(penalty, penalties.Schatten) and len(shape) > 1:
        pytest.skip("no cone of cvxpy holds powers of singular values")
    for v in _points(rng, shape)[:2]:
        u = cp.Variable(shape)
        term, constraints = reference.cvxpy_terms(penalty, u)
        cost = cp.sum_squares(u - v) / 2 + 1.3 * term
        cp.Problem(cp.Minimize(cost), constraints).solve(
            cp.CLARABEL, tol_gap_abs=1e-9, tol_gap_rel=1e-9, tol_feas=1e-9
        )
        np.testing.assert_allclose(compiled(penalty.prox, v, 1.3), u.value, atol=1e-5)


@every_case
def test_prox_is_optimal_and_certified(make, shape, rng):
    """The subdifferential holds (v − u)/step, and Fenchel's equality holds there."""

    @eqx.filter_jit
    def check(penalty, v, step):
        u = penalty.prox(v, step)
        c = (v - u) / step
        gap = penalty.fenchel_gap(u, c * penalty.dual_scale(c))
        return penalty.subdiff_distance(u, -c), penalty.dual_scale(c), gap

    for strength, step in ((0.4, 1.3), (1.5, 0.7), (0.05, 1.0)):
        penalty = make(strength)
        for v in _points(rng, shape):
            distance, scale, gap = check(penalty, v, jnp.asarray(step))
            assert distance.shape == shape
            np.testing.assert_allclose(distance, 0, atol=1e-10)
            np.testing.assert_allclose(gap, 0, atol=1e-10)
            np.testing.assert_allclose(scale, 1, atol=1e-9)


@every_case
def test_subdifferential_is_not_larger_than_it_is(make, shape, rng):
    """Away from the optimum the distance is positive."""
    penalty = make(0.4)
    for v in _points(rng, shape)[:2]:
        u = np.asarray(compiled(penalty.prox, v, 1.0))
        for _ in range(3):
            other = v - u + rng.normal(size=shape)
            gap = reference.value(penalty, u) - np.sum(u * other)
            gap += reference.conjugate(penalty, other)
            assert (np.max(compiled(penalty.subdiff_distance, u, -other)) > 1e-9) == (gap > 1e-9)


@every_case
def test_prox_derivatives(make, shape, rng):
    """Forward and reverse, in v, the step and the parameters."""
    v, change, weight = (rng.normal(size=shape) for _ in range(3))
    h = 1e-6

    def prox(v, step, strength):
        return make(strength).prox(v, step)

    point = (jnp.asarray(v), jnp.asarray(0.6), jnp.asarray(0.4))
    tangent = (jnp.asarray(change), jnp.asarray(0.7), jnp.asarray(-0.2))
    _, derivative = jax.jit(lambda a, b: jax.jvp(prox, a, b))(point, tangent)
    up, down = ([x + sign * h * t for x, t in zip(point, tangent, strict=True)] for sign in (1, -1))
    up, down = (
        np.asarray(compiled(make(strength).prox, v, step)) for v, step, strength in (up, down)
    )
    np.testing.assert_allclose(derivative, (up - down) / (2 * h), atol=1e-6)
    pulled = jax.jit(lambda a, w: jax.vjp(prox, *a)[1](w))(point, jnp.asarray(weight))
    paired = sum(np.sum(a * b) for a, b in zip(pulled, tangent, strict=True))
    np.testing.assert_allclose(paired, np.sum(weight * derivative), rtol=1e-9)


@every_case
@pytest.mark.slow
def test_batches(make, shape, rng):
    batch = rng.normal(size=(3, *shape))
    penalty = make(0.7)
    together = compiled(jax.vmap(lambda v: penalty.prox(v, 0.5)), batch)
    alone = [compiled(penalty.prox, v, 0.5) for v in batch]
    np.testing.assert_allclose(together, alone, rtol=1e-12, atol=1e-15)


@every_case
@pytest.mark.slow
def test_float32(make, shape, rng):
    @eqx.filter_jit
    def compute(penalty, v):
        u = penalty.prox(v, 0.5)
        distance = penalty.subdiff_distance(u, (u - v) / 0.5)
        return distance, u, penalty.value(u), penalty.fenchel_gap(u, v), penalty.dual_scale(v)

    with jax.enable_x64(False):
        results = compute(make(0.7), jnp.asarray(rng.normal(size=shape), jnp.float32))
        assert {x.dtype for x in results} == {jnp.dtype("float32")}
        np.testing.assert_allclose(results[0], 0, atol=1e-5)


@pytest.mark.parametrize("name", NORMS)
def test_dual_norm(name, rng):
    """⟨w, c⟩ ≤ g(w) for scaled c, with equality where the prox of a long step leaves off."""
    make, shape = CASES[name]
    penalty = make(1.0)
    basis = penalty.null_space(P)
    for c in rng.normal(size=(3, *shape)):
        if basis is not None:
            c = c - np.asarray(basis @ (basis.T @ c))
        feasible = c * float(compiled(penalty.dual_scale, c))
        for w in rng.normal(size=(20, *shape)):
            w = np.asarray(compiled(penalty.prox, w, 1e-3))  # zero where the weight is infinite
            value = float(compiled(penalty.value, w))
            assert np.sum(w * feasible) <= value * (1 + 1e-12) + 1e-12
    if isinstance(penalty, penalties.SLOPE) or "weights" in name:
        return
    strength = float(compiled(penalty.strength_max, c))
    below = make(0.999 * strength)
    w = np.asarray(compiled(below.prox, c, 1.0))
    w = w if basis is None else w - w.mean()
    np.testing.assert_allclose(np.sum(w * c), compiled(make(strength).value, w), rtol=1e-2)
    assert np.any(w != 0)


def test_repeated_and_vanishing_singular_values():
    """The prox is differentiable there, unless one equals the threshold."""
    penalty = penalties.Nuclear(0.5)
    for v in (np.eye(4)[:, :3], np.zeros((4, 3)), np.diag([2.0, 2.0, 0.0])):
        jacobian = np.asarray(compiled(jax.jacfwd(lambda v: penalty.prox(v, 1.0)), v))
        h = 1e-6
        for i, j in np.ndindex(v.shape):
            e = np.zeros(v.shape)
            e[i, j] = h
            up, down = (np.asarray(compiled(penalty.prox, v + sign * e, 1.0)) for sign in (1, -1))
            np.testing.assert_allclose(jacobian[..., i, j], (up - down) / (2 * h), atol=1e-6)


@pytest.mark.parametrize("name", ["nuclear", "schatten", "row-l2"])
def test_gap_at_a_scale(name, rng):
    """Singular values are computed once for all scales: the gap is that of the scaled force."""
    penalty, (w, c) = MATRIX[name](0.4), rng.normal(size=(2, P, TASKS))
    for scale in (1.0, 0.3, 0.3 * float(penalty.dual_scale(c))):
        expected = penalty.fenchel_gap(w, scale * c)
        np.testing.assert_allclose(penalty.scaled_gap(w, c, scale), expected, rtol=1e-12)


def test_gap_of_the_nuclear_norm_is_that_of_its_definition(rng):
    """λ‖W‖* − ⟨W, C⟩ where the largest singular value of C is at most λ; else there is none."""
    W, C = rng.normal(size=(2, P, TASKS))
    C /= np.linalg.norm(C, 2)
    gap = lambda W, C: float(compiled(penalties.Nuclear(0.4).fenchel_gap, W, C))  # noqa: E731
    expected = 0.4 * np.linalg.norm(W, "nuc") - np.sum(W * 0.4 * C)
    np.testing.assert_allclose(gap(W, 0.4 * C), expected, rtol=1e-12)
    assert gap(0 * W, 0.4 * C) == 0
    for coef in (W, 0 * W):
        assert gap(coef, 0.4 * (1 + 1e-9) * C) == np.inf


def test_schatten_between_the_nuclear_norm_and_a_ridge(rng):
    """Also the derivatives of the prox, in everything but q, whose ends these are."""
    change, (d_strength, d_step) = rng.normal(size=(P, TASKS)), (0.2, -0.1)

    def everything(make):
        def prox(v, strength, step):
            return make(strength).prox(v, step)

        def compute(v):
            penalty = make(0.4)
            u, moved = jax.jvp(prox, (v, 0.4, 1.3), (change, d_strength, d_step))
            c = (v - u) / 1.3 * (1 - 1e-13)
            gaps = penalty.fenchel_gap(u, c), penalty.fenchel_gap(u / 2, c / 3)
            return u, moved, penalty.value(u), *gaps, penalty.subdiff_distance(u, c)

        return jax.jit(compute)

    def ridge(v):
        shrink = 1 + 2 * 1.3 * 0.4
        u, d_shrink = v / shrink, 2 * (d_step * 0.4 + 1.3 * d_strength)
        c = 2 * 0.4 * u
        gap = np.sum((2 * 0.4 * u / 2 - c / 3) ** 2) / (4 * 0.4)
        moved = change / shrink - u * d_shrink / shrink
        return u, moved, 0.4 * np.sum(u**2), 0.0, gap, np.abs(2 * c)

    pairs = [
        (everything(lambda s: penalties.Schatten(s, 1.0)), everything(penalties.Nuclear)),
        (everything(lambda s: penalties.Schatten(s, 2.0)), ridge),
    ]
    for mine, other in pairs:
        for v in (*_points(rng, (P, TASKS)), np.eye(P)[:, :TASKS]):
            for first, second in zip(mine(v), other(v), strict=True):
                np.testing.assert_allclose(first, second, rtol=1e-12, atol=1e-12)


def test_schatten_shrinks_each_singular_value_to_rounding():
    """x + step·strength·q·x^(q−1) = σ in extended precision, relative to σ and to x."""
    shrink = jax.jit(lambda sizes, step, q: penalties.Schatten(1.0, q).sizes_prox(sizes, step))
    for q in (1.001, 1.1, 1.5, 1.99, 2.0):
        for step in (1e-8, 1e-3, 0.7, 30.0, 1e8):
            sizes = np.array([0, 1e-8, 1e-3, 0.999 * step, 1.001 * step, 3.0, 1e3, 1e8])
            x = np.asarray(shrink(sizes, step, q))
            assert x[0] == 0
            assert np.all((x >= 0) & (x <= sizes))
            x, power = x.astype(np.longdouble), np.longdouble(q) - 1
            some = x > 1e-290  # the others are below the smallest number, or nearly
            x, sizes = x[some], sizes[some]
            residual = x + np.longdouble(step) * q * x**power - sizes
            slope = 1 + np.longdouble(step) * q * power * x ** (power - 1)
            error = np.minimum(np.abs(residual) / sizes, np.abs(residual / slope) / x)
            assert np.max(error) < 1e-14


def test_schatten_gap_keeps_its_digits():
    """(σ − x)²φ″/2 near the optimum, far below the rounding of the terms."""
    penalty, x = penalties.Schatten(0.7, 1.5), 4.0
    w = jnp.array([x * (1 + 1e-7), 0.0])
    c = jnp.array([0.7 * 1.5 * x**0.5, 0.0])
    expected = 0.7 * 1.5 * 0.5 * x**-0.5 * (x * 1e-7) ** 2 / 2
    sizes_gap = penalty.sizes_gap(w, c, 1.0)
    np.testing.assert_allclose(sizes_gap, [expected, 0.0], rtol=1e-5)
    np.testing.assert_allclose(penalty.strength_max(c), np.inf)
    assert not bool(jax.jit(lambda q: penalties.Schatten(0.7, q).is_valid())(0.5))


def test_equal_strengths_do_not_average_ties(rng):
    """SLOPE with one strength is the Lasso, also in its derivative at equal magnitudes."""
    v, change = np.array([2.0, -2.0, 2.0, 0.1]), rng.normal(size=4)
    pairs = [
        compiled(lambda v, dv, p=penalty: jax.jvp(lambda v: p.prox(v, 1.0), (v,), (dv,)), v, change)
        for penalty in (penalties.SLOPE([0.5] * 4), penalties.L1(0.5))
    ]
    np.testing.assert_allclose(pairs[0], pairs[1], rtol=1e-12)


@pytest.mark.parametrize("k", [1, P])
def test_k_support_between_the_lasso_and_one_group(k, rng):
    """k = 1 is the ℓ1 norm, k = p the ℓ2 norm."""
    ours = penalties.KSupport(0.4, k)
    peer = penalties.L1(0.4) if k == 1 else penalties.GroupL2(0.4, np.zeros(P, int), [1.0])
    for v in _points(rng, (P,)):
        c = rng.normal(size=P)
        u = ours.prox(v, 1.3)
        np.testing.assert_allclose(u, peer.prox(v, 1.3), atol=1e-14)
        np.testing.assert_allclose(ours.value(v), peer.value(v), rtol=1e-14)
        np.testing.assert_allclose(ours.strength_max(c), peer.strength_max(c), rtol=1e-14)
        np.testing.assert_allclose(ours.dual_scale(c), peer.dual_scale(c), rtol=1e-14)
        # GroupL2 gives every coefficient the distance of its group.
        distances = [penalty.subdiff_distance(u, c) for penalty in (ours, peer)]
        norms = distances if k == 1 else [np.linalg.norm(distances[0]), distances[1][0]]
        np.testing.assert_allclose(*norms, rtol=1e-12)


def test_k_support_of_extreme_vectors(rng):
    """To rounding of the largest entry, whatever the scales, and at the edges of the dual ball."""
    for v in (
        np.array([1e8, -1e8, 1.0, 1e-8, 0.0, 0.0]),
        np.array([1e-8, 1e-8, 1e-8, -1e-8, 0.0, 1e-8]),
        np.array([7.0, -7.0, 7.0, 7.0, 2.0, 0.0]),
    ):
        for step in (1e-8, 1.0, 7.0, float(np.sqrt(98)), 1e8):
            for k in (1, 2, 4):
                penalty = penalties.KSupport(1.0, k)
                u = np.asarray(compiled(penalty.prox, v, step))
                distance = compiled(penalty.subdiff_distance, u, (u - v) / step)
                np.testing.assert_allclose(distance, 0, atol=1e-14 * (1 + np.max(np.abs(v)) / step))
                assert np.all(u * v >= 0)


def test_total_variation_knows_its_null_space(rng):
    penalty = penalties.TotalVariation(0.5)
    basis = np.asarray(penalty.null_space(7))
    np.testing.assert_allclose(basis.T @ basis, np.eye(1), rtol=1e-12)
    np.testing.assert_allclose(penalty.value(basis[:, 0]), 0, atol=1e-15)
    c = rng.normal(size=7)
    assert float(penalty.dual_scale(c)) == 0
    assert np.isinf(penalty.fenchel_gap(np.ones(7), c))
    largest = penalty.strength_max(c)
    u = penalties.TotalVariation(largest * (1 + 1e-12)).prox(c, 1.0)
    np.testing.assert_allclose(u, np.full(7, c.mean()), rtol=1e-12)
    u = penalties.TotalVariation(0.99 * largest).prox(c, 1.0)
    assert np.ptp(u) > 0
    assert penalties.L1(1.0).null_space(7) is None


def test_a_long_chain(rng):
    """Thousands of coefficients: exact, and no worse than the sums that check it."""
    p = 3000
    v = np.cumsum(rng.normal(size=p))
    for penalty in (penalties.TotalVariation(3.0), penalties.FusedLasso(3.0, 0.2)):
        u = compiled(penalty.prox, v, 1.0)
        assert 10 < np.count_nonzero(np.diff(u)) < p / 2
        np.testing.assert_allclose(compiled(penalty.subdiff_distance, u, u - v), 0, atol=1e-9)
    strengths = np.linspace(2, 0, p)
    slope = penalties.SLOPE(strengths)
    u = compiled(slope.prox, v / 10, 1.0)
    np.testing.assert_allclose(compiled(slope.subdiff_distance, u, u - v / 10), 0, atol=1e-9)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: penalties.SLOPE([1.0, 2.0]), "`strengths` must not increase"),
        (lambda: penalties.SLOPE([1.0, -2.0]), "`strengths` must be nonnegative"),
        (lambda: penalties.SLOPE([1.0]).check(2), "`strengths` must have shape"),
        (lambda: penalties.GroupLinf(1.0, [0, 2]), "`groups` must use every label"),
        (lambda: penalties.GroupLinf(1.0, [0.0, 1.0]), "`groups` must be a vector of integer"),
        (lambda: penalties.GroupLinf(1.0, [0, 1]).check(3), "`groups` must have shape"),
        (lambda: penalties.GroupLinf(1.0, [0, 1], [1.0]), "`weights` must have shape"),
        (lambda: jax.jit(lambda g: penalties.GroupLinf(1.0, g))(jnp.arange(2)), "concrete"),
        (lambda: penalties.RowL2(-1.0), "`strength` must be nonnegative"),
        (lambda: penalties.RowL2(1.0, [1.0]).check(2), "`weights` must have shape"),
        (lambda: penalties.TotalVariation([1.0]), "`strength` must be a scalar"),
        (lambda: penalties.FusedLasso(1.0, 2.0), "`l1_ratio` must lie in"),
        (lambda: penalties.Nuclear(np.nan), "`strength` must be nonnegative"),
        (lambda: penalties.KSupport(-1.0, 1), "`strength` must be nonnegative"),
        (lambda: penalties.KSupport(1.0, 0), "`k` must be an integer"),
        (lambda: penalties.KSupport(1.0, 1.5), "`k` must be an integer"),
        (lambda: penalties.KSupport(1.0, 3).check(2), "`k` must be at most 2"),
        (lambda: penalties.Schatten(-1.0, 1.5), "`strength` must be nonnegative"),
        (lambda: penalties.Schatten(1.0, 0.5), r"`q` must lie in \[1, 2\]"),
        (lambda: penalties.Schatten(1.0, np.nan), "`q` must lie in"),
        (lambda: penalties.Simplex(np.inf), "`radius` must be finite"),
        (lambda: penalties.Linf(-1.0), "`strength` must be nonnegative"),
    ],
)
def test_errors_name_the_argument(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_groups_survive_being_rebuilt():
    penalty = sj.penalties.GroupLinf(0.5, [0, 1, 0])
    rebuilt = jax.jit(lambda penalty: penalty)(penalty)
    rebuilt = jax.tree.map(lambda leaf: leaf, rebuilt).with_strength(jnp.asarray(1.0))
    assert rebuilt.num_groups == 2
    np.testing.assert_allclose(rebuilt.prox(np.array([3.0, 0.5, -2.5]), 1.0), [2.25, 0.0, -2.25])
