"""Group penalties: the derivatives that solvers take, restriction to a few groups, and errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from registry import GROUPED, each

from sparsejax import penalties
from sparsejax.penalties._block_matrix import BlockMatrix, Coupling

pytestmark = pytest.mark.usefixtures("float64")

P = 10
STEP = 0.6
every_group = each("make", GROUPED)
# Zeros in either kind of group, ties, and points in general position.
POINTS = np.random.default_rng(0).normal(size=(3, P)) * [[2.0], [0.5], [8.0]]
POINTS[2, ::3] = 0.0


def _numeric(f, x, h=1e-6):
    """The Jacobian by central differences."""
    return np.stack([(f(x + e) - f(x - e)) / (2 * h) for e in h * np.eye(x.size)], axis=1)


@every_group
def test_square_of_the_prox_root_is_the_derivative_of_the_prox(make):
    penalty = make(0.7, P)
    per_coordinate = jnp.asarray([0.5, 1.5, 0.9])[penalty.groups]  # constant within a group
    for step in (STEP, per_coordinate):
        prox = jax.jit(lambda v, step=step: penalty.prox(v, step))
        for v in POINTS:
            root = np.asarray(penalty.prox_root(v, step).dense())
            np.testing.assert_allclose(root, root.T, atol=1e-14)
            jacobian = jax.jacfwd(prox)(v)
            numeric = _numeric(prox, v)
            smooth = v != 0  # at zero, |v| has two slopes
            pair = np.ix_(smooth, smooth)
            np.testing.assert_allclose((root @ root)[pair], jacobian[pair], atol=1e-12)
            np.testing.assert_allclose((root @ root)[pair], numeric[pair], atol=1e-8)


@every_group
def test_hessian_is_the_derivative_of_the_gradient_on_the_support(make):
    penalty = make(0.7, P)
    gradient = jax.jit(lambda w: penalty.local_gradient(w))
    for v in POINTS:
        w = np.asarray(penalty.prox(v, 0.3))
        support = np.asarray(penalty.support(w))
        pair = np.ix_(support, support)
        hessian = np.asarray(penalty.hessian(w).dense())
        np.testing.assert_allclose(hessian[pair], jax.jacfwd(gradient)(w)[pair], atol=1e-12)
        np.testing.assert_allclose(hessian[pair], _numeric(gradient, w, 1e-7)[pair], atol=1e-8)
        up, down = (
            np.array([reference.value(penalty, w + e) for e in sign * 1e-6 * np.eye(P)[support]])
            for sign in (1, -1)
        )
        np.testing.assert_allclose(gradient(w)[support], (up - down) / 2e-6, atol=1e-8)


@pytest.fixture(name="matrix")
def _matrix(rng):
    """A curvature that vanishes along a vector of each group, with zeros in some."""
    labels = np.array([0, 4, 0, 1, 1, 4, 0, 2])
    vector = rng.normal(size=8) * (np.arange(8) != 6)
    vector /= np.array([np.linalg.norm(vector[labels == label]) for label in labels])
    curvature = rng.uniform(0.5, 2.0, 5)[labels]
    coupling = Coupling(*map(jnp.asarray, (-0.7 * curvature, vector, labels)))
    return BlockMatrix(jnp.asarray(curvature), coupling)


@pytest.mark.parametrize("coupled", [True, False])
def test_block_matrix(matrix, coupled, rng):
    """Every method against dense linear algebra."""
    matrix = matrix if coupled else BlockMatrix(matrix.diagonal)
    dense, size = np.asarray(matrix.dense()), matrix.diagonal.size
    assert (np.count_nonzero(dense) > size) == coupled
    x, factor = rng.normal(size=size), rng.normal(size=(size, size))
    gram = factor @ factor.T
    np.testing.assert_allclose(matrix.matvec(x), dense @ x, rtol=1e-12)
    np.testing.assert_allclose(matrix.congruence(gram), dense @ gram @ dense, rtol=1e-10)
    scale = rng.uniform(0.5, 2.0, 5)[[0, 4, 0, 1, 1, 4, 0, 2]]
    np.testing.assert_allclose(matrix.over(scale).dense(), dense / scale[:, None], rtol=1e-12)
    inside = np.arange(size) < 6
    off = np.asarray(matrix.where(inside).dense()) - dense
    np.testing.assert_allclose(off, np.diag(np.where(inside, 0.0, -matrix.diagonal)), atol=1e-15)
    root = np.asarray(matrix.inverse_root(jnp.asarray(1.7)).dense())
    np.testing.assert_allclose(root @ root @ (np.eye(size) + 1.7 * dense), np.eye(size), atol=1e-12)
    kept, used = np.array([5, 3, 1, 0, 7, 7]), np.arange(6) < 5
    taken = np.where(used[:, None] & used, dense[np.ix_(kept, kept)], 0.0)
    part = matrix.take(jnp.asarray(kept), jnp.asarray(used))
    np.testing.assert_allclose(part.dense(), taken, atol=1e-15)
    np.testing.assert_allclose(part.matvec(x[:6]), taken @ x[:6], rtol=1e-12)


@every_group
def test_restrict_to_whole_groups(make):
    """Some of three groups, in any order, followed by padding."""
    penalty = make(0.7, P)
    groups = np.asarray(penalty.groups)
    for chosen in ([2, 1], [0]):
        index = np.flatnonzero(np.isin(groups, chosen))[::-1]
        padded = jnp.asarray(np.append(index, [P, P, P]))
        part = penalty.restrict(padded)
        labels, num_groups, largest = part.groups_of_coordinates
        assert num_groups == padded.size
        assert largest == penalty.largest
        assert np.max(labels) < num_groups
        for w in POINTS:
            alone = np.where(np.isin(groups, chosen), w, 0.0)
            inside = np.append(alone[index], np.zeros(3))
            np.testing.assert_allclose(part.value(inside), penalty.value(alone), rtol=1e-12)
            u, expected = part.prox(inside, STEP), penalty.prox(alone, STEP)
            np.testing.assert_allclose(u[:-3], expected[index], rtol=1e-12, atol=1e-15)
            np.testing.assert_array_equal(u[-3:], 0.0)
            pairs = [
                (part.support(u), penalty.support(expected)),
                (part.local_gradient(u), penalty.local_gradient(expected)),
                (part.subdiff_distance(u, inside), penalty.subdiff_distance(expected, alone)),
                (part.saturation(u, inside), penalty.saturation(expected, alone)),
                (part.is_free(), penalty.is_free()),
            ]
            for ours, whole in pairs:
                np.testing.assert_allclose(ours[:-3], whole[index], rtol=1e-12, atol=1e-15)
            roots = part.prox_root(inside, STEP).dense(), penalty.prox_root(alone, STEP).dense()
            pair = np.ix_(index, index)
            np.testing.assert_allclose(roots[0][:-3, :-3], roots[1][pair], atol=1e-14)


@every_group
def test_gauges_end_at_the_boundary_of_the_dual_domain(make):
    penalty = make(0.7, P)
    for c in POINTS:
        gauges = np.asarray(penalty.gauges(c))
        for g, gauge in enumerate(gauges):
            alone = np.where(penalty.groups == g, c, 0.0)
            if np.isinf(gauge):
                assert np.isinf(reference.conjugate(penalty, 1e-9 * alone))
            elif gauge == 0:
                assert reference.conjugate(penalty, 1e9 * alone) == 0
            else:
                assert reference.conjugate(penalty, (1 - 1e-9) / gauge * alone) == 0
                assert np.isinf(reference.conjugate(penalty, (1 + 1e-9) / gauge * alone))


@every_group
def test_saturation_tells_which_groups_must_move(make):
    penalty = make(0.7, P)
    zero = np.zeros(P)
    still = ~np.asarray(penalty.support(zero))
    for c in POINTS:
        violated = np.asarray(penalty.subdiff_distance(zero, -c)) > 0
        saturation = np.asarray(penalty.saturation(zero, c))
        np.testing.assert_array_equal((saturation > 1)[still], violated[still])


@every_group
def test_strength_max_has_a_derivative(make):
    """In reverse mode too, through the root that it is."""
    free = reference.free(make(1.0, P), P)
    c = jnp.asarray(np.where(free, 0.0, POINTS[0]))

    def largest(c):
        return make(1.0, P).strength_max(c)

    numeric = _numeric(lambda c: np.atleast_1d(largest(c)), c)[0]
    np.testing.assert_allclose(jax.grad(largest)(c)[~free], numeric[~free], atol=1e-8)


def test_the_ends_of_the_sparse_group_lasso(rng):
    groups = [0, 2, 0, 1, 2]
    ends = {
        0.0: penalties.GroupL2(0.7, groups),
        1.0: penalties.L1(0.7),
    }
    w, c = rng.normal(size=5), rng.normal(size=5)
    for ratio, other in ends.items():
        penalty = penalties.SparseGroup(0.7, groups, ratio)
        np.testing.assert_allclose(penalty.value(w), other.value(w), rtol=1e-12)
        np.testing.assert_allclose(penalty.prox(w, 0.8), other.prox(w, 0.8), rtol=1e-12)
        np.testing.assert_allclose(penalty.dual_scale(c), other.dual_scale(c), rtol=1e-12)
        np.testing.assert_allclose(penalty.strength_max(c), other.strength_max(c), rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: penalties.GroupL2(-1.0, [0, 1]), "`strength` must be nonnegative"),
        (lambda: penalties.GroupL2([1.0, 1.0], [0, 1]), "`strength` must be a scalar"),
        (lambda: penalties.GroupL2(1.0, [0, 2]), "`groups` must use every label"),
        (lambda: penalties.GroupL2(1.0, [[0], [1]]), "`groups` must be a vector"),
        (lambda: penalties.GroupL2(1.0, [0, 1], [1.0]), "`weights` must have shape"),
        (lambda: penalties.GroupL2(1.0, [0, 1], [1.0, -1.0]), "`weights` must be nonnegative"),
        (lambda: penalties.GroupL2(1.0, [0, 1], [1.0, np.nan]), "`weights`"),
        (lambda: penalties.GroupL2(1.0, [0, 1]).check(3), "`groups` must have shape"),
        (lambda: jax.jit(lambda g: penalties.GroupL2(1.0, g))(jnp.arange(2)), "concrete"),
        (lambda: penalties.SparseGroup(np.inf, [0, 1], 0.5), "`strength`"),
        (lambda: penalties.SparseGroup(1.0, [0, 1], 1.5), "`l1_ratio` must lie in"),
        (lambda: penalties.SparseGroup(1.0, [0.5, 1], 0.5), "`groups` must be a vector"),
        (lambda: penalties.SparseGroup(1.0, [0, 1], 0.5, [[1.0, 1.0]]), "`weights`"),
    ],
)
def test_errors_name_the_argument(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_parameters_out_of_range_are_noticed_where_they_are_traced():
    @jax.jit
    def valid(strength, weights, ratio):
        return penalties.SparseGroup(strength, [0, 1], ratio, weights).is_valid()

    assert valid(1.0, jnp.ones(2), 0.5)
    assert not valid(-1.0, jnp.ones(2), 0.5)
    assert not valid(1.0, -jnp.ones(2), 0.5)
    assert not valid(1.0, jnp.ones(2), 1.5)
