"""Steps that are halved until they are good."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

Length = Float[Array, ""]


def backtracked(
    evaluate: Callable[[Length], Any],
    good: Callable[[Length, Any], Bool[Array, ""]],
    halvings: int,
    dtype: Any,
) -> tuple[Length, Any, Bool[Array, ""]]:
    """The first good one of the lengths 1, ½, ¼, …, what was evaluated there, and if there is one.

    Without one, the last length. Evaluations are the dear part, and stand in the program once:
    lengths are halved before they are tried.
    """

    def going(trial: tuple[Array, Any, Array]) -> Bool[Array, ""]:
        length, found, tried = trial
        return (tried == 0) | ~good(length, found) & (tried <= halvings)

    def halve(trial: tuple[Array, Any, Array]) -> tuple[Array, Any, Array]:
        length = trial[0] / 2
        return length, evaluate(length), trial[2] + 1

    twice = jnp.full((), 2.0, dtype)
    shapes = jax.eval_shape(evaluate, twice)
    nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    length, found, tried = jax.lax.while_loop(going, halve, (twice, nothing, jnp.array(0)))
    return length, found, tried <= halvings
