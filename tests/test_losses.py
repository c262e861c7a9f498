"""Losses against NumPy, against automatic differentiation of their value, and their duals."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
import scipy.optimize
import scipy.special
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays
from registry import LOSSES
from sklearn import metrics

import sparsejax as sj
from sparsejax import losses

pytestmark = pytest.mark.usefixtures("float64")

N = 6
vectors = arrays(np.float64, N, elements=st.floats(-5, 5))
WEIGHTS = [
    None,
    np.array([0.3, 1.0, 2.0, 0.7, 3.0, 0.5]),
    np.array([2.0, 0.0, 1.0, 0.5, 0.0, 1.5]),
]
some_weights = st.sampled_from(WEIGHTS)
seeds = st.integers(0, 10**6)


def _kind(abstract):
    """The registered losses of one kind."""
    return [name for name, (make, _) in LOSSES.items() if isinstance(make(None), abstract)]


SMOOTH = _kind(losses.AbstractSmoothLoss)
PROXIMAL = _kind(losses.AbstractProximalLoss)
WITH_GRADIENT = [*SMOOTH, "square-root"]
TWO_CLASSES = _kind(losses.AbstractTwoClassLoss)
# Their dual feasible points are multiples of a gradient, and only bounds on f* are known.
COX = _kind(losses.Cox)


def _case(name, seed, weights=None, size=1.0):
    """A loss, targets as it takes them, random predictions and a second opinion on its value."""
    make, make_targets = LOSSES[name]
    rng = np.random.default_rng(seed)
    loss = make(weights)
    y = loss.targets(jnp.asarray(make_targets(rng, N)))
    z = size * rng.normal(size=(N, *loss.outputs(y)))
    return loss, y, jnp.asarray(z)


@eqx.filter_jit
def _value(loss, z, y):
    return loss.value(z, y)


@eqx.filter_jit
def _gradient(loss, z, y):
    return loss.gradient(z, y)


@eqx.filter_jit
def _gap(loss, z, u, y):
    return loss.fenchel_gap(z, u, y)


@eqx.filter_jit
def _prox(loss, v, step, y):
    return loss.prox(v, step, y)


@eqx.filter_jit
def _differentiated(loss, z, y):
    return jax.grad(loss.value)(z, y)


def _hessian(loss, z, y, step=1e-6):
    """Central differences of the gradient, which compile nothing."""
    columns = []
    for unit in np.eye(z.size).reshape(-1, *z.shape):
        up, down = (_gradient(loss, z + sign * step * unit, y) for sign in (1, -1))
        columns.append(np.ravel(up - down) / (2 * step))
    return np.array(columns)


@eqx.filter_jit
def _curvatures(loss, z, y):
    return loss.curvature(z, y), loss.curvature_bound(y)


@pytest.mark.parametrize("name", LOSSES)
@given(seed=seeds, weights=some_weights)
def test_value(name, seed, weights):
    loss, y, z = _case(name, seed, weights)
    expected = reference.loss_value(loss, np.asarray(z), np.asarray(y))
    np.testing.assert_allclose(_value(loss, z, y), expected, rtol=1e-12)


def test_agreement_with_scikit_learn():
    z, weights = np.random.default_rng(0).normal(size=N), WEIGHTS[2]
    labels, y, classes = np.arange(N) % 2, np.arange(N) - 2.5, np.arange(N) % 3
    scores = np.random.default_rng(1).normal(size=(N, 3))
    pairs = {
        "hinge": (z, labels, metrics.hinge_loss(labels, z, sample_weight=weights)),
        "logistic": (
            z,
            labels,
            metrics.log_loss(labels, scipy.special.expit(z), sample_weight=weights),
        ),
        "quantile": (z, y, metrics.mean_pinball_loss(y, z, sample_weight=weights, alpha=0.3)),
        "multinomial": (
            scores,
            classes,
            metrics.log_loss(classes, scipy.special.softmax(scores, 1), sample_weight=weights),
        ),
    }
    for name, (z, y, expected) in pairs.items():
        loss = LOSSES[name][0](weights)
        value = _value(loss, jnp.asarray(z), loss.targets(jnp.asarray(y)))
        np.testing.assert_allclose(value, expected, rtol=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_row_weights(name):
    for weights in WEIGHTS:
        loss, y, _ = _case(name, 0, weights)
        expected = reference.row_weights(y, weights)
        np.testing.assert_allclose(loss.row_weights(y), expected, rtol=1e-13)


@pytest.mark.parametrize("name", SMOOTH)
@given(seed=seeds, weights=some_weights)
def test_derivatives_are_those_of_the_value(name, seed, weights):
    """The curvature is the Hessian, or above it; its bound is above it everywhere."""
    loss, y, z = _case(name, seed, weights)
    derivative = _differentiated(loss, z, y)
    np.testing.assert_allclose(_gradient(loss, z, y), derivative, rtol=1e-10, atol=1e-13)
    hessian = _hessian(loss, z, y)
    curvature, bound = (np.asarray(c).reshape(-1) for c in _curvatures(loss, z, y))
    if isinstance(loss, losses.AbstractPointwiseLoss):
        np.testing.assert_allclose(np.diag(curvature), hessian, rtol=1e-7, atol=1e-8)
        assert np.all(bound >= curvature)
    for diagonal in (curvature, bound):
        if np.all(np.isfinite(diagonal)):
            assert np.linalg.eigvalsh(np.diag(diagonal) - hessian).min() >= -1e-8


@given(seed=seeds, weights=some_weights)
def test_gradient_of_the_square_root(seed, weights):
    loss, y, z = _case("square-root", seed, weights)
    np.testing.assert_allclose(_gradient(loss, z, y), _differentiated(loss, z, y), atol=1e-13)
    assert not np.any(loss.gradient(y, y))


@pytest.mark.parametrize("name", WITH_GRADIENT)
@given(seed=seeds, weights=some_weights, scale=st.floats(0, 1), size=st.sampled_from([0.1, 1, 6]))
def test_fenchel_gap_at_scaled_gradients(name, seed, weights, scale, size):
    """Zero at the gradient; f(z) + f*(u) − ⟨z, u⟩ is at least that of any other bound on f*."""
    loss, y, z = _case(name, seed, weights, size)
    gradient = _gradient(loss, z, y)
    value = float(_value(loss, z, y))
    rounding = 1e-13 * (1 + abs(value) + float(jnp.abs(z * gradient).sum()))
    assert 0 <= float(_gap(loss, z, gradient, y)) <= rounding
    gap = float(_gap(loss, z, scale * gradient, y))
    assert 0 <= gap < np.inf
    other = _case(name, seed + 1, weights, size)[2]
    lower = scale * jnp.vdot(other, gradient) - _value(loss, other, y)  # at most f*(u)
    lower = value + float(lower) - scale * float(jnp.vdot(z, gradient))
    assert gap >= lower - rounding * (1 + abs(float(_value(loss, other, y))))


@pytest.mark.parametrize("name", sorted(set(WITH_GRADIENT) - set(COX)))
@pytest.mark.parametrize("weights", WEIGHTS[:2], ids=["equal", "weighted"])
def test_fenchel_gap_is_exact(name, weights):
    """f*(u) is attained at the z whose gradient u is, so that convex pairs give it in closed form.

    For u = ∇f(x): f*(u) = ⟨x, u⟩ − f(x).
    """
    for seed in range(8):
        loss, y, z = _case(name, seed, weights)
        x = 2 * _case(name, seed + 100, weights)[2]
        u = _gradient(loss, x, y)
        expected = _value(loss, z, y) - _value(loss, x, y) - jnp.vdot(z - x, u)
        np.testing.assert_allclose(_gap(loss, z, u, y), expected, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("name", WITH_GRADIENT)
@pytest.mark.parametrize("weights", WEIGHTS[:2], ids=["equal", "weighted"])
def test_excess_is_over_the_infimum(name, weights):
    """Whose negative f*(0) is."""
    for seed in range(3):
        loss, y, z = _case(name, seed, weights)
        gap = _gap(loss, z, jnp.zeros_like(z), y)
        np.testing.assert_allclose(loss.excess(z, y), gap, rtol=1e-12)


@pytest.mark.parametrize("name", ["hinge", "quantile"])
@given(seed=seeds, weights=some_weights)
def test_fenchel_gap_without_a_gradient(name, seed, weights):
    """The conjugate of a piecewise linear loss is attained at its kinks or is infinite."""
    loss, y, z = _case(name, seed, weights)
    h = reference.row_weights(y, weights)
    low, high = (-1.0, 0.0) if name == "hinge" else (-0.3, 0.7)
    c = np.random.default_rng(seed).uniform(low, high, N)
    c, kinks = (c * y, y) if name == "hinge" else (c, y)
    u = jnp.asarray(h * c)
    expected = _value(loss, z, y) + jnp.vdot(kinks, u) - jnp.vdot(z, u)
    np.testing.assert_allclose(_gap(loss, z, u, y), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", COX)
@pytest.mark.parametrize("weights", WEIGHTS, ids=["equal", "weighted", "zeros"])
def test_cox_gap_bounds_the_conjugate(name, weights):
    """From above, with equality where the scale is zero or one, or no two events are at risk."""
    loss, y, z = _case(name, 3, weights)
    u = 0.6 * _gradient(loss, z, y)

    def negative(x):
        return float(_value(loss, x, y) - x @ u), np.asarray(_gradient(loss, x, y) - u)

    found = scipy.optimize.minimize(negative, np.asarray(z), jac=True, tol=1e-12)
    exact = float(_value(loss, z, y) - found.fun - z @ u)
    assert exact - 1e-9 <= float(_gap(loss, z, u, y)) <= 3 * exact
    at_zero = float(_gap(loss, z, 0 * u, y))
    np.testing.assert_allclose(at_zero, _cox_entropy_bound(loss, z, y), rtol=1e-10)


def _cox_entropy_bound(loss, z, y):
    """Σ_k m_k·(−log π_k) of the events: at dual zero the gap is the loss with its own weights."""
    z, y = np.asarray(z), np.asarray(y)
    h = reference.row_weights(y, loss.sample_weight)
    events = (y[:, 1] == 1) & (h > 0)
    logs = np.log(np.where(h > 0, h * np.sum(h > 0), 1.0))
    return reference.loss_value(loss, z, y) - np.sum((h * logs)[events]) - _log_shares(loss, y, h)


def _log_shares(loss, y, h):
    """What Efron's shares 1 − l/d take from the events themselves."""
    if loss.ties == "breslow":
        return 0.0
    events = (y[:, 1] == 1) & (h > 0)
    result = 0.0
    for t in np.unique(y[events, 0]):
        tied = h[events & (y[:, 0] == t)]
        result += tied.mean() * np.sum(np.log(1 - np.arange(len(tied)) / len(tied)))
    return result


