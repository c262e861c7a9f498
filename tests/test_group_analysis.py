"""Groups of differences and overlapping groups: against Clarabel, brute force and equivalences."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pairs
import pytest
import reference

import sparsejax as sj
from sparsejax import losses, penalties

pytestmark = pytest.mark.usefixtures("float64")

SHAPE = (5, 6)
P = 30
GROUPS = [[0, 1, 2, 3], [2, 3, 4], [4, 9, 0], [11, 12, 13, 14], [14], [20, 25]]


def _image(seed=0):
    """A square on a step, with noise."""
    rng, image = np.random.default_rng(seed), np.zeros(SHAPE)
    image[1:4, 1:3], image[:, 4:] = 1.0, image[:, 4:] + 0.5
    return (image + 0.2 * rng.normal(size=SHAPE)).ravel()


def _design(seed=0):
    return np.random.default_rng(seed).normal(size=(P, P)) / np.sqrt(P)


def _isotropic(strength):
    D, groups = penalties.difference_operator(SHAPE), penalties.difference_groups(SHAPE)
    return penalties.Analysis(strength, D, groups)


def _overlapping(strength, weights=None):
    return penalties.OverlappingGroups(strength, GROUPS, weights, P)


MAKERS = {"isotropic": _isotropic, "overlapping": _overlapping}
every_kind = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


@pytest.mark.parametrize(
    "make", [_isotropic, pytest.param(_overlapping, marks=pytest.mark.slow)], ids=MAKERS
)
def test_reaches_the_optimum(make):
    """Denoising, a design, and one with fewer samples than features (the others weigh nothing)."""
    pytest.importorskip("cvxpy")
    y = _image()
    few = (np.arange(P) < 20) * 1.0
    for X, weights, strength in (
        (np.eye(P), np.ones(P), 0.003),
        (np.eye(P), np.ones(P), 0.01),
        (_design(), np.ones(P), 0.01),
        (_design(), few, 0.003),
    ):
        problem = sj.Problem(X, y, losses.Squared(weights), make(strength))
        solution = sj.solve(problem, tol=1e-9)
        best = reference.optimum_of(X, problem)
        value = reference.value(problem.penalty, np.asarray(solution.coef))
        value += reference.loss_value(problem.loss, X @ solution.coef, y)
        unit = reference.loss_value(problem.loss, np.zeros(P), y)
        np.testing.assert_allclose(solution.objective, value, rtol=1e-12)
        np.testing.assert_allclose(value, best, atol=1e-7 * unit)
        assert 0 <= solution.gap <= 1e-9
        assert solution.kkt < 1e-3
        for steps in (0, 40, 80):  # however early: no certificate promises too much
            early = sj.solve(problem, tol=1e-9, max_steps=steps, throw=False)
            assert early.gap * unit >= float(early.objective) - best - 1e-8 * unit
            assert early.gap > 1e-9 or steps == 80


def test_denoising_is_a_proximal_operator():
    """FISTA on the dual: the default where X is the identity, offsets and starts included."""
    y, offset = _image(), np.linspace(0, 0.2, P)
    for strength in (0.003, 0.01, 1.0):
        penalty = _isotropic(strength)
        problem = sj.Problem(sj.designs.Identity(P), y + offset, penalty=penalty, offset=offset)
        assert isinstance(sj.solvers.Auto().choose(problem), sj.solvers.FISTA)
        solution = sj.solve(problem, tol=1e-12)
        np.testing.assert_allclose(solution.coef, penalty.prox(jnp.asarray(y), P), atol=1e-5)
        peer = sj.solve(sj.Problem(np.eye(P), y, losses.Squared(np.ones(P)), penalty), tol=1e-9)
        np.testing.assert_allclose(solution.objective, peer.objective, rtol=1e-8)
        assert solution.kkt < 1e-3
        early = sj.solve(problem, tol=1e-12, max_steps=10, throw=False)
        assert early.result == sj.RESULTS.max_steps_reached
        unit = np.sum(y**2) / (2 * P)
        assert early.gap * unit >= early.objective - solution.objective
    dense = sj.Problem(np.eye(P), y, penalty=penalty)
    weighted = sj.Problem(problem.X, y, losses.Squared(np.ones(P)), penalty)
    for refused in (dense, weighted):
        with pytest.raises(TypeError, match="denoising"):
            sj.solve(refused, sj.solvers.FISTA())


def test_a_flat_solution():
    """All pixels equal: the jumps that rounding leaves are no violation."""
    y = _image()
    solution = sj.solve(sj.Problem(np.eye(P), y, losses.Squared(np.ones(P)), _isotropic(1.0)))
    np.testing.assert_allclose(solution.coef, y.mean(), rtol=1e-7)
    assert solution.kkt < 1e-3


@pytest.mark.parametrize(
    ("loss", "intercept"),
    [
        (losses.SquaredHinge, False),
        (lambda w: losses.Huber(0.5, w), True),
        pytest.param(lambda w: losses.Huber(0.5, w), False, marks=pytest.mark.slow),
        pytest.param(losses.SquaredHinge, True, marks=pytest.mark.slow),
    ],
    ids=["squared-hinge", "huber-intercept", "huber", "squared-hinge-intercept"],
)
def test_losses_with_straight_pieces(loss, intercept):
    """Many samples have a dual at the end of its domain, which no correction may leave."""
    pytest.importorskip("cvxpy")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2 * P, P))
    y = np.where(X @ np.repeat([0.0, 1.0, -1.0], 10) + rng.normal(size=2 * P) > 0, 1.0, -1.0)
    problem = sj.Problem(X, y, loss(rng.uniform(0.5, 2.0, 2 * P)), _isotropic(0.02), intercept)
    solution = sj.solve(problem, tol=1e-8)
    best = reference.optimum_of(X, problem)
    np.testing.assert_allclose(solution.objective, best, atol=1e-7 * float(best))
    early = sj.solve(problem, tol=1e-8, max_steps=20, throw=False)
    assert early.gap >= float(early.objective) - best - 1e-8


@pytest.mark.parametrize("strength", [0.03, pytest.param(0.3, marks=pytest.mark.slow)])
def test_large_counts(strength):
    """From zero no correction of the dual succeeds: what it leaves is no place to begin."""
    pytest.importorskip("cvxpy")
    rng = np.random.default_rng(0)
    X, w = rng.normal(size=(25, 12)), np.zeros(12)
    w[[0, 3, 5, 8, 11]] = rng.normal(size=5)
    y = rng.poisson(np.exp(X @ w / 2)).astype(float)
    weights, offset = rng.uniform(0.5, 2.0, 25), 0.3 * rng.normal(size=25)
    penalty = penalties.Analysis(strength, penalties.difference_operator((3, 4)))
    problem = sj.Problem(X, y, losses.Poisson(weights), penalty, offset=offset)
    solution = sj.solve(problem, tol=1e-8)
    best = reference.optimum_of(X, problem)
    np.testing.assert_allclose(solution.objective, best, atol=1e-7 * abs(float(best)))


def test_where_too_little_of_the_dual_may_move():
    """Corrections from zero end anywhere, at forces of 1e16: they are no place to begin."""
    pytest.importorskip("cvxpy")
    for seed in (0, 3):
        data = pairs.data("huber", seed)
        problem = pairs.problem("huber", "analysis", False, data, 0.1992)
        solution = sj.solve(problem, sj.solvers.PrimalDual(), tol=1e-8, max_steps=4000)
        best = reference.optimum_of(data[0], problem)
        np.testing.assert_allclose(solution.objective, best, rtol=1e-7)


@every_kind
def test_prox_against_an_interior_point_method(make):
    import cvxpy as cp

    v, penalty = _image(1), make(0.2)
    u = cp.Variable(P)
    term, _ = reference.cvxpy_terms(penalty, u)
    cp.Problem(cp.Minimize(cp.sum_squares(u - v) / 2 + 0.5 * term)).solve(
        cp.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10
    )
    np.testing.assert_allclose(penalty.prox(jnp.asarray(v), 0.5), u.value, atol=1e-5)
    np.testing.assert_allclose(penalty.value(v), reference.value(penalty, v), rtol=1e-12)


@every_kind
def test_forces(make):
    """Projection on balls by brute force over directions, and the certificate's parts."""
    penalty, rng = make(0.7), np.random.default_rng(0)
    labels = np.asarray(penalty.groups)
    forces, direction = rng.normal(size=(2, labels.size))
    nearest = np.asarray(penalty.nearest_force(forces))
    for g in range(labels.max() + 1):
        block, inside = forces[labels == g], nearest[labels == g]
        assert np.linalg.norm(inside) <= 0.7 * (1 + 1e-15)
        others = rng.normal(size=(200, block.size))
        others *= 0.7 * rng.random((200, 1)) / np.linalg.norm(others, axis=1, keepdims=True)
        # No point of the ball lies on the far side of the projection.
        assert np.all((others - inside) @ (block - inside) <= 1e-12)
    scale = float(penalty.force_scale(forces))
    w = rng.normal(size=P)
    gap = reference.value(penalty, w) - scale * forces @ np.asarray(penalty.operator.matvec(w))
    np.testing.assert_allclose(penalty.force_gap(w, scale * forces), gap, rtol=1e-12)
    assert np.isinf(penalty.force_gap(w, 1.001 * scale * forces))
    # A step across does not lengthen a force at its limit but in second order; one along is none.
    room = np.asarray(penalty.force_room(nearest, direction))
    longer = penalty.force_scale(nearest + 1e-6 * room)
    np.testing.assert_allclose(longer, 1, atol=1e-10)
    assert np.vdot(room, direction) > 0
    outward = np.where(np.abs(forces - nearest) > 0, nearest, 0.0)
    np.testing.assert_allclose(penalty.force_room(nearest, outward), 0, atol=1e-15)


