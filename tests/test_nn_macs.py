"""Counts of multiply–accumulates against formulas."""

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

from sparsejax.nn import cost, count_macs

KEY = jax.random.key(0)


def test_layers():
    assert count_macs(eqx.nn.Linear(5, 7, key=KEY), jnp.zeros(5)) == 5 * 7
    convolution = eqx.nn.Conv2d(6, 8, 3, stride=2, padding=1, groups=2, key=KEY)
    # 8 × 4 × 4 results, each of 3 channels × 3 × 3.
    assert count_macs(convolution, jnp.zeros((6, 8, 8))) == 8 * 4 * 4 * 3 * 3 * 3
    attention = eqx.nn.MultiheadAttention(2, 8, key=KEY)
    tokens = jax.ShapeDtypeStruct((10, 8), jnp.float32)
    # Four projections, and 10 × 10 scores and averages of 8 numbers.
    assert count_macs(lambda x: attention(x, x, x), tokens) == 4 * 10 * 64 + 2 * 100 * 8


def test_states_are_arguments():
    convolution = eqx.nn.Conv1d(2, 4, 3, key=KEY)
    norm, state = eqx.nn.make_with_state(eqx.nn.BatchNorm)(4, "batch", mode="batch")

    def model(x, state):
        one = lambda x, state: norm(convolution(x), state)  # noqa: E731
        return jax.vmap(one, (0, None), (0, None), axis_name="batch")(x, state)

    assert count_macs(model, jnp.zeros((5, 2, 12)), state) == 5 * 4 * 10 * 2 * 3


def test_calls_loops_and_branches():
    W = jnp.ones((4, 4))

    def scanned(x):
        return jax.lax.scan(lambda x, _: (jax.jit(jnp.dot)(W, x), None), x, length=3)[0]

    assert count_macs(scanned, jnp.zeros(4)) == 3 * 16
    assert count_macs(jax.vmap(jax.checkpoint(lambda x: W @ x)), jnp.zeros((5, 4))) == 5 * 16

    def branched(x):
        return jax.lax.cond(x[0] > 0, lambda: W @ x, lambda: W @ (W @ x))

    assert count_macs(branched, jnp.zeros(4)) == 2 * 16
    with pytest.raises(ValueError, match="inside a `while` loop"):
        count_macs(lambda x: jax.lax.while_loop(lambda x: x[0] > 0, lambda x: W @ x, x), W[0])
    assert count_macs(lambda x: jax.lax.while_loop(lambda x: x < 3, lambda x: x + 1, x), 0) == 0


def test_cost():
    """The time is that of the call: a hundred products in turn take longer than one."""
    W = jnp.ones((256, 256)) / 256

    def times(steps):
        return lambda x: jax.lax.fori_loop(0, steps, lambda _, x: W @ x, x)

    few, many = (cost(times(steps), W, repeats=5) for steps in (1, 100))
    assert (few.macs, many.macs) == (256**3, 100 * 256**3)
    assert 0 < few.seconds < few.compile_seconds
    assert 5 * few.seconds < many.seconds
    assert f"{256**3:,}" in str(few)
    with pytest.raises(ValueError, match="`repeats` must be a positive integer; got 0"):
        cost(times(1), W, repeats=0)