def test_cox_gap_is_exact_with_one_event():
    y = jnp.array([[1.0, 1.0], [2.0, 0.0], [3.0, 0.0]])
    z, loss = jnp.array([0.3, -0.4, 1.0]), losses.Cox()
    p = np.asarray(jax.nn.softmax(z))
    q = 0.4 * p + 0.6 * np.array([1.0, 0.0, 0.0])
    gap = _gap(loss, z, 0.4 * _gradient(loss, z, y), y)
    np.testing.assert_allclose(gap, np.sum(q * np.log(q / p)) / 3, rtol=1e-12)


@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"squared", "equality"}))
def test_outside_the_domain_of_the_conjugate(name):
    loss, y, z = _case(name, 0)
    inside = loss.gradient(z, y) if name in WITH_GRADIENT else jnp.zeros_like(z)
    if name in TWO_CLASSES:
        step = y
    elif name == "gamma":
        step = jnp.ones_like(z)
    else:
        step = -jnp.ones_like(z)
    assert np.isinf(_gap(loss, z, inside + 5 * step, y))


@pytest.mark.parametrize("name", LOSSES)
def test_a_sample_of_weight_zero_cannot_carry_a_dual_variable(name):
    loss, y, z = _case(name, 0, WEIGHTS[2])
    assert np.isinf(_gap(loss, z, jnp.zeros_like(z).at[1].add(0.1), y))


