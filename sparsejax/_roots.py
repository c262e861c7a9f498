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


def _newton_step(residual: _Function, x: Float[Array, "..."]) -> Float[Array, "..."]:
    value, slope = jax.jvp(residual, (x,), (jnp.ones_like(x),))
    return x - value / slope
