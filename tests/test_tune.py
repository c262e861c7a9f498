"""Tuning: criteria against closed forms and finite differences, descents against grids."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.optimize

import sparsejax as sj
from sparsejax.bilevel import SURE, Folds, Holdout, KFold, bracket_steps, trust_steps, tune

SLOW = pytest.mark.slow  # a program of its own
pytestmark = pytest.mark.usefixtures("float64")

N, P = 30, 12


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, P))
    coef = np.zeros(P)
    coef[:3] = [2.0, -1.0, 1.5]
    return X, X @ coef + 0.5 * rng.normal(size=N) + 1.0


def lasso(data, strength=0.1, **options):
    return sj.Problem(*data, penalty=sj.penalties.L1(strength), fit_intercept=True, **options)


def elastic_net(data, parameters):
    penalty = sj.penalties.ElasticNet(parameters[0], parameters[1])
    return sj.Problem(*data, penalty=penalty, fit_intercept=True)


@jax.jit
def value_of(criterion, problem):
    return criterion.value(problem, criterion.start(problem), 1e-14)[0]


def risk_estimate(problem, sigma, dof):
    solution = sj.solve(problem, tol=1e-14)
    residual = problem.y - problem.predict(solution.coef, solution.intercept)
    return float((residual @ residual + 2 * sigma**2 * dof(solution)) / N - sigma**2)


def test_exact_degrees_of_freedom_of_the_lasso(data):
    """The size of the support, and one for the intercept (Zou, Hastie & Tibshirani 2007)."""
    problem = lasso(data)
    expected = risk_estimate(problem, 0.5, lambda s: 1 + jnp.sum(s.coef != 0))
    assert value_of(SURE(0.5, exact=True), problem) == pytest.approx(expected, rel=1e-9)


@pytest.mark.slow
def test_exact_degrees_of_freedom_of_the_elastic_net(data):
    """One for the intercept and tr X_S(X_SᵀX_S + nμI)⁻¹X_Sᵀ of the centred columns."""
    problem = elastic_net(data, (0.2, 0.6))

    def trace(solution):
        columns = data[0][:, np.flatnonzero(solution.coef)]
        gram = (columns - columns.mean(0)).T @ (columns - columns.mean(0))
        return 1 + np.trace(np.linalg.solve(gram + N * 0.2 * 0.4 * np.eye(len(gram)), gram))

    expected = risk_estimate(problem, 0.5, trace)
    assert value_of(SURE(0.5, exact=True), problem) == pytest.approx(expected, rel=1e-9)


def test_estimated_degrees_of_freedom(data):
    """Within four standard errors of the trace, where no feature comes or goes."""
    problem = lasso(data)
    many = SURE(0.5, probes=200, step=1e-6, key=jax.random.key(3))
    exact = value_of(SURE(0.5, exact=True), problem)
    # The variance of the estimate is at most 2·dof a probe.
    spread = 2 * 0.5**2 / N * np.sqrt(2 * (P + 1) / 200)
    assert value_of(many, problem) == pytest.approx(float(exact), abs=4 * spread)


def test_sure_is_unbiased():
    """The mean over the noise is the risk, for soft thresholds of known means."""
    means, sigma, draws = np.array([3.0, 1.0, 0.0, 0.0, 0.0]), 1.0, 400
    noise = np.random.default_rng(1).normal(size=(draws, 5))

    @jax.jit
    def both(y):
        problem = sj.Problem(np.eye(5), y, penalty=sj.penalties.L1(0.2))
        coef = sj.solve(problem, tol=1e-10, throw=False).coef
        return value_of(SURE(sigma, step=0.05), problem), jnp.mean((coef - means) ** 2)

    estimates, risks = jax.lax.map(both, jnp.asarray(means + sigma * noise))
    difference = np.asarray(estimates - risks)
    assert abs(difference.mean()) < 4 * difference.std() / np.sqrt(draws)


@pytest.mark.parametrize(
    "criterion",
    [
        pytest.param(SURE(0.5), marks=SLOW),
        pytest.param(SURE(0.5, exact=True), marks=SLOW),
        KFold(3),
    ],
    ids=["estimated", "exact", "folds"],
)
def test_hypergradients(data, criterion):
    """Against central differences, in reverse and forward mode."""

    @jax.jit
    def value(parameters):
        return value_of(criterion, elastic_net(data, parameters))

    at, h = np.array([0.15, 0.7]), 1e-6
    expected = [(value(at + h * e) - value(at - h * e)) / (2 * h) for e in np.eye(2)]
    reverse = jax.jit(jax.grad(value))(at)
    np.testing.assert_allclose(reverse, expected, rtol=1e-5)
    forward = jax.jit(jax.jacfwd(value))(at)
    np.testing.assert_allclose(forward, reverse, rtol=1e-8)


def test_sure_refuses(data):
    labels = (data[1] > 1).astype(float)
    logistic = sj.Problem(data[0], labels, sj.losses.Logistic(), sj.penalties.L1(0.1))
    with pytest.raises(TypeError, match="SURE does not support Logistic"):
        tune(logistic, SURE(1.0), steps=1)
    with pytest.raises(ValueError, match="`sigma` must be"):
        SURE(0.0)
    with pytest.raises(ValueError, match="`step` must be"):
        SURE(1.0, step=-1.0)
    with pytest.raises(ValueError, match="`probes` must be"):
        SURE(1.0, probes=0)


@pytest.mark.parametrize("start", [100.0, 0.3])
@pytest.mark.slow
def test_descent_finds_the_minimum(data, start):
    """From above the largest strength too, where the criterion is flat."""
    criterion = KFold(3)
    tuned = tune(lasso(data, start), criterion)
    grid = np.geomspace(0.001, 1.0, 40)
    values = jax.lax.map(lambda s: value_of(criterion, lasso(data, s)), jnp.asarray(grid))
    assert tuned.history.values.min() <= values.min() * (1 + 1e-3)
    assert tuned.solution.gap <= 1e-8
    assert tuned.history.values.shape == tuned.history.parameters.shape == (30,)
    best = np.argmin(tuned.history.values)
    assert tuned.problem.penalty.strength == pytest.approx(tuned.history.parameters[best])


def test_descent_settles(data):
    """Once the steps are short, the criterion is not evaluated any more."""
    values = np.asarray(tune(lasso(data, 0.3), KFold(3)).history.values)
    assert len(set(values)) < 15
    assert values[-1] == values.min()


@pytest.mark.slow
def test_two_strengths(data):
    both = lambda problem: (problem.penalty.strength, problem.penalty.l1_ratio)  # noqa: E731
    criterion = Holdout(data[0][20:], data[1][20:])
    train = data[0][:20], data[1][:20]
    alone = tune(elastic_net(train, (0.3, 0.5)), criterion)
    tuned = tune(alone.problem, criterion, where=both)
    assert tuned.problem.penalty.l1_ratio <= 1
    assert tuned.history.values.min() < alone.history.values.min()


@pytest.mark.slow
def test_a_strength_for_every_feature(data):
    """Features without effect are penalised more than those with one."""
    X, y = data
    train, test = (X[:20], y[:20]), (X[20:], y[20:])
    penalty = sj.penalties.L1(0.1, weights=np.ones(P))
    problem = sj.Problem(*train, penalty=penalty, fit_intercept=True)
    tuned = tune(problem, Holdout(*test), where=lambda problem: problem.penalty.weights)
    weights = np.asarray(tuned.problem.penalty.weights)
    assert weights[:3].max() < weights[3:].mean()
    assert tuned.history.values[0] > tuned.history.values.min()


@pytest.mark.slow
def test_sample_weights_clean_data(data):
    """Samples whose targets were spoilt lose weight."""
    X, y = data
    y = y.copy()
    y[:4] += 8.0
    train = slice(0, 20)
    problem = lasso((X[train], y[train]), loss=sj.losses.Squared(np.ones(20)))
    where = lambda problem: problem.loss.sample_weight  # noqa: E731
    tuned = tune(problem, Holdout(X[20:], y[20:]), where=where)
    weights = np.asarray(tuned.problem.loss.sample_weight)
    assert weights[:4].max() < np.median(weights[4:])


@pytest.mark.slow
def test_leaves_of_any_sign(data):
    """A shift of the targets, which without an intercept only the descent can find."""
    X, y = data
    problem = sj.Problem(X[:20], y[:20], penalty=sj.penalties.L1(0.05), offset=np.zeros(20))

    def shift(problem):
        return problem.offset

    tuned = tune(problem, KFold(3), where=shift, positive=False)
    assert tuned.history.values.min() < 0.1 * tuned.history.values[0]
    assert np.any(np.asarray(tuned.problem.offset) < 0)
    with pytest.raises(ValueError, match="pass `positive=False`"):
        tune(problem, KFold(3), where=shift)


def deviances():
    """Held-out losses other than least squares."""
    rng = np.random.default_rng(2)
    X = rng.normal(size=(60, 8))
    risk = X[:, 0] - X[:, 1]
    labels = (risk + rng.logistic(size=60) > 0).astype(float)
    times = rng.exponential(np.exp(-risk))
    survival = np.stack([times, rng.random(60) < 0.7], axis=1)
    return X, [(sj.losses.Logistic(), labels), (sj.losses.Cox(), survival)]


@pytest.mark.slow
@pytest.mark.parametrize("which", [0, 1], ids=["logistic", "cox"])
def test_held_out_likelihoods(which):
    """One strength for held-out labels or survival: the slope is that of differences, and the end
    is no worse than a grid."""
    X, losses = deviances()
    loss, y = losses[which]
    problem = sj.Problem(X[:40], y[:40], loss, sj.penalties.L1(0.02))
    criterion = Holdout(X[40:], y[40:])

    @jax.jit
    def value(strength):
        at = eqx.tree_at(lambda p: p.penalty.strength, problem, strength)
        return criterion.value(at, criterion.start(at), 1e-12)[0]

    slope = jax.jit(jax.grad(value))(0.03)
    difference = (value(0.03 + 1e-6) - value(0.03 - 1e-6)) / 2e-6
    assert slope == pytest.approx(float(difference), rel=1e-5)
    grid = [float(value(s)) for s in np.geomspace(0.3, 0.003, 30)]
    assert tune(problem, criterion, tol=1e-10).history.values.min() <= min(grid) + 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(
    "optimizer",
    [None, optax.adam(0.1), optax.lbfgs(0.3, linesearch=None)],
    ids=["trust", "adam", "lbfgs"],
)
def test_any_leaves_by_any_optimizer(data, optimizer):
    """A strength for each group and a learned scale of every feature."""
    X, y = data
    groups = np.arange(P) // 3
    grouped = sj.Problem(X[:20], y[:20], penalty=sj.penalties.GroupL2(0.1, groups, np.ones(4)))
    scaled = sj.designs.standardise(X)
    learned = sj.Problem(scaled, y, penalty=sj.penalties.L1(0.3), fit_intercept=True)
    for problem, criterion, where in (
        (grouped, Holdout(X[20:], y[20:]), lambda problem: problem.penalty.weights),
        (learned, KFold(3), lambda problem: problem.X.scale),
    ):
        tuned = tune(problem, criterion, 40, optimizer=optimizer, where=where)
        assert tuned.history.values.min() < 0.9 * tuned.history.values[0]
        again = value_of(criterion, tuned.problem)
        assert again == pytest.approx(float(tuned.history.values.min()), rel=1e-4)


def test_tuning_again_compiles_nothing_and_shows_progress(data):
    def traced(problem):
        traced.count += 1
        return problem.penalty.strength

    seen = []

    def callback(*progress):
        seen.append(progress)

    traced.count = 0
    tune(lasso(data, 0.3), KFold(3), steps=2, where=traced, callback=callback)
    eager = 2  # reading the leaves, and putting the best back
    first = traced.count
    seen.clear()
    tuned = tune(lasso(data, 0.2), KFold(3), steps=2, where=traced, callback=callback)
    steps, values, strengths = np.transpose(seen)
    np.testing.assert_array_equal(steps, [0, 1])
    np.testing.assert_allclose(values, tuned.history.values)
    np.testing.assert_allclose(strengths, tuned.history.parameters)
    assert traced.count - first <= first - eager
    assert first > eager


def test_folds_are_checked(data):
    with pytest.raises(ValueError, match="made for 4 samples"):
        tune(lasso(data), Folds(np.ones((2, 4)), np.ones((2, 4))), steps=1)
    with pytest.raises(ValueError, match="`steps` must be a positive integer"):
        tune(lasso(data), KFold(3), steps=0)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (-1.0, "nonnegative and not NaN; got a minimum of -1"),
        (np.nan, "nonnegative and not NaN; got a minimum of nan"),
        (np.inf, "finite; got a minimum of inf"),
    ],
)
def test_weights_of_folds_are_checked(bad, message):
    good = np.ones((2, 4))
    for name, folds in (("train", (bad * good, good)), ("test", (good, bad * good))):
        with pytest.raises(ValueError, match=f"`{name}` must be {message}"):
            Folds(*folds)
    with pytest.raises(ValueError, match="`test` must hold a positive weight in every fold"):
        Folds(good, np.array([[1, 0, 0, 0], [0, 0, 0, 0]]))


def test_held_out_samples_have_their_own_offset(data):
    X, y = data
    offset = np.linspace(-2.0, 3.0, len(y))
    problem = lasso((X[:20], y[:20]), offset=offset[:20])
    fit = sj.solve(problem, tol=1e-10)
    predictions = X[20:] @ fit.coef + fit.intercept + offset[20:]
    found = value_of(Holdout(X[20:], y[20:], offset[20:]), problem)
    np.testing.assert_allclose(found, np.mean((predictions - y[20:]) ** 2) / 2, rtol=1e-7)
    with pytest.raises(ValueError, match="Holdout needs an `offset`"):
        tune(problem, Holdout(X[20:], y[20:]))


def test_held_out_samples_without_the_weights_of_the_others(data):
    X, y = data
    loss = sj.losses.Logistic(sample_weight=np.linspace(0.5, 1.5, 20))
    problem = sj.Problem(X[:20], np.sign(y[:20]), loss, sj.penalties.L1(0.02))
    tuned = tune(problem, Holdout(X[20:], np.sign(y[20:])), steps=2, tol=1e-6)
    fit = sj.solve(problem, tol=1e-8)
    expected = np.mean(np.logaddexp(0.0, -np.sign(y[20:]) * (X[20:] @ fit.coef)))
    np.testing.assert_allclose(tuned.history.values[0], expected, rtol=1e-4)


def test_held_out_samples_are_checked(data):
    X, y = data
    labels = np.arange(len(y)) % 3
    problem = sj.Problem(X, labels, sj.losses.Multinomial(), sj.penalties.L1(0.05))
    few = np.flatnonzero(labels < 2)[:9]  # without the last class
    tuned = tune(problem, Holdout(X[few], labels[few]), steps=2, tol=1e-6)
    assert np.isfinite(tuned.history.values).any()
    with pytest.raises(ValueError, match="the `y` of Holdout must be like the problem's"):
        tune(problem, Holdout(X[:9], np.arange(9)))
    with pytest.raises(ValueError, match="the `X` of Holdout must have"):
        tune(problem, Holdout(X[:9, 1:], labels[:9]))
    signs = sj.Problem(X, np.sign(y), sj.losses.Logistic(), sj.penalties.L1(0.05))
    with pytest.raises(ValueError, match="`y` must hold the labels"):
        tune(signs, Holdout(X, y))
    with pytest.raises(ValueError, match="`y` contains NaN"):
        Holdout(X, np.nan * y)


def test_trust_steps_on_a_quadratic():
    """Against the minimum in closed form, over many parameters of unequal curvature."""
    curvature, target = jnp.array([1.0, 3.0, 10.0]), jnp.array([3.0, -2.0, 1.0])
    loss = jax.value_and_grad(lambda x: 0.5 * jnp.sum(curvature * (x - target) ** 2))
    steps = trust_steps()

    def step(carry, _):
        x, state = carry
        value, gradient = loss(x)
        updates, state = steps.update(gradient, state, x, value=value)
        return (x + updates, state), value

    start = jnp.zeros(3)
    (_, state), values = jax.lax.scan(step, (start, steps.init(start)), length=40)
    np.testing.assert_allclose(state.params, target, atol=1e-4)
    assert values[-1] < 1e-8
    with pytest.raises(ValueError, match="`radius` must be positive"):
        trust_steps(0.0)
    with pytest.raises(ValueError, match="`shortest` must not be negative"):
        trust_steps(shortest=-1.0)


def test_trust_steps_are_those_of_the_secant():
    """After two evaluations, one parameter moves to the zero of the line through both slopes."""
    slope = lambda x: np.tanh(x) - 0.5  # noqa: E731
    area = lambda x: np.log(np.cosh(x)) - 0.5 * x  # noqa: E731
    steps, x = trust_steps(0.4), jnp.array(0.0)
    state = steps.init(x)
    updates, state = steps.update(jnp.array(slope(0.0)), state, x, value=area(0.0))
    assert updates == pytest.approx(0.4)  # downhill, as far as the radius
    updates, _ = steps.update(jnp.array(slope(0.4)), state, x + updates, value=area(0.4))
    root = 0.4 - slope(0.4) * 0.4 / (slope(0.4) - slope(0.0))
    assert 0.4 + updates == pytest.approx(root)
    # No step that is too short to matter, from the better of the two points.
    settled = trust_steps(0.4, shortest=1.01 * (root - 0.4))
    at_rest, best = settled.update(jnp.array(slope(0.4)), state, jnp.array(0.4), value=area(0.4))
    assert at_rest == 0
    assert best.params == pytest.approx(0.4)
    assert scipy.optimize.brentq(slope, 0, 2) == pytest.approx(root, abs=0.05)


BRACKET = bracket_steps()
BRACKETED = jax.jit(BRACKET.update)


def descent(function, x, num):
    """The points that bracket_steps meets."""
    visited, x = [], jnp.array(x)
    state = BRACKET.init(x)
    for _ in range(num):
        visited.append(float(x))
        value, slope = jax.value_and_grad(function)(x)
        updates, state = BRACKETED(slope, state, x, value=value)
        if updates == 0:
            return visited
        x = x + updates
    return visited


def test_bracket_steps_are_those_of_secant_and_cubic():
    """The secant until a point downhill is known, then the minimum of a cubic, found at once."""
    cubic = lambda x: (x - 0.3) ** 2 * (x + 2)  # noqa: E731
    visited = descent(cubic, -0.2, 30)
    assert visited[1] == pytest.approx(0.5)  # downhill, as far as the radius
    assert visited[2] == pytest.approx(0.3)
    # Looks at a third of the farthest distance, and at thirds of that, where nothing is known.
    assert visited[3:] == pytest.approx(
        [0.2, *(0.3 + side * 0.1 / 3**k for k in (1, 2, 3) for side in (-1, 1))]
    )
    parabola = lambda x: (x - 1.5) ** 2  # noqa: E731
    assert descent(parabola, 0.0, 30)[1:4] == pytest.approx([0.7, 1.4, 1.5])


def test_bracket_steps_look_beyond_the_nearest_minimum():
    """Ripples on a valley: from every start to the lowest but for what is out of sight."""
    ripples = lambda x: x**2 - 0.02 * jnp.cos(40 * x)  # noqa: E731
    grid = np.linspace(-3, 3, 20_001)
    for start in (-1.3, 0.4, 2.6):
        visited = descent(ripples, start, 30)
        assert len(visited) < 30
        assert ripples(np.array(visited)).min() <= ripples(grid).min() + 0.02


def test_bracket_steps_on_a_plateau_and_beside_a_wall():
    """Where the criterion is equal the newest point counts, and infinity is half-way forbidden."""
    x = jnp.array(2.5)
    state = BRACKET.init(x)
    for expected in (1.8, 1.1):
        updates, state = BRACKETED(jnp.array(1.0), state, x, value=jnp.array(7.0))
        x = x + updates
        assert x == pytest.approx(expected)
    walled = lambda x: jnp.where(x > 0.5, jnp.inf, -x)  # noqa: E731
    visited = np.array(descent(walled, 0.0, 30))
    assert visited[visited <= 0.5].max() == pytest.approx(0.5, abs=1e-2)
    assert len(visited) < 30


def test_bracket_steps_refuses():
    with pytest.raises(ValueError, match="`look` must be positive"):
        bracket_steps(look=0.0)
    with pytest.raises(ValueError, match="takes one parameter"):
        bracket_steps().init(jnp.zeros(2))
    with pytest.raises(ValueError, match="pass `value=`"):
        bracket_steps().update(jnp.zeros(()), bracket_steps().init(jnp.zeros(())), jnp.zeros(()))