@pytest.mark.parametrize("name", LOSSES)
def test_samples_of_weight_zero_contribute_nothing(name):
    """Whatever they hold: here targets out of range and predictions that overflow."""
    weights = WEIGHTS[2]
    kept = weights > 0
    make, make_targets = LOSSES[name]
    raw = make_targets(np.random.default_rng(0), N)
    spoilt = np.where(kept.reshape((-1,) + (1,) * (raw.ndim - 1)), raw, -7.0)
    loss, alone = make(weights), make(weights[kept])
    y, y_alone = loss.targets(jnp.asarray(spoilt)), alone.targets(jnp.asarray(raw[kept]))
    z_alone = np.random.default_rng(1).normal(size=(kept.sum(), *alone.outputs(y_alone)))
    z = np.full((N, *loss.outputs(y)), -1e3)
    z[kept] = z_alone
    z, z_alone = jnp.asarray(z), jnp.asarray(z_alone)
    np.testing.assert_allclose(_value(loss, z, y), _value(alone, z_alone, y_alone), rtol=1e-12)
    u, u_alone = jnp.zeros_like(z), jnp.zeros_like(z_alone)
    if name in WITH_GRADIENT:
        u, u_alone = _gradient(loss, z, y), _gradient(alone, z_alone, y_alone)
        np.testing.assert_allclose(u[kept], u_alone, rtol=1e-12)
        assert not np.any(u[~kept])
    if name in SMOOTH:
        (curvature, bound), (_, bound_alone) = (
            _curvatures(loss, z, y),
            _curvatures(alone, z_alone, y_alone),
        )
        assert not np.any(curvature[~kept])
        assert not np.any(bound[~kept])
        np.testing.assert_allclose(bound[kept], bound_alone, rtol=1e-12)
    gap = _gap(alone, z_alone, u_alone / 2, y_alone)
    np.testing.assert_allclose(_gap(loss, z, u / 2, y), gap, rtol=1e-12)
    if name in PROXIMAL:
        np.testing.assert_array_equal(_prox(loss, z, 0.7, y)[~kept], z[~kept])


