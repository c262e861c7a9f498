"""Architecture search: relaxations, hypergradients, cells, search, retraining, data, command."""

import itertools
import json
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax._cli._main import main
from sparsejax.applications import nas
from sparsejax.applications.nas import hypergradients, relaxations
from sparsejax.applications.nas._operations import OPERATIONS

SMALL, SKIP = nas.SPACES["small"], nas.SPACES["skip-or-conv"]


@pytest.fixture
def double():
    with jax.enable_x64(True):
        yield


# Relaxations


def projected(row, order):
    """p = ((order − 1)·a − θ)₊^(1/(order − 1)), θ by bisection: for order 2 the projection."""
    scaled, low, high = (order - 1) * row, -100.0, 100.0
    for _ in range(200):
        middle = (low + high) / 2
        total = np.sum(np.maximum(scaled - middle, 0) ** (1 / (order - 1)))
        low, high = (middle, high) if total > 1 else (low, middle)
    return np.maximum(scaled - low, 0) ** (1 / (order - 1))


PROJECTIONS = [
    (relaxations.Sparsemax(), 2.0),
    (relaxations.Entmax(1.5), 1.5),
    (relaxations.Entmax(1.2), 1.2),
    (relaxations.Entmax(2.0), 2.0),
]


@pytest.mark.parametrize(("relaxation", "order"), PROJECTIONS, ids=str)
def test_sparse_projections_are_exact_and_so_are_their_derivatives(double, rng, relaxation, order):
    alpha = rng.normal(size=SMALL.shape)
    weights = jax.jit(lambda a: relaxation.weights(a, SMALL))
    expected = np.stack([projected(row, order) for row in alpha])
    np.testing.assert_allclose(weights(alpha), expected, atol=1e-12)
    assert (np.asarray(weights(30 * alpha)) == 0).any()
    direction = rng.normal(size=SMALL.shape)
    slope = jax.jvp(weights, (alpha,), (direction,))[1]
    step = 1e-6
    change = (weights(alpha + step * direction) - weights(alpha - step * direction)) / (2 * step)
    np.testing.assert_allclose(slope, change, atol=1e-7)
    cotangent = rng.normal(size=SMALL.shape)
    pulled = jax.vjp(weights, alpha)[1](cotangent)[0]
    np.testing.assert_allclose(np.vdot(pulled, direction), np.vdot(cotangent, slope), rtol=1e-9)


def test_sparsemax_is_the_nearest_point_of_the_simplex(double, rng):
    cvxpy = pytest.importorskip("cvxpy")
    alpha = rng.normal(size=SMALL.shape)
    p = cvxpy.Variable(SMALL.shape)
    constraints = [p >= 0, cvxpy.sum(p, axis=1) == 1]
    cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(p - alpha)), constraints).solve()
    np.testing.assert_allclose(relaxations.Sparsemax().weights(alpha, SMALL), p.value, atol=1e-6)


@pytest.mark.parametrize("name", relaxations.RELAXATIONS)
def test_weights_are_shares_of_what_a_space_allows(name):
    space, relaxation = nas.SPACES["s1"], relaxations.RELAXATIONS[name]()

    @jax.jit
    def some(key):
        alpha, optimiser = relaxation.init(space, key), relaxation.optimiser()
        change, _ = optimiser.update(jnp.ones(space.shape), optimiser.init(alpha), alpha)
        return (
            relaxation.weights(alpha, space),
            relaxation.weights(alpha, space, 0.3, key),
            relaxation.weights(alpha + change, space),
        )

    for weights in map(np.asarray, some(jax.random.key(0))):
        assert (weights[~space.mask] == 0).all()
        assert (weights >= 0).all()
        if name == "sparse-coding":  # shares of a node: see its own test
            sums = [weights[entering].sum() for entering in space.entering]
            np.testing.assert_allclose(sums, np.round(sums), rtol=1e-5)
        else:
            np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-5)


def test_softmax_is_softmax(rng):
    alpha = rng.normal(size=SMALL.shape).astype(np.float32)
    expected = np.exp(alpha) / np.exp(alpha).sum(1, keepdims=True)
    np.testing.assert_allclose(relaxations.Softmax().weights(alpha, SMALL), expected, rtol=1e-5)


