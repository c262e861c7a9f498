"""Sparse networks for equations: residuals, references, training, resuming, figures, command."""

import json
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.integrate import solve_ivp

import sparsejax as sj
from sparsejax._cli._main import main
from sparsejax.applications import pde
from sparsejax.applications.pde._levenberg_marquardt import levenberg_marquardt
from sparsejax.applications.pde._phases import _jacobian
from sparsejax.applications.pde._proximal_adam import proximal_adam
from sparsejax.applications.pde._terms import Sample, rows, telling

DOMAIN = pde.Box((0.0, -1.0), (1.0, 1.0))


# Derivatives and residuals


def wave(x):
    """A field whose derivatives are known: eᵗ sin 2x and eᵗ cos 2x."""
    return jnp.exp(x[0]) * jnp.stack([jnp.sin(2 * x[1]), jnp.cos(2 * x[1])])


def test_derivatives_are_those_of_the_calculus(float64):
    x = jnp.array([0.3, 0.7])
    found = pde.derivatives(wave, x, axis=1, order=3)
    e, s, c = np.exp(0.3), np.sin(1.4), np.cos(1.4)
    expected = e * np.array([[s, c], [2 * c, -2 * s], [-4 * s, -4 * c], [-8 * c, 8 * s]])
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose(pde.derivatives(wave, x, axis=0)[1], e * np.array([s, c]))


def residual_at(problem, u, x):
    (row,) = problem.terms[0].residuals(u, jnp.array([x]))
    return np.asarray(row)


def test_equations_are_those_of_the_books(float64):
    """On the wave, whose derivatives stand here by hand."""
    x, first = [0.3, 0.7], lambda x: wave(x)[:1]
    e, s, c = np.exp(0.3), np.sin(1.4), np.cos(1.4)
    a, b = e * s, e * c
    burgers = a + a * 2 * b + 0.2 * 4 * a
    np.testing.assert_allclose(residual_at(pde.burgers(0.2), first, x), [burgers])
    allen_cahn = a + 1e-4 * 4 * a - 5 * (a - a**3)
    np.testing.assert_allclose(residual_at(pde.allen_cahn("soft"), first, x), [allen_cahn])
    h = a + 1j * b
    schroedinger = 1j * h + 0.5 * -4 * h + abs(h) ** 2 * h  # h_t = h, h_xx = −4h
    expected = [schroedinger.imag, schroedinger.real]
    found = residual_at(pde.schroedinger(), wave, x)
    np.testing.assert_allclose(np.abs(found), np.abs(expected), rtol=1e-12)


def test_conditions_hold_for_the_solution_and_not_for_others(float64):
    def exact(x):  # satisfies initial and boundary conditions, not the equation
        return -jnp.sin(jnp.pi * x[1:]) * (1 - x[0])

    def bound(x):  # the soliton at time zero, alike at both ends
        return jnp.stack([2 / jnp.cosh(x[1]), jnp.zeros(())])

    for problem, u in ((pde.burgers(), exact), (pde.schroedinger(), bound)):
        points = problem.draw(jax.random.key(0), 20)
        assert len(problem.terms) > 2
        for term, at in list(zip(problem.terms, points, strict=True))[1:]:
            slack = 0.06 if term.name == "periodic" else 1e-12  # its slope jumps by 4 sech 5
            assert np.abs(term.residuals(u, at)).max() < slack, term.name
            assert np.abs(term.residuals(lambda x, u=u: u(x) + x[1], at)).max() > 0.1, term.name


def test_hard_conditions_hold_for_any_network():
    for problem in (pde.burgers(conditions="hard"), pde.allen_cahn()):
        (term,) = problem.terms
        assert term.name == "equation"
        u = problem.field(lambda x: 1 + jnp.sum(x, keepdims=True))
        x = np.linspace(-1, 1, 9)
        start = {"b": -np.sin(np.pi * x), "a": x**2 * np.cos(np.pi * x)}[problem.name[0]]
        found = jax.vmap(u)(jnp.stack([jnp.zeros(9), jnp.asarray(x)], axis=1))[:, 0]
        np.testing.assert_allclose(found, start, atol=1e-6)
        for end in (-1.0, 1.0):
            at = u(jnp.array([0.5, end]))
            np.testing.assert_allclose(at, start[[0]], atol=1e-6)
        assert u(jnp.array([0.5, 0.5])) != start[6]
    soliton = pde.schroedinger(conditions="hard")
    assert [term.name for term in soliton.terms] == ["equation", "periodic"]
    u = soliton.field(lambda x: 1 + x)
    np.testing.assert_allclose(u(jnp.array([0.0, 1.0])), [2 / np.cosh(1), 0], rtol=1e-6)
    assert u(jnp.array([0.5, 1.0]))[1] != 0