@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"cox-efron"}))
def test_integer_weights_are_repeated_samples(name):
    counts = np.array([1, 3, 0, 2, 1, 2])
    rows = np.repeat(np.arange(N), counts)
    make, make_targets = LOSSES[name]
    loss, repeated = make(counts), make(None)
    y = loss.targets(jnp.asarray(make_targets(np.random.default_rng(0), N)))
    z = jnp.asarray(np.random.default_rng(1).normal(size=(N, *loss.outputs(y))))
    if name == "equality":
        z = y
    at = [_value(loss, x, y) - _value(repeated, x[rows], y[rows]) for x in (z, 0 * z)]
    # The partial likelihood of repeated rows differs by a constant.
    np.testing.assert_allclose(at[0], at[1] if name in COX else 0.0, atol=1e-13)
    if name in WITH_GRADIENT:
        summed = jax.ops.segment_sum(_gradient(repeated, z[rows], y[rows]), rows, N)
        np.testing.assert_allclose(_gradient(loss, z, y), summed, atol=1e-13)


@pytest.mark.parametrize("name", LOSSES)
def test_sample_weights_are_relative(name):
    for factor in (1e-3, 1e3):
        loss, y, z = _case(name, 0, WEIGHTS[1])
        scaled = loss.reweighted(jnp.full(N, factor))
        np.testing.assert_allclose(_value(scaled, z, y), _value(loss, z, y), rtol=1e-12)
    assert loss.reweighted(None).sample_weight is None
    assert bool(loss.is_valid())
    assert not bool(loss.reweighted(-jnp.ones(N)).is_valid())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", LOSSES)
