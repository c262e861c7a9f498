"""Batches under ``vmap``: every problem as if it were alone, each with its own gap and result."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax import penalties, solvers

pytestmark = pytest.mark.usefixtures("float64")

N, P, NUM, TOL = 24, 40, 4, 1e-10
RNG = np.random.default_rng(0)
ALONE = {
    "X": RNG.normal(size=(N, P)),
    "y": RNG.normal(size=N),
    "strength": np.array(0.1),
    "weights": np.ones(N),
    "max_steps": np.array(100),
}
BATCHES = {
    "strengths": {"strength": np.array([0.3, 0.1, 0.03, 1.0])},
    "folds and resamples": {
        "weights": np.r_[
            1.0 - np.kron(np.eye(2), np.ones(N // 2)),
            RNG.multinomial(N, np.ones(N) / N, size=2),
        ]
    },
    "data sets": {"X": RNG.normal(size=(NUM, N, P)), "y": RNG.normal(size=(NUM, N))},
}


def solution(solver, data):
    penalty = penalties.L1(data["strength"])
    problem = sj.Problem(data["X"], data["y"], sj.losses.Squared(data["weights"]), penalty, True)
    return sj.solve(problem, solver, TOL, max_steps=data["max_steps"], throw=False)


@eqx.filter_jit
def alone(data):
    return solution(None, data)


@eqx.filter_jit
def together(solver, data, names):
    axes = ({name: 0 if name in names else None for name in data},)
    return jax.vmap(lambda data: solution(solver, data), in_axes=axes)(data)


def each(batch):
    """The data of every problem of a batch."""
    for k in range(NUM):
        yield {**ALONE, **{name: values[k] for name, values in batch.items()}}


def arrays(data):
    return {name: jnp.asarray(values) for name, values in data.items()}


@pytest.mark.parametrize("name", BATCHES)
def test_lockstep_solves_every_problem(name):
    batch = BATCHES[name]
    found = together(solvers.Lockstep(), arrays({**ALONE, **batch}), tuple(batch))
    assert np.all(found.gap <= TOL)
    assert np.all(found.result == sj.RESULTS.successful)
    for k, data in enumerate(each(batch)):
        single = alone(arrays(data))
        np.testing.assert_allclose(found.coef[k], single.coef, atol=1e-4)
        np.testing.assert_allclose(found.objective[k], single.objective, rtol=1e-9)
        np.testing.assert_array_equal(found.coef[k] != 0, single.coef != 0)


@pytest.mark.parametrize(
    "solver", [None, solvers.Lockstep(), solvers.FISTA(batched=True)], ids=["auto", "lock", "fista"]
)
def test_a_problem_that_fails_leaves_the_others_alone(solver):
    batch = {**BATCHES["data sets"], "max_steps": np.array([100_000, 0, 100_000, 100_000])}
    found = together(solver, arrays({**ALONE, **batch}), tuple(batch))
    failed = np.arange(NUM) == 1
    np.testing.assert_array_equal(found.result == sj.RESULTS.max_steps_reached, failed)
    np.testing.assert_array_equal(found.result == sj.RESULTS.successful, ~failed)
    np.testing.assert_array_equal(found.gap > TOL, failed)
    assert not np.any(found.coef[1])
    exact = 1e-9 if solver is None else 1e-4  # in turn, a batch is nothing but a loop
    for k, data in enumerate(each(BATCHES["data sets"])):
        if not failed[k]:
            np.testing.assert_allclose(found.coef[k], alone(arrays(data)).coef, atol=exact)


@pytest.mark.slow
def test_a_batch_of_batches():
    """Two axes at once."""
    data = arrays(ALONE)
    grid = jax.vmap(
        jax.vmap(
            lambda y, s: solution(solvers.Lockstep(), {**data, "y": y, "strength": s}), (None, 0)
        ),
        (0, None),
    )
    ys, strengths = jnp.asarray(RNG.normal(size=(2, N))), jnp.array([0.3, 0.1])
    found = jax.jit(grid)(ys, strengths)
    assert found.gap.shape == (2, 2)
    for i in range(2):
        for j in range(2):
            single = alone({**data, "y": ys[i], "strength": strengths[j]})
            np.testing.assert_allclose(found.coef[i, j], single.coef, atol=1e-4)


@pytest.mark.slow
def test_the_derivatives_of_a_batch():
    data, strengths = arrays(ALONE), jnp.array([0.3, 0.1])

    def size(solver, strength):
        return jnp.sum(solution(solver, {**data, "strength": strength}).coef ** 2)

    slopes = jax.jit(jax.vmap(jax.grad(lambda s: size(solvers.Lockstep(), s))))(strengths)
    expected = jax.jit(jax.grad(lambda s: size(None, s)))
    np.testing.assert_allclose(slopes, [expected(s) for s in strengths], rtol=1e-5)


@pytest.mark.parametrize(
    ("penalty", "shape"),
    [
        (penalties.ElasticNet(0.1, 0.7), ()),
        (penalties.L1(0.1, nonnegative=True), ()),
        (penalties.L1(0.1, weights=np.r_[0.0, np.inf, np.ones(P - 2)]), ()),
        (penalties.RowL2(0.1), (3,)),
        (penalties.GroupL2(0.1, np.arange(P) % 10), ()),
        (penalties.SparseGroup(0.1, np.arange(P) // 4, 0.5), ()),
    ],
    ids=["elastic net", "nonnegative", "weights", "rows", "groups", "sparse groups"],
)
@pytest.mark.slow
def test_lockstep_takes_what_working_sets_take(penalty, shape):
    targets = jnp.asarray(RNG.normal(size=(NUM, N, *shape)))

    def fit(solver, y):
        return sj.solve(sj.Problem(ALONE["X"], y, penalty=penalty), solver, TOL, throw=False)

    found = jax.jit(jax.vmap(lambda y: fit(solvers.Lockstep(), y)))(targets)
    assert np.all(found.gap <= TOL)
    single = jax.jit(lambda y: fit(None, y))
    for k in range(NUM):
        np.testing.assert_allclose(found.coef[k], single(targets[k]).coef, atol=1e-4)


def test_lockstep_says_what_it_does_not_take():
    logistic = sj.Problem(ALONE["X"], np.sign(ALONE["y"]), sj.losses.Logistic(), penalties.L1(0.1))
    with pytest.raises(TypeError, match="Lockstep does not support Logistic: use FISTA"):
        sj.solve(logistic, solvers.Lockstep())
    concave = sj.Problem(ALONE["X"], ALONE["y"], penalty=penalties.MCP(0.1))
    with pytest.raises(TypeError, match="Lockstep does not support MCP"):
        sj.solve(concave, solvers.Lockstep())


def test_the_gap_of_a_batch_is_differentiable():
    """The certificate agrees on branches within a batch, which has no derivative."""
    problem = sj.Problem(ALONE["X"], ALONE["y"], penalty=penalties.L1(0.1))
    coefs = jnp.stack([jnp.full(P, 0.01), jnp.linspace(-0.1, 0.1, P)])
    step = 1e-6 * jnp.ones(P)

    @jax.jit
    @jax.vmap
    def slopes(coef):
        gap = lambda c: sj.duality_gap(problem, c)  # noqa: E731
        return jax.grad(gap)(coef) @ step, gap(coef + step) - gap(coef - step)

    derivative, difference = slopes(coefs)
    np.testing.assert_allclose(2 * derivative, difference, rtol=1e-5)