def test_points_fill_every_slice_of_their_box():
    points = np.asarray(pde.Box((0, -1), (1, 3)).sample(16, jax.random.key(0)))
    assert points.shape == (16, 2)
    for column, low, width in ((points[:, 0], 0, 1 / 16), (points[:, 1], -1, 4 / 16)):
        assert sorted(np.floor((column - low) / width)) == list(range(16))
    face = DOMAIN.face(1, "lower").sample(8, jax.random.key(0))
    assert (face[:, 1] == -1).all()
    assert len(np.unique(face[:, 0])) == 8


def test_samples_are_drawn_without_replacement():
    data = pde.function_fit(num=12).terms[0]
    points, values = data.draw(jax.random.key(0), 7)
    places = [
        np.flatnonzero(np.asarray(data.points)[:, 0] == x)[0] for x in np.asarray(points)[:, 0]
    ]
    assert len(set(places)) == 7
    np.testing.assert_array_equal(values, data.values[np.array(places)])
    assert data.draw(jax.random.key(0), 99)[0] is data.points


def test_networks_see_the_domain_from_minus_one_to_one():
    box = pde.Box((0.0, -5.0), (2.0, 5.0))
    found = box.normalise(jnp.array([0.5, 5.0]))
    np.testing.assert_allclose(found, [-0.5, 1.0])


# References against one another


@pytest.mark.slow
def test_cole_hopf_agrees_with_the_method_of_lines():
    pytest.importorskip("diffrax")
    viscosity = 0.1 / math.pi
    lines = pde.burgers_method_of_lines(viscosity, num=128)
    exact = pde.burgers_cole_hopf(viscosity, *lines.axes)
    assert exact.values.shape == (11, 128, 1)
    assert np.abs(exact.values - lines.values).max() < 1e-5
    coarse = pde.burgers_method_of_lines(viscosity, num=32)
    assert (
        np.abs(pde.burgers_cole_hopf(viscosity, *coarse.axes).values - coarse.values).max() > 1e-4
    )
    assert np.isfinite(pde.burgers_cole_hopf(0.01 / math.pi).values).all()


def test_allen_cahn_reference_solves_its_equation():
    """Against SciPy, with second differences instead of Fourier's derivatives."""
    pytest.importorskip("diffrax")
    found = pde.allen_cahn_method_of_lines(num=256)
    x = found.axes[1]

    def slope(t, u):
        curvature = (np.roll(u, 1) - 2 * u + np.roll(u, -1)) / (2 / 256) ** 2
        return 1e-4 * curvature + 5 * (u - u**3)

    peer = solve_ivp(slope, (0, 0.5), x**2 * np.cos(np.pi * x), rtol=1e-6, atol=1e-8)
    inside = np.abs(x) < 0.9  # the start has a kink at the ends
    assert np.abs(found.values[50, inside, 0] - peer.y[inside, -1]).max() < 5e-3


def test_split_steps_agree_with_scipy():
    found = pde.schroedinger_split_step(num=64, steps=1000)
    frequencies = 2 * np.pi * np.fft.fftfreq(64, 10 / 64)

    def slope(t, h):
        curvature = np.fft.ifft(-(frequencies**2) * np.fft.fft(h))
        return 1j * (curvature / 2 + np.abs(h) ** 2 * h)

    end = found.axes[0][40]
    start = 2 / np.cosh(found.axes[1]) + 0j
    peer = solve_ivp(slope, (0, end), start, rtol=1e-8, atol=1e-9).y[:, -1]
    assert np.abs(found.values[40] @ [1, 1j] - peer).max() < 1e-3


