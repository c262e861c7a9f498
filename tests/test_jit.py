"""Compilation: once a shape, inside the user's jit and vmap, and without side effects."""

import os
import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from compilations import count_compilations
from registry import SOLVERS

import sparsejax as sj
from sparsejax import losses, penalties

# Slow: a compilation a test. CI runs them on the oldest versions.
pytestmark = [pytest.mark.usefixtures("float64"), pytest.mark.slow]

N, P = 20, 40


def _data(seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(N, P)), rng.normal(size=N)


def test_the_counter_counts():
    with count_compilations() as count:
        jax.jit(lambda x: x * 3.0 + 1.25)(jnp.ones(3))
    assert count() >= 2


@pytest.mark.parametrize("solver", [make() for make in SOLVERS.values()], ids=SOLVERS)
def test_second_solve_compiles_nothing(solver):
    """Other X, y, strength, tolerance and number of steps of the same shapes."""
    sj.solve(sj.Problem(*_data(0), penalty=penalties.L1(0.1)), solver)
    X, y = _data(1)
    with count_compilations() as count:
        sj.solve(sj.Problem(X, y, penalty=penalties.L1(0.2)), solver, tol=1e-9)
        sj.solve(sj.Problem(X, y, penalty=penalties.L1(0.3)), solver, max_steps=3000)
    assert count() == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda X, y, s: sj.Problem(X, y, penalty=penalties.L1(s), fit_intercept=True),
        lambda X, y, s: sj.Problem(X, y, penalty=penalties.L1(s, weights=np.full(P, 1 + s))),
        lambda X, y, s: sj.Problem(X, y, penalty=penalties.ElasticNet(s, 1 - s)),
        lambda X, y, s: sj.Problem(
            X, y, losses.Squared(sample_weight=np.full(N, s)), penalties.L1(s)
        ),
        lambda X, y, s: sj.Problem(scipy.sparse.csr_array(X), y, penalty=penalties.L1(s)),
    ],
    ids=["intercept", "weights", "elastic-net", "sample-weights", "sparse"],
)
def test_second_problem_of_every_kind_compiles_nothing(make):
    sj.solve(make(*_data(0), 0.1))
    with count_compilations() as count:
        sj.solve(make(*_data(1), 0.2))
    assert count() == 0


@pytest.mark.parametrize("number", [np.float64, jnp.asarray, lambda x: jnp.ones(()) * x])
def test_numbers_of_every_kind_share_a_program(number):
    """Python's make arrays of a weak dtype, which JAX would compile for anew."""
    X, y = _data(0)
    sj.solve(sj.Problem(X, y, losses.Huber(1.5), penalties.L1(0.1)))
    same = sj.Problem(X, y, losses.Huber(number(1.5)), penalties.L1(number(0.1)))
    with count_compilations() as count:
        sj.solve(same)
    assert count() == 0


def test_a_gradient_compiles_no_solver(caplog):
    """Whatever it is taken in, the solution is found by the program that was there already."""
    X, y = map(jnp.asarray, _data(0))

    def first(strength, X):
        return sj.solve(sj.Problem(X, y, penalty=penalties.L1(strength))).coef[0]

    def compiled(function):
        caplog.clear()
        with jax.log_compiles():
            function(0.1, X)
        return {name for name in ("_solve", "_differentiable") if f"jit({name})" in caplog.text}

    assert compiled(first) <= {"_solve"}
    assert compiled(jax.grad(first)) == {"_differentiable"}
    assert compiled(jax.grad(first, 1)) == {"_differentiable"}


def test_second_gradient_compiles_nothing():
    X, y = _data(0)

    @jax.jit
    def gradient(s, X, y):
        return jax.grad(lambda s: sj.solve(sj.Problem(X, y, penalty=penalties.L1(s))).coef[0])(s)

    gradient(0.1, X, y)
    with count_compilations() as count:
        gradient(0.2, *_data(1))
    assert count() == 0


def test_certificates_compile_once():
    def evaluate(seed):
        problem = sj.Problem(*_data(seed), penalty=penalties.L1(0.1 + seed))
        w = np.full(P, 0.1 * seed)
        return (
            sj.objective(problem, w),
            sj.duality_gap(problem, w),
            sj.kkt_violation(problem, w),
            sj.strength_max(problem),
        )

    evaluate(0)
    with count_compilations() as count:
        evaluate(1)
    assert count() == 0


def test_inside_a_users_jit():
    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(n=1)
    def fit(X, y, s):
        problem = sj.Problem(X, y, penalty=penalties.L1(s), fit_intercept=True)
        return sj.solve(problem, tol=1e-10)

    for seed in range(3):
        X, y = _data(seed)
        inside = fit(X, y, 0.1 + 0.1 * seed)
        problem = sj.Problem(X, y, penalty=penalties.L1(0.1 + 0.1 * seed), fit_intercept=True)
        outside = sj.solve(problem, tol=1e-10)
        np.testing.assert_allclose(inside.coef, outside.coef, atol=1e-10)
        assert inside.result == sj.RESULTS.successful
        assert inside.stats["solver"] == outside.stats["solver"]


def test_problems_and_solutions_cross_jit():
    problem = sj.Problem(*_data(0), penalty=penalties.L1(0.1))
    solution = jax.jit(lambda problem: sj.solve(problem, tol=1e-9))(problem)
    gap = jax.jit(sj.duality_gap)(problem, solution.coef)
    np.testing.assert_allclose(gap, solution.gap, atol=1e-15)


def test_invalid_traced_values_are_reported():
    """What cannot be checked while tracing is found while running."""
    X, y = _data(0)

    @jax.jit
    def result(s):
        return sj.solve(sj.Problem(X, y, penalty=penalties.L1(s)), throw=False).result

    assert result(0.1) == sj.RESULTS.successful
    for strength in (-0.1, np.nan):
        assert result(strength) == sj.RESULTS.invalid

    @jax.jit
    def broken(y):
        return sj.solve(sj.Problem(X, y, penalty=penalties.L1(0.1)), throw=False).result

    for value in (np.nan, np.inf):
        assert broken(jnp.asarray(y).at[3].set(value)) == sj.RESULTS.nonfinite


_IMPORT = """
import socket, warnings
def refuse(*args, **kwargs): raise AssertionError("the import used the network")
socket.socket.connect = socket.create_connection = refuse
import jax
before = dict(jax.config.values)
import sparsejax
changed = {key for key in before if jax.config.values[key] != before[key]}
assert not changed, changed
assert jax.numpy.ones(1).dtype == "float32"
from jax._src import xla_bridge
"""


def test_import_has_no_side_effects():
    """No output, no network, no JAX setting changed."""
    environment = {k: v for k, v in os.environ.items() if k != "JAX_ENABLE_X64"}
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", _IMPORT],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == ran.stderr == ""


def test_solve_prints_nothing_and_leaves_settings_alone(capsys):
    """Of Python: XLA itself complains when it loads what another worker has compiled."""
    before = dict(jax.config.values)
    sj.solve(sj.Problem(*_data(3), penalty=penalties.L1(0.1)))
    assert jax.config.values == before
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""
