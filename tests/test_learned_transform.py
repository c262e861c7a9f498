"""A linear transform of X, learned: hypergradients against differences, and descents."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import optax
import pytest

import sparsejax as sj
from sparsejax.bilevel import KFold, tune

pytestmark = pytest.mark.usefixtures("float64")

N, P, RANK = 40, 6, 2
RNG = np.random.default_rng(0)
SOURCES = RNG.normal(size=(N, P))
Y = 2 * SOURCES[:, 0] - SOURCES[:, 1] + 0.3 * RNG.normal(size=N)
MIXED = SOURCES @ (np.eye(P) + RNG.normal(size=(P, RANK)) @ RNG.normal(size=(RANK, P)))


def matrix(values):
    return lx.MatrixLinearOperator(jnp.asarray(values))


def dense():
    """X·T, of which T is learned."""
    return matrix(MIXED) @ matrix(np.eye(P)), lambda problem: problem.X.operator.operator2.matrix


def low_rank():
    """X·(I + U·Vᵀ), of which U and V are learned."""
    factors = [0.1 * RNG.normal(size=shape) for shape in ((P, RANK), (RANK, P))]
    change = matrix(factors[0]) @ matrix(factors[1])
    identity = lx.IdentityLinearOperator(change.in_structure())

    def both(problem):
        change = problem.X.operator.operator2.operator2
        return change.operator1.matrix, change.operator2.matrix

    return matrix(MIXED) @ (identity + change), both


@pytest.mark.parametrize("make", [dense, pytest.param(low_rank, marks=pytest.mark.slow)])
def test_learned_transforms(make):
    """Every entry's slope is that of differences, and descent makes predictions better."""
    operator, where = make()
    problem = sj.Problem(operator, Y, penalty=sj.penalties.L1(0.2), fit_intercept=True)
    criterion = KFold(4)

    @jax.jit
    def value(leaves):
        at = eqx.tree_at(where, problem, leaves)
        return criterion.value(at, criterion.start(at), 1e-14)[0]

    leaves, h = where(problem), 1e-6
    slopes = jax.jit(jax.grad(value))(leaves)
    for k in range(8):
        noise = functools.partial(jax.random.normal, jax.random.key(k))
        direction = jax.tree.map(lambda x, noise=noise: noise(x.shape), leaves)
        ahead, behind = (value(optax.tree.add_scale(leaves, s, direction)) for s in (h, -h))
        slope = sum(map(jnp.vdot, jax.tree.leaves(slopes), jax.tree.leaves(direction)))
        assert slope == pytest.approx(float(ahead - behind) / (2 * h), rel=1e-5)
    tuned = tune(problem, criterion, 40, where=where, positive=False)
    assert tuned.history.values.min() < 0.8 * tuned.history.values[0]
    assert value(where(tuned.problem)) == pytest.approx(float(tuned.history.values.min()), rel=1e-6)