# Training


def test_proximal_adam_stays_at_the_minimiser_of_loss_and_penalties(float64):
    """½ Σ d (w − c)² + Σ strength |w| is minimal at the soft threshold of c, whatever d is."""
    rng = np.random.default_rng(0)
    c = {name: jnp.asarray(rng.normal(size=(3, 4))) for name in "abc"}
    d = {name: jnp.asarray(np.exp(rng.normal(size=(3, 4)))) for name in "abc"}
    loss = lambda w: sum(jnp.sum(d[n] * (w[n] - c[n]) ** 2) / 2 for n in w)  # noqa: E731
    strengths = {"a": 0.3, "b": 1.0}
    penalties = {name: sj.penalties.L1(s) for name, s in strengths.items()}
    optimiser = proximal_adam(optax.cosine_decay_schedule(0.05, 3000, 1e-3), penalties)

    def step(carry, _):
        w, state = carry
        updates, state = optimiser.update(jax.grad(loss)(w), state, w)
        return (optax.apply_updates(w, updates), state), None

    start = jax.tree.map(jnp.ones_like, c)
    (w, _), _ = jax.lax.scan(step, (start, optimiser.init(start)), length=3000)
    for name in "abc":
        least = np.abs(c[name]) - strengths.get(name, 0.0) / d[name]
        expected = np.sign(c[name]) * np.maximum(least, 0)
        np.testing.assert_allclose(w[name], expected, atol=1e-4)
        np.testing.assert_array_equal(w[name] == 0, expected == 0)


def linear(shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape), rng.normal(size=shape[0])


@pytest.mark.parametrize("shape", [(12, 5), (5, 12)])
def test_a_damped_step_is_that_of_the_stacked_least_squares(float64, shape):
    matrix, target = linear(shape)
    residuals = lambda x: matrix @ x - target  # noqa: E731
    x = jnp.asarray(np.linspace(-1, 1, shape[1]))
    found, damping, loss = levenberg_marquardt(residuals, jnp.asarray(matrix), x, jnp.array(0.3))
    stacked = np.vstack([matrix, np.sqrt(0.3) * np.eye(shape[1])])
    right = np.concatenate([target - matrix @ x, np.zeros(shape[1])])
    np.testing.assert_allclose(found - x, np.linalg.lstsq(stacked, right)[0], atol=1e-12)
    assert loss == pytest.approx(np.sum((matrix @ x - target) ** 2))
    assert damping == pytest.approx(0.1)  # the model was exact


def test_steps_that_do_not_lower_the_sum_are_damped_or_left_out(float64):
    valley = lambda x: jnp.stack([10 * (x[1] - x[0] ** 2), 1 - x[0]])  # noqa: E731
    x, damping, losses = jnp.array([-1.2, 1.0]), jnp.array(1e-3), []
    step = jax.jit(lambda x, d: levenberg_marquardt(valley, jax.jacrev(valley)(x), x, d))
    for _ in range(60):
        x, damping, loss = step(x, damping)
        losses.append(float(loss))
    np.testing.assert_allclose(x, [1, 1], atol=1e-9)
    assert all(np.diff(losses) <= 0)
    nowhere = lambda x: jnp.where(x == 2, x, jnp.nan)  # noqa: E731
    stays, damping, _ = levenberg_marquardt(nowhere, jnp.eye(1), jnp.array([2.0]), jnp.array(1e-3))
    assert stays == 2
    assert damping > 1