def test_temperature_mixes_sparse_and_dense_steps(rng):
    relaxation = relaxations.Temperature(0.1, 10.0, warmup=0.5, first=0.2, last=1.2)
    rates = [float(relaxation.sparsity(t)) for t in (0.0, 0.49, 0.5, 0.75, 0.9, 1.0)]
    np.testing.assert_allclose(rates, [0, 0, 0.2, 0.7, 1, 1], atol=1e-6)
    alpha = rng.normal(size=SMALL.shape).astype(np.float32)
    softmax = lambda a: np.asarray(relaxations.Softmax().weights(a, SMALL))  # noqa: E731
    sparse, dense = softmax(alpha / 0.1), softmax(alpha)
    np.testing.assert_allclose(relaxation.weights(alpha, SMALL), sparse, rtol=1e-4, atol=1e-7)
    draw = jax.jit(jax.vmap(lambda key: relaxation.weights(alpha, SMALL, 0.75, key)))
    drawn = np.asarray(draw(jax.random.split(jax.random.key(0), 400)))
    is_sparse = np.isclose(drawn, sparse, rtol=1e-4, atol=1e-6).all((1, 2))
    is_dense = np.isclose(drawn, dense, rtol=1e-4, atol=1e-6).all((1, 2))
    assert (is_sparse ^ is_dense).all()
    assert abs(is_sparse.mean() - 0.7) < 4 * math.sqrt(0.7 * 0.3 / 400)


def test_exponentiated_gradient_multiplies(rng):
    relaxation = relaxations.ExponentiatedGradient(0.7)
    p = np.asarray(relaxation.init(SMALL, jax.random.key(0)))
    np.testing.assert_allclose(p, 1 / 3)
    slope = rng.normal(size=SMALL.shape).astype(np.float32)
    change, _ = relaxation.optimiser().update(slope, relaxation.optimiser().init(p), p)
    expected = p * np.exp(-0.7 * slope)
    expected /= expected.sum(1, keepdims=True)
    np.testing.assert_allclose(p + change, expected, rtol=1e-5)


def test_dirichlet_draws_have_their_mean_and_its_derivative(double):
    """E[p] = β/Σβ with β = elu(α) + 1, so the mean derivative of draws is that of the mean."""
    space, relaxation = (
        nas.Space("edge", ("skip", "conv1", "conv3"), nodes=1),
        relaxations.Dirichlet(),
    )
    alpha = np.array([[1.0, 0.5, -0.5]])
    concentration = np.where(alpha > 0, alpha + 1, np.exp(alpha))
    mean = concentration / concentration.sum()
    np.testing.assert_allclose(relaxation.weights(alpha, space), mean, rtol=1e-12)

    @jax.jit
    @jax.vmap
    def draws(key):
        first = lambda a: relaxation.weights(a, space, 0.5, key)[0, 0]  # noqa: E731
        return relaxation.weights(alpha, space, 0.5, key), jax.grad(first)(alpha)

    drawn, slopes = map(np.asarray, draws(jax.random.split(jax.random.key(0), 4000)))
    error = 4 * drawn.std(0) / math.sqrt(4000)
    assert (np.abs(drawn.mean(0) - mean) < error).all()
    of_concentration = (np.eye(3)[0] - mean[0, 0]) / concentration.sum()
    expected = of_concentration * np.where(alpha > 0, 1, np.exp(alpha))
    assert (np.abs(slopes.mean(0) - expected) < 4 * slopes.std(0) / math.sqrt(4000)).all()


def test_dirichlet_is_pulled_to_concentrations_of_one():
    weak, strong = relaxations.Dirichlet(anchor=0.0), relaxations.Dirichlet(anchor=1.0)
    alpha = jnp.array([[1.0, -1.0]])
    moves = []
    for relaxation in (weak, strong):
        optimiser = relaxation.optimiser()
        moves.append(optimiser.update(jnp.zeros((1, 2)), optimiser.init(alpha), alpha)[0])
    np.testing.assert_array_equal(moves[0], 0)
    np.testing.assert_array_equal(np.sign(moves[1]), [[-1, 1]])