def test_groups_of_one_are_no_groups():
    D = penalties.difference_operator(SHAPE)
    rows, rng = D.shape[0], np.random.default_rng(0)
    alone, labelled = (penalties.Analysis(0.5, D, groups) for groups in (None, np.arange(rows)))
    w, forces = rng.normal(size=P), rng.normal(size=rows)
    np.testing.assert_allclose(alone.value(w), labelled.value(w), rtol=1e-14)
    np.testing.assert_allclose(alone.nearest_force(forces), labelled.nearest_force(forces))
    inside = alone.nearest_force(forces)
    for method in ("force_gap", "force_distance"):
        pair = [getattr(penalty, method)(w, inside) for penalty in (alone, labelled)]
        np.testing.assert_allclose(*pair, rtol=1e-12)
    pair = [penalty.force_room(inside, forces) for penalty in (alone, labelled)]
    np.testing.assert_allclose(*pair, atol=1e-15)


def test_disjoint_groups_are_the_group_lasso():
    labels, rng = np.arange(P) % 7, np.random.default_rng(0)
    groups = [np.flatnonzero(labels == g) for g in range(7)]
    w = rng.normal(size=P)
    for weights in (None, np.linspace(0.0, 2.0, 7)):
        ours = penalties.OverlappingGroups(0.4, groups, weights)
        theirs = penalties.GroupL2(0.4, labels, weights)
        np.testing.assert_allclose(ours.value(w), theirs.value(w), rtol=1e-13)
        np.testing.assert_allclose(ours.prox(w, 1.3), theirs.prox(w, 1.3), atol=1e-5)