def test_telling_points_have_large_residuals_and_the_same_mean(float64):
    """A hundredth of the points has most of the loss: even samples of 40 would often miss it."""
    x = np.linspace(-1, 1, 1000)[:, None]
    term = pde.Data(x, np.where(np.abs(x) < 0.01, 10.0, 0.1), weight=3.0)
    u, points = (lambda x: 0 * x), (term.points, term.values)
    draw = jax.jit(lambda key: telling(term, u, points, 40, key))
    samples = [draw(jax.random.key(i)) for i in range(100)]
    losses = [float(jnp.sum(rows(term, u, sample) ** 2)) for sample in samples]
    whole = 3 * np.mean(np.asarray(term.values) ** 2)
    assert np.mean(losses) == pytest.approx(whole, rel=0.05)
    assert min(losses) > whole / 2
    for sample in samples:
        assert sample.stands_for.max() <= 2 + 1e-9
        assert np.mean(np.abs(sample.points[0]) < 0.01) > 0.2  # evenly .01
    everything = telling(term, u, points, 1000, jax.random.key(0))
    np.testing.assert_array_equal(everything.points[0], x)
    solution = telling(term, lambda x: jnp.where(jnp.abs(x) < 0.01, 10.0, 0.1), points, 40, KEY)
    np.testing.assert_allclose(solution.stands_for, 1)


def test_jacobians_point_by_point_are_those_of_all_rows(float64):
    problem = pde.schroedinger(num=6)

    def field(x):
        return lambda p: jnp.tanh(x[:2] * p[0] + x[2:] * p[1])

    x = jnp.array([0.3, -0.5, 0.7, 0.2])
    for term, points in zip(problem.terms, problem.draw(KEY, 6), strict=True):
        sample = Sample(points, jnp.linspace(0.5, 1.5, 6))
        both = jax.jit(
            lambda x, term=term, sample=sample: (
                _jacobian(term, field, sample, x),
                jax.jacfwd(lambda x: rows(term, field(x), sample))(x),
            )
        )
        found, expected = both(x)
        np.testing.assert_allclose(found, expected, atol=1e-12)


KEY = jax.random.key(0)
PROBLEM = pde.function_fit(num=30)
OPTIONS = {"steps": 30, "refit_steps": 12, "every": 10, "learning_rate": 1e-2}
PENALTY = (sj.penalties.L1(0.0), sj.penalties.L1(0.05), sj.penalties.L1(0.0))


@pytest.fixture(scope="module")
def networks():
    return pde.networks(PROBLEM, seeds=(0, 1), width=8, depth=2)


@pytest.fixture(scope="module")
def solved(networks):
    return pde.solve(PROBLEM, networks, PENALTY, **OPTIONS)


def test_each_layer_has_its_strength_and_refits_keep_the_zeros(networks, solved):
    before = pde.solve(PROBLEM, networks, PENALTY, **{**OPTIONS, "refit_steps": 0})
    for i in range(2):
        zeros = [np.asarray(layer.weight) == 0 for layer in solved.network(i).layers]
        assert not zeros[0].any()
        assert 0.1 < zeros[1].mean() < 1
        assert not zeros[2].any()
        kept = before.network(i).layers[1].weight
        np.testing.assert_array_equal(zeros[1], kept == 0)
        assert not np.allclose(kept, solved.network(i).layers[1].weight)
    points = PROBLEM.draw(jax.random.key(0))
    for i in range(2):
        first, last = (PROBLEM.loss(of.network(i), points) for of in (before, solved))
        # The refit only descends here, where all points are taken; means of its first ten steps
        # and of its last two lie between.
        early, late = (progress.losses[i] for progress in solved.history[-2:])
        assert last < late < early < first
        assert last < 0.9 * first


def test_points_are_drawn_anew_at_every_step(networks):
    """Weights that hardly move have another loss on other samples, and each network its own."""
    options = {"steps": 3, "refit_steps": 0, "every": 1, "learning_rate": 1e-9}
    twice = jax.tree.map(lambda x: x[jnp.array([0, 0])] if eqx.is_array(x) else x, networks)
    history = pde.solve(PROBLEM, twice, batch=5, **options).history
    assert len({round(loss, 3) for step in history for loss in step.losses}) == 6
    options |= {"steps": 0, "refit_steps": 4}
    history = pde.solve(PROBLEM, twice, refit_batch=5, **options).history
    assert min(loss for step in history for loss in step.losses) > 0.01  # five would be met
    assert len({loss for loss in history[0].losses}) == 2


def test_history_is_by_phase(solved):
    assert [step[:3] for step in solved.history] == [
        *(("descent", done, 30) for done in (10, 20, 30)),
        *(("refit", done, 12) for done in (10, 12)),
    ]
    assert all(len(step.losses) == 2 for step in solved.history)


