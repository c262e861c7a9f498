"""Roots of scalar equations, one for every entry of an array."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

_Function = Callable[[Float[Array, "..."]], Float[Array, "..."]]


def refined_root(residual: _Function, root: Float[Array, "..."]) -> Float[Array, "..."]:
    """``root`` after one more step of Newton's method, differentiable in all that ``residual`` is.

    By the implicit function theorem, to any order; how the root was found does not matter.
    """

    def tangent(linear: _Function, rhs: Float[Array, "..."]) -> Float[Array, "..."]:
        return rhs / linear(jnp.ones_like(rhs))

    return jax.lax.custom_root(residual, jax.lax.stop_gradient(root), _newton_step, tangent)


def newton_from_right(function: _Function, start: Float[Array, "..."]) -> Float[Array, "..."]:
    """The root of an increasing convex function, from points at or above it down to rounding.

    There Newton's method never passes the root. Not differentiable: see ``refined_root``.
    """

    def improve(state: tuple[Array, Array]) -> tuple[Array, Array]:
        x, _ = state
        value, slope = jax.jvp(function, (x,), (jnp.ones_like(x),))
        lower = x - jnp.maximum(value, 0.0) / slope
        # Written so that NaN ends the loop.
        return lower, jnp.any(lower < x - 4 * jnp.finfo(x.dtype).eps * (1 + jnp.abs(x)))

    state = jax.lax.stop_gradient(start), jnp.array(True)
    return jax.lax.while_loop(lambda state: state[1], improve, state)[0]


def _newton_step(residual: _Function, x: Float[Array, "..."]) -> Float[Array, "..."]:
    value, slope = jax.jvp(residual, (x,), (jnp.ones_like(x),))
    return x - value / slope