def test_extreme_predictions(name, dtype):
    """No NaN anywhere, and infinity only where the number is one (exp(1000))."""
    make, make_targets = LOSSES[name]
    y = make_targets(np.random.default_rng(0), N).astype(dtype)
    loss = make(None)
    loss = jax.tree.map(lambda x: x.astype(dtype), loss)
    y = loss.targets(jnp.asarray(y))
    for size in (50.0, 1e3, 1e4):
        z = size * np.sign(np.random.default_rng(1).normal(size=(N, *loss.outputs(y))))
        z = jnp.asarray(z.astype(dtype))
        results = [_value(loss, z, y), _gap(loss, z, jnp.zeros_like(z), y)]
        if name in WITH_GRADIENT:
            gradient = _gradient(loss, z, y)
            results += [gradient, *(_gap(loss, z, s * gradient, y) for s in (1, 0.5))]
        if name in SMOOTH:
            results += _curvatures(loss, z, y)
        if name in PROXIMAL:
            results += [_prox(loss, z, 1.0, y)]
        assert not any(np.isnan(r).any() for r in results)
        assert all(r.dtype == dtype for r in results)
        if name not in ("poisson", "gamma", "equality"):
            assert all(np.isfinite(r).all() for r in results)


@pytest.mark.parametrize("name", sorted(set(PROXIMAL) - {"equality"}))
@given(seed=seeds, weights=some_weights, step=st.floats(0.01, 30))
def test_prox_minimises(name, seed, weights, step):
    """v − prox is step times a subgradient at the prox: the Fenchel gap of the two is zero."""
    loss, y, v = _case(name, seed, weights, 2.0)
    z = _prox(loss, v, step, y)
    # Shrunk a little, because the rounding of the difference may leave the domain of f*.
    u = (1 - 1e-9) * (v - z) / step
    assert float(_gap(loss, z, u, y)) <= 1e-8 * (1 + float(_value(loss, z, y)))


@eqx.filter_jit
def _unit_prox_and_slopes(loss, v, step, y):
    """And its derivatives in v, the step and the target."""
    ones, zeros = jnp.ones_like(v), jnp.zeros_like(v)
    tangents = ((ones, zeros, zeros), (zeros, ones, zeros), (zeros, zeros, ones))
    slopes = [jax.jvp(loss.unit_prox, (v, step, y), tangent)[1] for tangent in tangents]
    return loss.unit_prox(v, step, y), slopes


UNIT_TARGETS = {"logistic": [-1, 1], "poisson": [0, 1, 7, 1e4], "gamma": [1e-6, 1, 1e4]}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", UNIT_TARGETS)
def test_prox_by_newton_is_exact_to_rounding(name, dtype):
    """z + step·φ′(z) = v in extended precision, and the derivatives of that, at extremes too."""
    values = [0, 1e-8, 1, 3.7, 10, 88, 700, 1e3, 1e8]
    v, step, y = (
        a.ravel().astype(dtype)
        for a in np.meshgrid(
            [*values, *np.negative(values)], [1e-8, 1e-3, 0.5, 30, 1e3, 1e8], UNIT_TARGETS[name]
        )
    )
    z, slopes = _unit_prox_and_slopes(LOSSES[name][0](None), v, step, y)
    assert {x.dtype for x in (z, *slopes)} == {np.dtype(dtype)}
    assert all(np.all(np.isfinite(x)) for x in (z, *slopes))
    z, v, step, y = (np.asarray(a).astype(np.longdouble) for a in (z, v, step, y))
    if name == "logistic":
        wrong = np.exp(-np.logaddexp(0, y * z))
        gradient, curvature = -y * wrong, wrong * (1 - wrong)
        cross = -wrong + z * y * curvature
    elif name == "poisson":
        gradient, curvature, cross = np.exp(z) - y, np.exp(z), -1.0
    else:
        gradient, curvature, cross = 1 - y * np.exp(-z), y * np.exp(-z), -np.exp(-z)
    bend = 1 + step * curvature
    error = np.abs(z + step * gradient - v) / bend
    size = np.maximum(np.abs(z), (np.abs(v) + step * np.abs(y)) / bend)
    eps = np.finfo(dtype).eps
    assert np.max(error / size) < 32 * eps
    mild = (np.abs(v) < 20) & (step <= 30) & (np.abs(y) < 20)
    for slope, expected in zip(slopes, (1, -gradient, -step * cross), strict=True):
        np.testing.assert_allclose(
            np.asarray(slope)[mild], (expected / bend)[mild], rtol=1e4 * eps, atol=1e3 * eps
        )


