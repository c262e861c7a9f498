"""Derivatives under norms of a transform: regions of grids, rows at rest, iterated systems."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, strategies as st
from scipy.sparse.csgraph import connected_components

import sparsejax as sj
from sparsejax import _fixed_point, losses, penalties
from sparsejax._dual import Dual
from sparsejax._transform_tangent import regions, transform_tangent

pytestmark = pytest.mark.usefixtures("float64")

GRID = (5, 6)
P = 30


def _picture(rng, grid=GRID):
    """Flat regions and noise."""
    flat = np.zeros(grid)
    flat[grid[0] // 3 :, grid[1] // 2 :] = 1.0
    return (flat + 0.1 * rng.normal(size=grid)).reshape(-1)


@given(seed=st.integers(0, 2**31), grid=st.sampled_from([(31,), (6, 7), (3, 4, 5)]))
def test_regions_are_connected_components(seed, grid):
    D = sj.designs.GridDifferences(grid)
    rows, cells = D.shape
    linked = np.random.default_rng(seed).random(rows) < 0.4
    edges = np.array([np.flatnonzero(row) for row in np.asarray(D.all_columns()).T])
    graph = scipy.sparse.coo_array((np.ones(linked.sum()), edges[linked].T), (cells, cells))
    _, expected = connected_components(graph, directed=False)
    found = np.asarray(regions(D, jnp.asarray(linked)))
    _, first, inverse = np.unique(expected, return_index=True, return_inverse=True)
    np.testing.assert_array_equal(found, first[inverse])


def test_against_central_differences(rng):
    """Forwards and backwards in the strength, targets, offsets and sample weights."""
    D, groups = penalties.difference_operator(GRID), penalties.difference_groups(GRID)
    y, X = _picture(rng), np.eye(P) + 0.05 * rng.normal(size=(P, P))
    direction = rng.normal(size=P)

    def solved(strength, y, offset, weights):
        penalty = penalties.Analysis(strength, D, groups)
        problem = sj.Problem(X, y, losses.Squared(weights), penalty, offset=offset)
        return sj.solve(problem, tol=1e-14, max_steps=50_000, throw=False).coef @ direction

    point = 0.1 / P, y, 0.1 * y[::-1], rng.uniform(0.5, 1.5, P)
    tangent = 0.3 / P, *rng.normal(size=(2, P)), 0.5 * rng.normal(size=P)
    forwards = jax.jit(lambda x: jax.jvp(solved, x, tangent))
    ends = [
        forwards(tuple(x + sign * 1e-6 * t for x, t in zip(point, tangent, strict=True)))[0]
        for sign in (1, -1)
    ]
    _, slope = forwards(point)
    np.testing.assert_allclose(slope, (ends[0] - ends[1]) / 2e-6, rtol=1e-5)
    slopes = jax.jit(jax.grad(solved, (0, 1, 2, 3)))(*point)
    backward = sum(np.sum(a * b) for a, b in zip(slopes, tangent, strict=True))
    np.testing.assert_allclose(backward, slope, rtol=1e-9)


def _denoised(y, strength, penalty):
    """Of the mean of squares, and the forces of the solution."""
    forces, _ = penalty.forces_at(y, y.size * strength, 1e-24, 20_000)
    return y - penalty.operator.rmatvec(forces), forces / y.size


@pytest.mark.parametrize(
    ("grid", "isotropic"),
    [(GRID, False), (GRID, True), pytest.param((48, 48), False, marks=pytest.mark.slow)],
)
def test_regions_and_rows_at_rest(grid, isotropic, rng):
    """One number for each region is what a D without a structure comes to; more cells need that."""
    groups = penalties.difference_groups(grid) if isotropic else None
    D, y = penalties.difference_operator(grid), jnp.asarray(_picture(rng, grid))
    strength, change = jnp.asarray(0.1 / y.size), (0.3 / y.size, rng.normal(size=y.size))
    unit = penalties.Analysis(1.0, D, groups)
    denoised = jax.jit(lambda strength, y: _denoised(y, strength, unit))
    coef, forces = denoised(strength, y)

    def tangent_by(D):
        def problem(strength, y):
            penalty = penalties.Analysis(strength, D, groups)
            return sj.Problem(sj.designs.Identity(y.size), y, penalty=penalty)

        def tangent(strength, y, coef, forces):
            here, moved = eqx.filter_jvp(problem, (strength, y), change)
            return transform_tangent(here, coef, Dual((coef - y) / y.size, forces), moved)

        return np.asarray(jax.jit(tangent)(strength, y, coef, forces))

    found = tangent_by(D)
    if y.size == P:
        np.testing.assert_allclose(tangent_by(D.all_columns().T), found, atol=1e-9)
    ends = [
        denoised(*(x + s * 1e-5 * t for x, t in zip((strength, y), change, strict=True)))[0]
        for s in (1, -1)
    ]
    errors = np.abs(found - (ends[0] - ends[1]) / 2e-5)
    # Where a region is about to part within the difference, that is in between.
    assert np.mean(errors < 1e-4 * np.max(np.abs(found))) > 0.95


def test_entries_of_the_transform(rng):
    """Where rows rest, the solution moves with them."""
    chain = np.diff(np.eye(12), axis=0)
    y, change = np.repeat([0.0, 1.0, 0.5], 4) + 0.1 * rng.normal(size=12), rng.normal(size=(11, 12))

    @jax.jit
    def solved(D):
        problem = sj.Problem(np.eye(12), y, penalty=penalties.Analysis(0.02, D))
        return sj.solve(problem, tol=1e-14, max_steps=50_000, throw=False).coef

    ends = [solved(chain + sign * 1e-6 * change) for sign in (1, -1)]
    _, moved = jax.jit(lambda D, dD: jax.jvp(solved, (D,), (dD,)))(chain, change)
    np.testing.assert_allclose(moved, (ends[0] - ends[1]) / 2e-6, atol=1e-5)
    coef = solved(chain)
    resting = np.abs(chain @ coef) < 1e-9
    assert np.sum(resting) > 3
    np.testing.assert_allclose((chain @ moved)[resting], -(change @ coef)[resting], atol=1e-8)
    assert np.ptp(moved) > 1e-2


@pytest.mark.parametrize("symmetric", [True, False])
def test_systems_by_iteration(symmetric, monkeypatch, rng):
    """Forwards and backwards, with zeros in the right-hand side; NaN where nothing is found."""
    matrix = rng.normal(size=(20, 20))
    matrix = matrix @ matrix.T + np.eye(20) if symmetric else matrix + 10 * np.eye(20)
    rhs = np.where(np.arange(20) % 3, 0.0, rng.normal(size=20))

    def solve(rhs):
        return _fixed_point.solve_iteratively(lambda x: matrix @ x, rhs, symmetric)

    np.testing.assert_allclose(jax.jit(solve)(rhs), np.linalg.solve(matrix, rhs), rtol=1e-8)
    slopes = jax.jit(jax.grad(lambda rhs: solve(rhs)[3]))(rhs)
    np.testing.assert_allclose(slopes, np.linalg.inv(matrix)[3], rtol=1e-8)
    monkeypatch.setattr(_fixed_point, "_MAX_STEPS", 1)
    assert np.all(np.isnan(solve(rhs)))


@pytest.mark.slow
def test_second_derivatives_and_batches_in_single_precision(rng):
    """On regions and with D as a matrix; a batch in float32 agrees with float64 at that gap."""
    y, direction = _picture(rng), rng.normal(size=P)
    grid, groups = penalties.difference_operator(GRID), penalties.difference_groups(GRID)
    strengths = np.array([0.05, 0.1, 0.2]) / P

    def slope_by(D, dtype, tol):
        def square(strength):
            penalty = penalties.Analysis(strength, D, groups)
            X = sj.designs.Identity(P, dtype)
            problem = sj.Problem(X, jnp.asarray(y, dtype), penalty=penalty)
            coef = sj.solve(problem, tol=tol, max_steps=50_000, throw=False).coef
            return (coef @ jnp.asarray(direction, dtype)) ** 2

        return jax.grad(square)

    slope = jax.jit(slope_by(grid, jnp.float64, 1e-14))
    h = 1e-5 * strengths[1]
    expected = (slope(strengths[1] + h) - slope(strengths[1] - h)) / (2 * h)
    for D in (grid, np.asarray(grid.all_columns()).T):
        second = jax.jit(jax.jacfwd(slope_by(D, jnp.float64, 1e-14)))(strengths[1])
        np.testing.assert_allclose(second, expected, rtol=1e-6)
    with jax.enable_x64(False):
        batch = jax.jit(jax.vmap(slope_by(grid, jnp.float32, 1e-6)))
        found = batch(jnp.asarray(strengths, jnp.float32))
        assert found.dtype == jnp.float32
    in_double = jax.jit(slope_by(grid, jnp.float64, 1e-6))
    np.testing.assert_allclose(found, [in_double(s) for s in strengths], rtol=2e-3)