def test_sparse_coding_is_the_lasso_that_leaves_two(double, rng):
    cvxpy = pytest.importorskip("cvxpy")
    relaxation = relaxations.SparseCoding(2, warmup=0.5)
    alpha = np.abs(rng.normal(size=SMALL.shape))
    weights = np.asarray(relaxation.weights(alpha, SMALL))
    for entering in SMALL.entering:
        values = alpha[entering].ravel()
        strength = np.sort(values)[-3]
        z = cvxpy.Variable(values.size, nonneg=True)
        loss = cvxpy.sum_squares(z - values) / 2 + strength * cvxpy.norm1(z)
        cvxpy.Problem(cvxpy.Minimize(loss)).solve()
        np.testing.assert_allclose(
            weights[entering].ravel(), 2 * z.value / z.value.sum(), atol=1e-5
        )
    half = np.asarray(relaxation.weights(alpha, SMALL, 0.25))
    assert [int((half[e] > 0).sum()) for e in SMALL.entering] == [
        2,
        4,
    ]  # 2 + ½(3 − 2), 2 + ½(6 − 2)
    start = np.asarray(relaxation.weights(alpha, SMALL, 0.0))
    assert (start > 0).all()
    np.testing.assert_array_equal(relaxation.weights(0 * alpha, SMALL), 0)  # all equal: none


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: relaxations.Entmax(1.0), "`order`"),
        (lambda: relaxations.Entmax(2.5), "`order`"),
        (lambda: relaxations.Temperature(0.0), "`temperature`"),
        (lambda: relaxations.Temperature(ratio=0.5), "`ratio`"),
        (lambda: relaxations.Temperature(warmup=1.0), "`warmup`"),
        (lambda: relaxations.SparseCoding(0), "`nonzeros`"),
        (lambda: relaxations.SparseCoding(warmup=-0.1), "`warmup`"),
        (lambda: hypergradients.Neumann(0), "`terms`"),
        (lambda: hypergradients.ConjugateGradients(0), "`steps`"),
        (lambda: hypergradients.ConjugateGradients(damping=-1.0), "`damping`"),
        (lambda: nas.Space("x", ("conv7",)), "`operations`"),
        (lambda: nas.Space("x", ("skip", "skip")), "`operations`"),
        (lambda: nas.Space("x", ("skip",), nodes=0), "`nodes`"),
        (lambda: nas.Space("x", ("skip",), inputs=3), "`inputs`"),
        (lambda: nas.Space("x", ("skip",), keep=0), "`keep`"),
        (lambda: nas.Space("x", ("skip",), nodes=1, choices=(("conv3",),)), "`choices` of edge"),
        (lambda: nas.Space("x", ("skip",), choices=(("skip",),)), "`choices` must have"),
        (lambda: nas.Supernet(SMALL, (40,), 2, jax.random.key(0)), "`shape`"),
        (lambda: nas.Supernet(SMALL, (1, 4), 2, jax.random.key(0), depth=4), "`depth`"),
        (lambda: nas.Supernet(SMALL, (1, 4), 0, jax.random.key(0)), "`classes`"),
        (lambda: nas.discretise(np.zeros((2, 3)), SMALL), "`weights`"),
        (lambda: nas.discretise(np.full(SMALL.shape, np.nan), SMALL), "`weights`"),
        (lambda: nas.one_hot([0, 1], SMALL), "`cells` must be integers"),
        (lambda: nas.one_hot([0, 1, 3], SMALL), "`cells` has operations"),
        (lambda: nas.all_cells(nas.SPACES["s2"]), "`space` must keep"),
        (lambda: nas.all_cells(nas.Space("x", SMALL.operations, nodes=5)), "`space` has 14348907"),
        (lambda: nas.mnist1d(10), "`num`"),
    ],
)
def test_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# Hypergradients


@pytest.fixture(scope="module")
def bilevel():
    """inner = ½wᵀHw − wᵀBa, so w(a) = H⁻¹Ba; outer = ½‖w − t‖² + cᵀa."""
    rng = np.random.default_rng(0)
    root = rng.normal(size=(5, 5))
    H, B = root @ root.T / 5 + np.eye(5), rng.normal(size=(5, 3))
    t, c, a = rng.normal(size=5), rng.normal(size=3), rng.normal(size=3)
    inner = lambda w, a: w["w"] @ (H @ w["w"]) / 2 - w["w"] @ (B @ a)  # noqa: E731
    outer = lambda w, a: jnp.sum((w["w"] - t) ** 2) / 2 + c @ a  # noqa: E731
    return inner, outer, H, B, t, c, a


def test_hypergradients_are_those_of_a_quadratic_problem(double, bilevel):
    inner, outer, H, B, t, c, a = bilevel
    w = np.linalg.solve(H, B @ a)
    rate, terms = 0.1, 4
    powers = [np.linalg.matrix_power(np.eye(5) - rate * H, k) for k in range(terms)]
    ahead = w + np.array([0.1, -0.2, 0.3, 0.0, 0.1])
    moved = ahead - rate * (H @ ahead - B @ a)
    exact = c + B.T @ np.linalg.solve(H, w - t)
    damped = c + B.T @ np.linalg.solve(H + 0.5 * np.eye(5), w - t)
    for found, at, expected in (
        (hypergradients.FirstOrder(), w, c),
        (hypergradients.Unrolled(rate), ahead, c + rate * B.T @ (moved - t)),
        (hypergradients.Neumann(terms, rate), w, c + rate * B.T @ sum(powers) @ (w - t)),
        (hypergradients.Neumann(400, rate), w, exact),
        (hypergradients.ConjugateGradients(20, 0.0, 1e-12), w, exact),
        (hypergradients.ConjugateGradients(20, 0.5, 1e-12), w, damped),
    ):
        value, slope = jax.jit(lambda w, a, found=found: found(outer, inner, {"w": w}, a))(at, a)
        np.testing.assert_allclose(slope, expected, rtol=1e-8, err_msg=str(found))
        looked_at = moved if isinstance(found, hypergradients.Unrolled) else at
        np.testing.assert_allclose(value, outer({"w": looked_at}, a), rtol=1e-12)