def test_networks_trained_together_are_those_trained_alone(networks, solved):
    first = jax.tree.map(lambda leaf: leaf[:1] if eqx.is_array(leaf) else leaf, networks)
    alone = pde.solve(PROBLEM, first, PENALTY, **OPTIONS)
    for a, b in zip(alone.network(0).layers, solved.network(0).layers, strict=True):
        np.testing.assert_allclose(a.weight, b.weight, rtol=0.02, atol=0.02)


def test_a_killed_run_goes_on_and_reaches_the_same_numbers(networks, solved, tmp_path):
    class Kill(BaseException):
        pass

    file = tmp_path / "somewhere" / "run"
    for stop in (1, 3, 4):  # in the descent, at its end, in the refit
        seen = []

        def kill(progress, seen=seen, stop=stop):
            seen.append(progress)
            if len(seen) + kill.before == stop:
                raise Kill

        kill.before = max(0, stop - 1 if stop == 1 else {3: 0, 4: 2}[stop])
        with pytest.raises(Kill):
            pde.solve(PROBLEM, networks, PENALTY, checkpoint=file, callback=kill, **OPTIONS)
    assert [path.name for path in file.parent.iterdir()] == ["run"]
    seen = []
    again = pde.solve(PROBLEM, networks, PENALTY, checkpoint=file, callback=seen.append, **OPTIONS)
    assert [step[:2] for step in seen] == [("refit", 10), ("refit", 12)]
    assert eqx.tree_equal(again.networks, solved.networks)
    assert again.history == solved.history


@pytest.mark.parametrize(
    ("problem", "options", "named"),
    [
        (pde.function_fit(num=30, seed=1), {}, "problem"),
        (PROBLEM, {"seed": 1}, "seed"),
        (PROBLEM, {"penalty": PENALTY[1]}, "penalty"),
    ],
)
def test_a_run_with_other_arguments_is_not_gone_on_with(
    networks, tmp_path, problem, options, named
):
    small = {"steps": 1, "refit_steps": 0}
    pde.solve(PROBLEM, networks, PENALTY, checkpoint=tmp_path / "run", **small)
    arguments = {"penalty": PENALTY} | options | small
    with pytest.raises(ValueError, match=rf"`checkpoint`: .* with other {named};"):
        pde.solve(problem, networks, checkpoint=tmp_path / "run", **arguments)


def test_a_file_that_is_no_checkpoint(networks, tmp_path):
    (tmp_path / "run").write_text("something else\n")
    with pytest.raises(ValueError, match="is not a checkpoint"):
        pde.solve(PROBLEM, networks, checkpoint=tmp_path / "run", steps=1)


def test_precision_follows_the_networks(float64, tmp_path):
    problem = pde.function_fit(num=8)
    stacked = pde.networks(problem, width=4, depth=1)
    assert stacked.layers[0].weight.dtype == jnp.float64
    single = jax.tree.map(lambda x: x.astype(jnp.float32) if eqx.is_array(x) else x, stacked)
    assert pde.predict(problem, single, np.zeros((2, 1))).dtype == np.float32
    for networks in (stacked, single):  # whatever the precision of JAX
        found = pde.solve(problem, networks, sj.penalties.L1(1e-3), steps=2, refit_steps=2)
        assert found.networks.layers[0].weight.dtype == networks.layers[0].weight.dtype


def test_errors_are_relative_to_the_reference():
    stacked = pde.networks(PROBLEM, seeds=(0, 1, 2), width=4, depth=1)
    x = np.linspace(-1, 1, 2001)
    truth = pde.singular(x)
    (first, *_), fields = pde.errors(PROBLEM, stacked), pde.predict(PROBLEM, stacked, x[:, None])
    miss = np.linalg.norm(fields[0, :, 0] - truth) / np.linalg.norm(truth)
    assert first == pytest.approx(miss, rel=1e-5)
    assert len(np.unique(fields[:, 0])) == 3


# What goes wrong


def user_problem(residual):
    return pde.Problem("mine", DOMAIN, 1, [pde.Condition(residual, DOMAIN, 4, name="my law")])