def test_prox_of_counts_is_the_function_of_wright():
    """z = b − ω(b + log c) for b = v + step·y and c = step."""
    rng = np.random.default_rng(0)
    v, step, y = 5 * rng.normal(size=50), np.exp(rng.normal(size=50)), rng.poisson(3.0, 50) * 1.0
    b = v + step * y
    expected = b - scipy.special.wrightomega(b + np.log(step))
    np.testing.assert_allclose(losses.Poisson().unit_prox(v, step, y), expected, atol=1e-13)


@pytest.mark.parametrize("name", ["logistic", "hinge", "poisson", "gamma"])
@pytest.mark.parametrize("weights", WEIGHTS, ids=["equal", "weighted", "zeros"])
def test_nearest_dual_lies_in_the_domain_of_the_conjugate(name, weights):
    loss, y, z = _case(name, 0, weights)
    h = reference.row_weights(y, weights)
    inside = z if name == "hinge" else _gradient(loss, z, y)
    inside = loss.nearest_dual(inside, y)
    for u in np.random.default_rng(0).normal(size=(20, N)):
        nearest = loss.nearest_dual(u, y)
        assert np.isfinite(_gap(loss, z, nearest, y))
        np.testing.assert_array_equal(loss.nearest_dual(nearest, y), nearest)
        assert np.linalg.norm(nearest - u) <= np.linalg.norm(inside - u)
        moved = np.asarray(nearest != u)
        room = np.asarray(loss.dual_room(nearest, y))
        np.testing.assert_allclose(room[moved | (h == 0)], 0, atol=1e-15)
        if name != "hinge":
            assert np.all(loss.dual_room(inside, y)[h > 0] > 0)


@given(seed=seeds, weights=some_weights)
def test_prox_of_equality(seed, weights):
    loss, y, v = _case("equality", seed, weights)
    z = _prox(loss, v, 0.3, y)
    assert float(_value(loss, z, y)) == 0
    used = reference.row_weights(y, weights) > 0
    np.testing.assert_array_equal(z, np.where(used, y, v))


@pytest.mark.parametrize("name", PROXIMAL)
def test_prox_without_a_step_stays(name):
    loss, y, v = _case(name, 0)
    if name != "equality":
        np.testing.assert_allclose(_prox(loss, v, 0.0, y), v, atol=1e-15)


@pytest.mark.parametrize("name", LOSSES)
def test_targets_may_be_converted_twice(name):
    loss, y, _ = _case(name, 0)
    np.testing.assert_array_equal(loss.targets(y), y)
    np.testing.assert_array_equal(jax.jit(lambda y: loss.targets(y))(y), y)


@pytest.mark.parametrize("name", TWO_CLASSES)
def test_labels_of_two_classes(name):
    loss = LOSSES[name][0](None)
    np.testing.assert_array_equal(loss.targets(jnp.array([0.0, 1.0])), [-1, 1])
    np.testing.assert_array_equal(loss.targets(jnp.array([-1, 1])), [-1, 1])


def test_labels_become_one_hot():
    y = losses.Multinomial().targets(jnp.array([2, 0, 1]))
    np.testing.assert_array_equal(y, np.eye(3)[[2, 0, 1]])


BAD_TARGETS = [
    ("logistic", [1.0, 2.0]),
    ("hinge", [-1.0, 0.0, 1.0]),
    ("squared-hinge", [0.5, 1.0]),
    ("poisson", [1.0, -1.0]),
    ("gamma", [1.0, 0.0]),
    ("multinomial", [0.0, 0.0]),
    ("multinomial", [0.0, 1.5]),
    ("multinomial", [-1.0, 1.0]),
    ("multinomial", [[0.5, 0.4], [1.0, 0.0]]),
    ("multinomial", [[1.5, -0.5], [1.0, 0.0]]),
    ("multinomial", [[1.0], [1.0]]),
    ("cox-efron", [1.0, 2.0]),
    ("cox-efron", [[1.0, 2.0], [1.0, 0.0]]),
    ("cox-efron", [[1.0, 0.0], [2.0, 0.0]]),
    ("cox-efron", [[1.0, 0.0, 1.0]]),
]