def test_traced_weights_that_are_negative_are_invalid():
    is_valid = jax.jit(lambda weights: _overlapping(1.0, weights).is_valid())
    assert is_valid(jnp.ones(len(GROUPS)))
    for bad in (-1.0, jnp.nan, jnp.inf):
        assert not is_valid(jnp.ones(len(GROUPS)).at[2].set(bad))


@pytest.mark.parametrize("shape", [(3, 4), (5,), (2, 3, 2)])
def test_groups_of_differences_are_those_of_a_cell(shape):
    D, groups = penalties.difference_operator(shape), penalties.difference_groups(shape)
    image = np.random.default_rng(0).normal(size=shape)
    expected = 0.0
    for cell in itertools.product(*map(range, shape)):
        ahead = [cell[:a] + (cell[a] + 1,) + cell[a + 1 :] for a in range(len(shape))]
        inside = [c for c, a in zip(ahead, range(len(shape)), strict=True) if c[a] < shape[a]]
        expected += np.sqrt(sum((image[c] - image[cell]) ** 2 for c in inside))
    penalty = penalties.Analysis(1.0, D, groups)
    np.testing.assert_allclose(penalty.value(image.ravel()), expected, rtol=1e-13)


@pytest.mark.slow
def test_derivatives_in_strength_and_targets():
    """Flat regions of a grid have loops, along which the dual is not unique: no obstacle."""
    X, y, rng = _design(4), _image(4), np.random.default_rng(0)
    direction, ones = rng.normal(size=(2, P))

    def summary(strength, y):
        problem = sj.Problem(X, y, losses.Squared(np.ones(P)), _isotropic(strength))
        return ones @ sj.solve(problem, tol=1e-14, max_steps=20_000, throw=False).coef

    slopes = jax.jit(jax.value_and_grad(summary, (0, 1)))
    _, (slope, slope_y) = slopes(0.01, y)
    h = 1e-6
    ends = [slopes(0.01 + sign * h, y)[0] for sign in (1, -1)]
    np.testing.assert_allclose(slope, (ends[0] - ends[1]) / (2 * h), rtol=1e-5)
    ends = [slopes(0.01, y + sign * h * direction)[0] for sign in (1, -1)]
    np.testing.assert_allclose(slope_y @ direction, (ends[0] - ends[1]) / (2 * h), rtol=1e-5)