# Operations and cells


def by_hand(name, x, operation):
    """One edge's operation on an image (height, width, channels), by loops over places."""
    dilation = 2 if name == "dil3" else 1
    height, width, channels = x.shape
    out = np.zeros_like(x)
    relu = np.maximum(x, 0)
    for i, j in itertools.product(range(height), range(width)):
        near = [
            (3 * (di + 1) + dj + 1, i + dilation * di, j + dilation * dj)
            for di in (-1, 0, 1)
            for dj in (-1, 0, 1)
        ]
        near = [(tap, a, b) for tap, a, b in near if 0 <= a < height and 0 <= b < width]
        places = [x[a, b] for _, a, b in near]
        if name == "avgpool":
            out[i, j] = np.mean(places, axis=0)
        elif name == "maxpool":
            out[i, j] = np.max(places, axis=0)
        elif name == "conv1":
            out[i, j] = relu[i, j] @ operation.weight[:, 0]
        elif name == "conv3":
            kernel = np.asarray(operation.weight[:, 0]).reshape(9, channels, -1)
            out[i, j] = sum(relu[a, b] @ kernel[tap] for tap, a, b in near)
        else:
            depthwise = np.asarray(operation.depthwise[:, 0])
            out[i, j] = sum(relu[a, b] * depthwise[tap] for tap, a, b in near)
            out[i, j] = out[i, j] @ operation.pointwise[:, 0]
    return out


@pytest.mark.parametrize("name", ["avgpool", "maxpool", "conv1", "conv3", "sep3", "dil3"])
def test_operations_on_images_are_those_of_the_books(rng, name):
    """A column of an image is a signal where it is one place wide."""
    x = rng.normal(size=(5, 4, 3)).astype(np.float32)
    key = jax.random.key(0)
    operation = OPERATIONS[name](1, 3, 2, key)
    found = jax.jit(lambda x: operation(x, key))(x)[:, :, 0]
    np.testing.assert_allclose(found, by_hand(name, x, operation), atol=1e-5)


def test_signals_are_images_one_place_wide(rng):
    x = rng.normal(size=(6, 3)).astype(np.float32)
    key = jax.random.key(0)
    of_image, of_signal = (OPERATIONS["conv3"](2, 3, axes, key) for axes in (2, 1))
    middle = of_image.weight.reshape(3, 3, 3, 2, 3)[:, 1].reshape(9, 2, 3)
    of_signal = eqx.tree_at(lambda op: op.weight, of_signal, middle)
    np.testing.assert_allclose(of_signal(x, key), of_image(x[:, None], key)[:, 0], atol=1e-5)


def test_a_discrete_supernet_computes_what_its_cell_says(rng):
    """node 1 = conv3(input), node 2 = input + avg(node 1), by hand."""
    space = nas.Space("hand", ("none", "skip", "conv3", "avgpool"), nodes=2)
    net = nas.Supernet(space, (2, 6), 3, jax.random.key(0), width=4, depth=1)
    x = rng.normal(size=(2, 6)).astype(np.float32)
    found = eqx.filter_jit(net)(x, nas.one_hot([2, 1, 3], space))

    def conv(x, weight):
        padded = np.pad(x, ((1, 1), (0, 0)))
        near = np.concatenate([padded[:-2], padded[1:-1], padded[2:]], axis=1)
        made = near @ np.asarray(weight)
        return (made - made.mean()) / np.sqrt(made.var() + 1e-5)

    start = conv(x.T, net.stem[:, 0])
    one = conv(np.maximum(start, 0), net.cells[0].operations[0]["conv3"].weight[:, 0])
    sums = np.pad(one, ((1, 1), (0, 0)))
    counts = np.array([2, 3, 3, 3, 3, 2])[:, None]
    two = start + (sums[:-2] + sums[1:-1] + sums[2:]) / counts
    two = np.maximum((two - two.mean()) / np.sqrt(two.var() + 1e-5), 0)
    expected = np.asarray(net.classifier.weight) @ two.mean(0) + np.asarray(net.classifier.bias)
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"`x` must have shape \(2, 6\)"):
        net(jnp.zeros((2, 7)), nas.one_hot([2, 1, 3], space))