@pytest.mark.parametrize(("name", "y"), BAD_TARGETS)
def test_bad_targets_are_named(name, y):
    with pytest.raises(ValueError, match="`y`"):
        LOSSES[name][0](None).targets(jnp.array(y))


def test_traced_labels_are_refused():
    with pytest.raises(ValueError, match="one-hot"):
        jax.jit(losses.Multinomial().targets)(jnp.array([0, 1]))


@pytest.mark.parametrize("parameter", [0.0, -1.0, np.nan, np.inf])
def test_bad_parameters(parameter):
    with pytest.raises(ValueError, match="delta"):
        losses.Huber(parameter)
    if parameter != 0:
        with pytest.raises(ValueError, match="level"):
            losses.Quantile(parameter)
    with pytest.raises(ValueError, match="ties"):
        losses.Cox(parameter)


@pytest.mark.parametrize("name", LOSSES)
def test_bad_sample_weights(name):
    make, make_targets = LOSSES[name]
    for weights in (-np.ones(N), np.zeros(N), np.full(N, np.nan)):
        with pytest.raises(ValueError, match="sample_weight"):
            make(weights)
    loss = make(np.ones(N + 1))
    with pytest.raises(ValueError, match="sample_weight"):
        loss.check(jnp.asarray(make_targets(np.random.default_rng(0), N)))


def test_logistic_gap_keeps_its_digits():
    """Near the optimum the gap is (c − ∇φ)²·2 at z = 0, far below the rounding of its terms."""
    loss, y, z = losses.Logistic(), jnp.ones(1), jnp.zeros(1)
    gap = _gap(loss, z, _gradient(loss, z, y) + 1e-9, y)
    np.testing.assert_allclose(gap, 2e-18, rtol=1e-6)


@pytest.mark.parametrize("name", sorted(set(_kind(losses.AbstractSeparableLoss))))
def test_several_targets_are_summed(name):
    loss, y, z = _case(name, 0, WEIGHTS[1])
    both = _value(loss, jnp.stack([z, -z], 1), jnp.stack([y, y], 1))
    np.testing.assert_allclose(both, _value(loss, z, y) + _value(loss, -z, y), rtol=1e-13)


@given(y=vectors, weights=some_weights)
def test_gram_is_weighted_by_the_curvature(y, weights):
    rows, columns = np.arange(2.0 * N).reshape(2, N), np.cos(np.arange(3.0 * N)).reshape(3, N)
    gram = sj.losses.Squared(sample_weight=weights).gram(rows, columns, jnp.asarray(y))
    expected = rows * reference.row_weights(y, weights) @ columns.T
    np.testing.assert_allclose(gram, expected, rtol=1e-12, atol=1e-12)


def test_problem_defaults_to_squared():
    problem = sj.Problem(np.eye(2), np.ones(2), penalty=sj.penalties.L1(0.1))
    assert isinstance(problem.loss, sj.losses.Squared)
    assert problem.loss.sample_weight is None


@pytest.mark.parametrize("weights", [None, np.arange(1.0, N + 1)])
@pytest.mark.parametrize("num_rows", [3, 130, 192])  # at once, in blocks that overlap or do not
def test_own_gram_is_the_gram_of_rows_with_themselves(num_rows, weights):
    loss, y = sj.losses.Squared(sample_weight=weights), jnp.ones(N)
    rows = jnp.cos(jnp.arange(float(num_rows * N))).reshape(num_rows, N)
    expected = loss.gram(rows, rows, y)
    np.testing.assert_allclose(loss.own_gram(rows, y), expected, rtol=1e-12, atol=1e-12)