@pytest.mark.parametrize(
    ("residual", "got"),
    [
        (lambda u, x: u(x)[0], r"shape \(\)"),
        (lambda u, x: u(x)[None], r"shape \(1, 1\)"),
        (lambda u, x: u(x)[:0], r"shape \(0,\)"),
        (lambda u, x: (u(x), u(x)), "tuple"),
    ],
)
def test_a_residual_of_wrong_shape_is_named(residual, got):
    problem = user_problem(residual)
    with pytest.raises(ValueError, match=rf"'my law' must return a vector.*{got}"):
        pde.solve(problem, pde.networks(problem, width=4, depth=1), steps=1)


def test_a_loss_that_is_not_finite_is_named(tmp_path):
    problem = user_problem(lambda u, x: jnp.log(u(x) - 5))
    networks = pde.networks(problem, width=4, depth=1)
    with pytest.raises(FloatingPointError, match=r"mine: .* descent, within steps 0 to 3.*\[0\]"):
        pde.solve(problem, networks, steps=3, checkpoint=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: pde.Box((0,), (1, 2)), ValueError, "`lower` and `upper`"),
        (lambda: pde.Box((0, 2), (1, 1)), ValueError, "not above `upper`"),
        (lambda: DOMAIN.face(2, "lower"), ValueError, "`axis`"),
        (lambda: DOMAIN.face(0, "left"), ValueError, "`side`"),
        (lambda: pde.derivatives(wave, jnp.ones(2), 2), ValueError, "`axis`"),
        (lambda: pde.derivatives(wave, jnp.ones(2), 0, 0), ValueError, "`order`"),
        (lambda: pde.Condition(wave, DOMAIN, 0), ValueError, "`num`"),
        (lambda: pde.Data(jnp.ones((2, 1)), jnp.ones(2)), ValueError, "`points` and `values`"),
        (lambda: pde.Data(jnp.ones((1, 1)), jnp.full((1, 1), jnp.nan)), ValueError, "`values`"),
        (lambda: pde.Problem("none", DOMAIN, 1, ()), ValueError, "`terms`"),
        (lambda: pde.networks(PROBLEM, seeds=()), ValueError, "`seeds`"),
        (lambda: pde.networks(PROBLEM, width=0), ValueError, "`width`"),
        (lambda: pde.burgers(-1.0), ValueError, "`viscosity`"),
        (lambda: pde.burgers(conditions="none"), ValueError, "`conditions`"),
        (lambda: pde.schroedinger(conditions="none"), ValueError, "`conditions`"),
        (lambda: pde.schroedinger_split_step(steps=150), ValueError, "`steps`"),
        (lambda: pde.errors(user_problem(wave), None), ValueError, "'mine' has no reference"),
    ],
)
def test_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_penalties_are_checked(networks):
    with pytest.raises(ValueError, match="one for each of 3 weights; got 2"):
        pde.solve(PROBLEM, networks, PENALTY[:2])
    with pytest.raises(TypeError, match=r"`penalty` must be separable.*Nuclear"):
        pde.solve(PROBLEM, networks, sj.penalties.Nuclear(0.1))
    with pytest.raises(ValueError, match="`every`"):
        pde.solve(PROBLEM, networks, every=0)


def test_outputs_that_do_not_fit_the_data():
    problem = pde.Problem("two", PROBLEM.domain, 2, PROBLEM.terms)
    with pytest.raises(ValueError, match="'data' has 1 values a point, the field"):
        pde.solve(problem, pde.networks(problem, width=4, depth=1), steps=1)


# Figures and the command