def test_images_pass_through_cells_with_two_inputs_and_noise():
    space = nas.Space("two", ("noise", "skip"), nodes=1, inputs=2)
    net = nas.Supernet(space, (1, 7, 6), 3, jax.random.key(0), width=2, depth=2)
    call = jax.jit(lambda x, cell, key: net(x, cell, key))
    x = jax.random.normal(jax.random.key(1), (2, 1, 7, 6))
    skips, noisy = (nas.one_hot(cell, space) for cell in ([1, 1], [0, 1]))
    keys = jax.random.split(jax.random.key(2))
    assert call(x[0], skips, keys[0]).shape == (3,)
    np.testing.assert_array_equal(call(x[0], skips, keys[0]), call(x[0], skips, keys[1]))
    assert np.abs(call(x[0], noisy, keys[0]) - call(x[0], noisy, keys[1])).max() > 1e-3


@pytest.mark.parametrize("name", relaxations.RELAXATIONS)
def test_single_precision_stays_so_where_double_is_on(double, name):
    space, relaxation = nas.SPACES["s1"], relaxations.RELAXATIONS[name]()
    cast = lambda leaf: leaf.astype(jnp.float32) if eqx.is_inexact_array(leaf) else leaf  # noqa: E731

    def call(key):
        net = nas.Supernet(space, (1, 8), 2, key, width=2)
        alpha = cast(relaxation.init(space, key))
        weights = relaxation.weights(alpha, space, jnp.asarray(0.7), key)
        return jax.tree.map(cast, net)(jnp.ones((1, 8), jnp.float32), weights, key)

    assert jax.eval_shape(call, jax.random.key(0)).dtype == jnp.float32


def test_cells_keep_the_heaviest_edges(rng):
    space = nas.SPACES["s3"]
    weights = rng.random((2, *space.shape))
    cells = nas.discretise(weights, space)
    for cell, of_edges in zip(cells, weights, strict=True):
        for target in range(space.inputs, space.inputs + space.nodes):
            entering = [i for i, edge in enumerate(space.edges) if edge[1] == target]
            without_none = {i: max(of_edges[i][1:]) for i in entering}
            kept = sorted(entering, key=lambda i: without_none[i])[-2:]
            for i in entering:
                expected = 1 + int(np.argmax(of_edges[i][1:])) if i in kept else -1
                assert cell[i] == expected
    assert (nas.discretise(np.eye(3)[[2, 0, 1]], SMALL) == [2, 0, 1]).all()
    assert nas.count_operation(cells, space, "conv1").tolist() == [0, 0]
    assert nas.entropy(np.full((2, 4), 0.25)) == pytest.approx(math.log(4))


def test_every_cell_is_listed_once():
    cells = nas.all_cells(SMALL)
    assert len({tuple(cell) for cell in cells.tolist()}) == len(cells) == 27
    choices = (("skip",), ("skip", "conv3"), ("none", "conv3"))
    space = nas.Space("few", SMALL.operations, nodes=2, choices=choices)
    assert nas.all_cells(space).tolist() == [[1, 1, 0], [1, 1, 2], [1, 2, 0], [1, 2, 2]]


# Search, retraining, measures

SIZES = {"steps": 110, "batch": 8, "width": 2, "depth": 1}


@pytest.fixture(scope="module")
def task():
    """Waves of two lengths, with noise."""
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=160).astype(np.int32)
    X = np.sin(np.arange(8) * np.where(y, 2.5, 0.8)[:, None] + rng.normal(size=(160, 1)))
    X = (X + 0.1 * rng.normal(size=X.shape))[:, None].astype(np.float32)
    return nas.Task(nas.Samples(X[:120], y[:120]), nas.Samples(X[120:], y[120:]))


@pytest.fixture(scope="module")
def searched(task):
    relaxation = relaxations.Temperature()
    return nas.search(SMALL, task.train, relaxation, seeds=(0, 1), **SIZES)