def _curved_case(name):
    X, z = 3 * _design(5), 3 * _design(5) @ _image(5)
    rng = np.random.default_rng(0)
    if name == "logistic":
        return X, np.where(z + rng.normal(size=P) > 0, 1.0, -1.0), losses.Logistic
    if name == "poisson":
        return X, rng.poisson(np.exp(z / 2)).astype(float), losses.Poisson
    return X, rng.gamma(2.0, np.exp(z / 2) / 2), losses.Gamma


@pytest.mark.slow
@pytest.mark.parametrize("name", ["logistic", "poisson", "gamma"])
def test_losses_whose_prox_is_a_root(name):
    """The optimum and its certificate, weights and an offset; then derivatives of the solution."""
    pytest.importorskip("cvxpy")
    X, y, make_loss = _curved_case(name)
    rng = np.random.default_rng(1)
    weights, offset = rng.uniform(0.5, 2.0, P), 0.3 * rng.normal(size=P)
    direction, ones = rng.normal(size=(2, P))

    def problem_at(strength, X):
        return sj.Problem(X, y, make_loss(weights), _isotropic(strength), offset=offset)

    def summary(strength, X, tol):
        solution = sj.solve(problem_at(strength, X), tol=tol, max_steps=20_000, throw=False)
        return ones @ solution.coef, solution

    slopes = jax.jit(jax.value_and_grad(summary, (0, 1), has_aux=True))
    for strength in (0.02, 0.1):
        problem = problem_at(strength, X)
        best = reference.optimum_of(X, problem)
        (_, solution), _ = slopes(strength, X, 1e-9)
        predictions = X @ solution.coef + offset
        value = reference.value(problem.penalty, np.asarray(solution.coef))
        value += reference.loss_value(problem.loss, predictions, np.asarray(problem.y))
        np.testing.assert_allclose(solution.objective, value, rtol=1e-10)
        np.testing.assert_allclose(value, best, atol=1e-7)
        assert 0 <= solution.gap <= 1e-9
    (_, solution), (slope, slope_X) = slopes(0.02, X, 1e-14)
    assert solution.kkt < 1e-6
    h = 1e-6
    ends = [slopes(0.02 + sign * h, X, 1e-14)[0][0] for sign in (1, -1)]
    np.testing.assert_allclose(slope, (ends[0] - ends[1]) / (2 * h), rtol=1e-5)
    move = np.outer(direction, ones)
    ends = [slopes(0.02, X + sign * h * move, 1e-14)[0][0] for sign in (1, -1)]
    np.testing.assert_allclose(np.sum(slope_X * move), (ends[0] - ends[1]) / (2 * h), rtol=1e-5)


def test_float32():
    with jax.enable_x64(False):
        penalty, v = _isotropic(0.2), jnp.asarray(_image(1), jnp.float32)
        u = penalty.prox(v, 0.5)
        force = penalty.nearest_force(penalty.operator.matvec(v))
        results = u, penalty.value(v), force, penalty.force_gap(v, force)
        assert {x.dtype for x in results} == {jnp.dtype("float32")}
    np.testing.assert_allclose(u, _isotropic(0.2).prox(jnp.asarray(_image(1)), 0.5), atol=1e-2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: penalties.difference_groups((1,)), "`shape`"),
        (lambda: penalties.Analysis(1.0, np.eye(3), [0, 1]), "label for each of the 3 rows"),
        (lambda: penalties.Analysis(1.0, np.eye(3), [0, 2, 2]), "`groups` must use every label"),
        (lambda: penalties.OverlappingGroups(-1.0, [[0]]), "`strength`"),
        (lambda: penalties.OverlappingGroups(1.0, []), "`groups` must be vectors"),
        (lambda: penalties.OverlappingGroups(1.0, [[0], []]), "`groups` must be vectors"),
        (lambda: penalties.OverlappingGroups(1.0, [[0, 1], [2, 2]]), "`groups` must be vectors"),
        (lambda: penalties.OverlappingGroups(1.0, [[0.5]]), "`groups` must be vectors"),
        (lambda: penalties.OverlappingGroups(1.0, [[-1, 0]]), "`groups` must name features"),
        (lambda: penalties.OverlappingGroups(1.0, [[3]], None, 3), "`groups` must name features"),
        (lambda: penalties.OverlappingGroups(1.0, [[0]], [-1.0]), "`weights` must be nonneg"),
        (lambda: penalties.OverlappingGroups(1.0, [[0]], [np.inf]), "`weights` must be finite"),
        (lambda: penalties.OverlappingGroups(1.0, [[0]], [1.0, 2.0]), "`weights` must have shape"),
        (lambda: penalties.OverlappingGroups(1.0, [[0]]).check(2), "`num_features` must be 2"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