def test_figures_show_field_error_and_zeros(solved):
    from matplotlib.figure import Figure

    axes = Figure().subplots(1, 6)
    assert pde.draw_solution(PROBLEM, solved.network(0), axes[0]) is axes[0]
    reference, network = axes[0].get_lines()
    x = np.asarray(reference.get_xdata())
    np.testing.assert_allclose(reference.get_ydata(), pde.singular(x))
    field = pde.predict(PROBLEM, solved.networks, x[:, None])[0, :, 0]
    np.testing.assert_allclose(network.get_ydata(), field, rtol=1e-5)
    pde.draw_error(PROBLEM, solved.network(0), axes[1])
    distance = axes[1].get_lines()[0].get_ydata()
    np.testing.assert_allclose(distance, np.abs(field - pde.singular(x)), atol=1e-5)
    pde.draw_weights(solved.network(0), 1, axes[2])
    shown = axes[2].images[0].get_array()
    zeros = np.asarray(solved.network(0).layers[1].weight) == 0
    np.testing.assert_array_equal(np.ma.getmaskarray(np.ma.masked_invalid(shown)), zeros)
    assert f"{100 * zeros.mean():.1f} % zeros" in axes[2].get_title()
    with pytest.raises(ValueError, match="`layer`"):
        pde.draw_weights(solved.network(0), 3, axes[2])
    problem = pde.burgers(conditions="hard")
    network = jax.tree.map(
        lambda leaf: leaf[0] if eqx.is_array(leaf) else leaf, pde.networks(problem, (0,), 4, 1)
    )
    pde.draw_solution(problem, network, axes[3])
    pde.draw_error(problem, network, axes[4])
    (mesh,) = axes[3].collections
    values = np.asarray(mesh.get_array())
    np.testing.assert_allclose(values[:, 0], -np.sin(np.pi * np.linspace(-1, 1, 257)), atol=1e-5)


def command(out, *options):
    return [
        *("pde", "--problem", "function", "--num", "20", "--width", "4", "--depth", "1"),
        *("--steps", "600", "--refit-steps", "5", "--strength", "1e-3,2e-3", "--seeds", "2"),
        *("--out", str(out), *map(str, options)),
    ]


def test_command_interrupted_goes_on_and_reports(tmp_path, capsys, monkeypatch):
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert main(command(whole)) == 0
    assert {file.name for file in whole.iterdir()} == {
        *("report.json", "weights.npz", "solution.png", "error.png", "weights.png")
    }
    report = json.loads((whole / "report.json").read_text())
    assert report["settings"]["strength"] == [1e-3, 2e-3]
    assert [network["seed"] for network in report["networks"]] == [0, 1]
    with np.load(whole / "weights.npz") as weights:
        zeros = [np.mean(weights["layers.0.weight"][i] == 0) for i in range(2)]
    for network, zero in zip(report["networks"], zeros, strict=True):
        assert network["sparsity_by_matrix"]["layers.0.weight"] == pytest.approx(zero)
        assert 0 < network["relative_l2_error"] < 2
    assert "relative L2" in capsys.readouterr().out

    advance, calls = pde._phases.Descent.advance, []

    def dying(*args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return advance(*args)

    with monkeypatch.context() as patch:
        patch.setattr(pde._phases.Descent, "advance", dying)
        assert main(command(out)) == 130
    assert not out.exists()
    assert main(command(out, "--steps", 700)) == 2  # another run
    assert "with other steps" in capsys.readouterr().err
    assert main(command(out)) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "whole"]
    assert (out / "report.json").read_bytes() == (whole / "report.json").read_bytes()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--viscosity", "0.1"], ["--viscosity does not go with --problem function"]),
        (["--strength", "1,2,3"], ["one for each of 2 weights; got 3"]),
    ],
)
def test_problems_are_one_line_with_status_2(tmp_path, capsys, options, expected):
    assert main(command(tmp_path / "out", *options)) == 2
    message = capsys.readouterr().err
    assert message.startswith("sparsejax: error: ")
    assert message.count("\n") == 1
    for part in expected:
        assert part in message


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--problem", "heat"], "heat"),
        (["--strength", "-1"], "numbers >= 0"),
        (["--viscosity", "0"], "a number > 0"),
        (["--seeds", "0"], ">= 1"),
    ],
)
def test_options_out_of_range_are_usage_errors(tmp_path, capsys, options, expected):
    with pytest.raises(SystemExit) as stopped:
        main(command(tmp_path / "out", *options))
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert options[0] in message
    assert expected in message


def test_a_loss_that_is_not_finite_is_a_failed_solve(tmp_path, capsys):
    assert main(command(tmp_path / "out", "--learning-rate", "1e300")) == 1
    assert "the loss is not finite" in capsys.readouterr().err