def test_a_search_learns_and_its_results_belong_together(task, searched):
    first, last = searched.history
    assert (first.done, last.done, last.steps) == (100, 110, 110)
    assert max(last.train_losses) < 0.5  # log 2 = .69 by guessing
    weights = [relaxations.Temperature().weights(alpha, SMALL) for alpha in searched.alpha]
    np.testing.assert_allclose(searched.weights, weights, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(searched.cells, nas.discretise(searched.weights, SMALL))
    assert last.cells == tuple(map(tuple, searched.cells.tolist()))
    np.testing.assert_allclose(last.entropies, nas.entropy(searched.weights), rtol=1e-6)
    assert searched.alpha.dtype == np.float32  # as the samples are


def test_searches_do_not_depend_on_their_company(task, searched):
    relaxation = relaxations.Temperature()
    other = nas.search(SMALL, task.train, relaxation, seeds=(7, 0), **SIZES)
    np.testing.assert_allclose(other.alpha[1], searched.alpha[0], atol=1e-5)
    assert np.abs(other.alpha[0] - searched.alpha[1]).max() > 1e-4


def test_a_shift_moves_a_sample_as_a_whole_and_fills_with_zeros():
    places = jnp.arange(1.0, 31.0).reshape(1, 5, 6)  # none is zero
    moved = jax.vmap(nas.Shift(2), (None, 0))(places, jax.random.split(jax.random.key(0), 200))
    padded = np.pad(np.asarray(places[0]), 2)
    possible = {padded[i : i + 5, j : j + 6].tobytes() for i in range(5) for j in range(5)}
    assert {np.asarray(image[0]).tobytes() for image in moved} == possible
    with pytest.raises(ValueError, match="`places` must be a positive"):
        nas.Shift(0)
    with pytest.raises(ValueError, match="`places` must be below the lengths"):
        nas.Shift(5)(places, jax.random.key(0))


def test_weights_and_architectures_are_learned_from_augmented_samples(task, searched):
    """Where every sample becomes zero, there is nothing to learn."""
    nothing = Nothing()
    relaxation = relaxations.Temperature()
    found = nas.search(
        SMALL, task.train, relaxation, seeds=(0, 1), augment=nothing, every=200, **SIZES
    )
    trained = nas.retrain(
        SMALL, found.cells, task.train, seeds=(0, 1), augment=nothing, every=200, **SIZES
    )
    last = found.history[-1]
    for losses in (last.train_losses, last.losses, trained.losses[:, -20:].mean(1)):
        assert min(losses) > 0.6  # log 2 = .69 by guessing
    assert max(searched.history[-1].train_losses) < 0.5


class Nothing(eqx.Module):
    def __call__(self, x, key):
        return 0 * x


def test_accuracy_is_the_part_of_right_answers(task, searched):
    found = nas.accuracy(searched.supernets, searched.weights, task.test)
    call = eqx.filter_jit(
        eqx.filter_vmap(lambda net, w, X: jax.vmap(lambda x: net(x, w))(X), in_axes=(0, 0, None))
    )
    answers = np.argmax(call(searched.supernets, searched.weights, task.test.X), axis=-1)
    np.testing.assert_allclose(found, (answers == task.test.y).mean(1), rtol=1e-6)


@pytest.mark.slow
def test_curvature_is_that_of_finite_differences(double, task, searched):
    """The largest eigenvalue of differences of gradients, in double precision."""
    relaxation = relaxations.Softmax()
    samples = nas.Samples(task.test.X[:8].astype(float), task.test.y[:8])
    doubled = lambda tree: jax.tree.map(  # noqa: E731
        lambda leaf: leaf.astype(float) if eqx.is_array(leaf) else leaf, tree
    )
    found = nas.curvature(doubled(searched), relaxation, samples)
    net = jax.tree.map(
        lambda leaf: leaf[1] if eqx.is_array(leaf) else leaf, doubled(searched.supernets)
    )

    @eqx.filter_jit
    @eqx.filter_grad
    def slope(alpha):
        logits = jax.vmap(lambda x: net(x, relaxation.weights(alpha, SMALL)))(samples.X)
        chosen = jax.nn.log_softmax(logits)[jnp.arange(8), samples.y]
        return -jnp.mean(chosen)

    alpha, step = searched.alpha[1].astype(float), 1e-5
    moves = step * np.eye(alpha.size).reshape(-1, *alpha.shape)
    columns = [(slope(alpha + m) - slope(alpha - m)).ravel() / (2 * step) for m in moves]
    np.testing.assert_allclose(found[1], np.linalg.eigvalsh(np.array(columns))[-1], rtol=1e-6)


def test_the_table_has_every_cell_and_regret_is_what_is_missed(task, tmp_path):
    space = nas.Space("tiny", ("none", "skip", "conv3"), nodes=1)
    counts = []
    options = {**SIZES, "steps": 60, "checkpoint": tmp_path, "callback": counts.append}
    found = nas.table(space, task, seeds=(0, 1), **options)
    assert counts == [1, 2]
    assert found.cells.tolist() == [[0], [1], [2]]
    alone = nas.retrain(
        space, [[0], [2], [2]], task.train, seeds=(1, 1, 0), **{**SIZES, "steps": 60}
    )
    np.testing.assert_array_equal(alone.networks.weights, nas.one_hot([[0], [2], [2]], space))
    expected = found.accuracies[[0, 2, 2], [1, 1, 0]]
    np.testing.assert_allclose(alone.accuracy(task.test), expected, atol=1e-6)
    means = found.accuracies.mean(1)
    assert means[2] > means[0]  # nothing arrives
    np.testing.assert_allclose(found.regret([[0], [2]]), means.max() - means[[0, 2]])
    with pytest.raises(ValueError, match="`cells` has one"):
        found.regret([[-1]])


def test_searches_check_what_they_are_given(task):
    X, y = task.train
    search = lambda samples, **options: nas.search(  # noqa: E731
        SMALL, samples, relaxations.Softmax(), **options
    )
    for samples, options, message in (
        (nas.Samples(X[:, 0], y), {}, "`samples` must have X of shape"),
        (nas.Samples(X, y.astype(float)), {}, "`samples` must have X of shape"),
        (nas.Samples(np.full_like(X, np.nan), y), {}, "`samples.X` contains NaN"),
        (nas.Samples(X, y - 1), {}, "`samples` must have classes"),
        (task.train, {"batch": 61}, "`batch` must be at most half"),
        (task.train, {"batch": 8, "seeds": ()}, "`seeds` is empty"),
        (task.train, {"steps": 0}, "`steps`"),
    ):
        with pytest.raises(ValueError, match=message):
            search(samples, **options)
    with pytest.raises(ValueError, match="`seeds` must be as many"):
        nas.retrain(SMALL, [[0, 0, 0]], task.train, seeds=(0, 1))


# Figures, data and the command


def test_figures_show_the_cell_and_the_search(searched):
    from matplotlib.figure import Figure

    first, second = Figure().subplots(1, 2)
    assert nas.draw_cell([2, 0, -1], SMALL, first) is first
    shown = [text.get_text() for text in first.texts]
    assert sorted(filter(None, shown)) == ["0", "1", "2", "conv3"]
    assert shown.count("") == 1  # one arrow: "none" and no operation have none
    nas.draw_search(searched, second)
    curves = np.array([line.get_ydata() for line in second.get_lines()])
    expected = [*zip(*(h.losses for h in searched.history), strict=True)]
    expected += zip(*(h.entropies for h in searched.history), strict=True)
    np.testing.assert_allclose(curves, expected)


def test_mnist1d_is_generated_and_leaves_the_global_generator_alone():
    pytest.importorskip("mnist1d")
    np.random.seed(3)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    found = nas.mnist1d(50)
    assert np.random.random() == expected  # noqa: NPY002
    assert found.train.X.shape == (40, 1, 40)
    assert found.test.X.shape == (10, 1, 40)
    assert found.classes == 10


def test_files_are_read_split_and_scaled(tmp_path, rng):
    X, y = 5 + 3 * rng.normal(size=(60, 4, 6)), rng.integers(3, size=60)
    np.savez(tmp_path / "a.npz", X=X, y=y)
    images = nas.load_task(tmp_path / "a.npz", axes=2)
    assert images.train.X.shape == (48, 1, 4, 6)
    assert nas.load_task(tmp_path / "a.npz", axes=1).test.X.shape == (12, 4, 6)
    assert abs(images.train.X.mean()) < 1e-5
    assert abs(images.train.X.std() - 1) < 1e-5
    together = np.concatenate([images.train.X, images.test.X]).reshape(60, -1)
    slope = np.polyfit(np.sort(together[:, 0]), np.sort(X[:, 0, 0]), 1)
    np.testing.assert_allclose(
        np.sort(together[:, 0]) * slope[0] + slope[1], np.sort(X[:, 0, 0]), atol=1e-4
    )
    np.savez(tmp_path / "b.npz", X=X, y=y, X_test=X[:5], y_test=y[:5])
    given = nas.load_task(tmp_path / "b.npz", axes=1)
    np.testing.assert_allclose(given.test.X, given.train.X[:5])
    assert (len(given.train.y), len(given.test.y), given.classes) == (60, 5, 3)


def arrays(**changes):
    found = {"X": np.ones((20, 8)), "y": np.arange(20) % 2} | changes
    return {key: value for key, value in found.items() if value is not None}


NAN = np.where(np.eye(20, 8), np.nan, 1.0)


@pytest.mark.parametrize(
    ("changes", "axes", "message"),
    [
        ({"y": None}, None, "has no 'y'; its keys are X"),
        ({"X": None}, None, "has no 'X'"),
        ({"X": np.ones((20, 4, 2))}, None, "say whether these are signals"),
        ({"X": np.ones(20)}, None, r"X must be \(samples"),
        ({"X": np.ones((20, 8))}, 2, r"X must be \(samples"),
        ({"X": NAN}, None, "X contains NaN"),
        ({"X": np.full((20, 8), "a")}, None, "X must be real numbers"),
        ({"y": np.ones(20)}, None, "y must be a vector of integers"),
        ({"y": np.arange(19) % 2}, None, "X has 20 samples, y 19"),
        ({"y": np.arange(20) % 2 - 1}, None, "y must be integers from 0"),
        ({"y": np.zeros(20, int)}, None, "y has one class"),
        ({"X_test": np.ones((5, 8))}, None, "has no 'y_test'"),
        ({"X_test": np.ones((5, 9)), "y_test": np.ones(5, int)}, None, "samples of X_test"),
        ({"X_test": np.ones((5, 8)), "y_test": np.full(5, 2)}, None, "has class 2"),
        ({"X": np.ones((4, 8)), "y": np.arange(4) % 2}, None, "too few"),
    ],
)
def test_bad_files_are_named(tmp_path, changes, axes, message):
    file = tmp_path / "mine.npz"
    np.savez(file, **arrays(**changes))
    with pytest.raises(ValueError, match=rf"mine\.npz: .*{message}"):
        nas.load_task(file, axes)


def test_what_is_no_file_of_arrays_is_named(tmp_path):
    (tmp_path / "text.npz").write_text("no arrays")
    with pytest.raises(ValueError, match=r"text\.npz: cannot be read"):
        nas.load_task(tmp_path / "text.npz")
    for path in (tmp_path, tmp_path / "missing.npz"):
        with pytest.raises(FileNotFoundError, match=path.name):
            nas.load_task(path)
    with pytest.raises(ValueError, match="`axes`"):
        nas.load_task(tmp_path / "text.npz", axes=3)


def command(data, out, *options):
    sizes = [f"--{name}={size}" for name, size in SIZES.items()]
    where = ["--data", str(data), "--out", str(out)]
    return ["nas", "--space", "small", "--shift", "1", *where, *sizes, *map(str, options)]


@pytest.fixture
def data(task, tmp_path):
    file = tmp_path / "waves.npz"
    test = {"X_test": task.test.X[:, 0], "y_test": task.test.y}
    np.savez(file, X=task.train.X[:, 0], y=task.train.y, **test)
    return file


def test_command_interrupted_goes_on_and_reports(data, tmp_path, capsys, monkeypatch):
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert main(command(data, whole)) == 0
    assert {file.name for file in whole.iterdir()} == {"report.json", "cells.png", "search.png"}
    report = json.loads((whole / "report.json").read_text())
    assert report["samples"] == [120, 40]
    assert report["settings"]["shift"] == 1
    for found in report["searches"]:
        gap = found["accuracy_of_supernet"] - found["accuracy_when_discrete"]
        assert found["gap"] == pytest.approx(gap)
        assert found["accuracy_when_trained_anew"] > 0.4
        cell = [SMALL.operations.index(name) for name in found["cell"]]
        assert cell == nas.discretise(np.array(found["weights"]), SMALL).tolist()
    printed = capsys.readouterr().out
    assert "supernet" in printed
    assert f"0→1 {report['searches'][0]['cell'][0]}" in printed

    advance, calls = nas._search.advance, []

    def dying(*args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return advance(*args)

    with monkeypatch.context() as patch:
        patch.setattr(nas._search, "advance", dying)
        assert main(command(data, out)) == 130
    assert not out.exists()
    assert main(command(data, out, "--relaxation", "softmax")) == 2
    assert "with other relaxation" in capsys.readouterr().err
    assert main(command(data, out, "--shift", "0")) == 2
    assert "with other augment" in capsys.readouterr().err
    assert main(command(data, out)) == 0
    assert not (tmp_path / "out-unfinished").exists()
    assert (out / "report.json").read_bytes() == (whole / "report.json").read_bytes()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--data", "nowhere.npz"], "nowhere.npz: no such file"),
        (["--batch", "61"], "`batch` must be at most half"),
        (["--axes", "2"], "X must be"),
        (["--shift", "8"], "`places` must be below"),
    ],
)
def test_problems_are_one_line_with_status_2(data, tmp_path, capsys, options, expected):
    assert main(command(data, tmp_path / "out", *options)) == 2
    message = capsys.readouterr().err
    assert message.startswith("sparsejax: error: ")
    assert message.count("\n") == 1
    assert expected in message


def test_axes_belong_to_a_file(tmp_path, capsys):
    assert main(["nas", "--axes", "1", "--out", str(tmp_path / "out")]) == 2
    assert "--axes" in capsys.readouterr().err


def test_a_loss_that_is_not_finite_is_named(task, tmp_path, monkeypatch):
    def diverged(step, state, *rest):
        return state, jnp.array([[0.5, 0.5], [0.5, jnp.nan]])

    monkeypatch.setattr(nas._search, "advance", diverged)
    relaxation, file = relaxations.Temperature(), tmp_path / "run"
    with pytest.raises(FloatingPointError, match=r"searches \[1\] is not finite within steps 0 to"):
        nas.search(SMALL, task.train, relaxation, seeds=(0, 1), checkpoint=file, **SIZES)
    assert not file.exists()
