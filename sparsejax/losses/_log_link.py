"""The equation behind the proximal operators of losses with a log link."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._roots import newton_from_right, refined_root


def exponential_root(b: Float[Array, "..."], c: Float[Array, "..."]) -> Float[Array, "..."]:
    """z with z + c·exp(z) = b, for c ≥ 0."""
    moves = c > 0
    shift = jnp.log(jnp.where(moves, c, 1.0))
    start = _near_root(*jax.lax.stop_gradient((b, shift)))
    root = refined_root(lambda z: z + jnp.exp(z + shift) - b, start)
    return jnp.where(moves, root, b)


def _near_root(b: Float[Array, "..."], shift: Float[Array, "..."]) -> Float[Array, "..."]:
    """z with z + exp(z + shift) = b.

    t = z + shift solves t + exp(t) = b + shift, the equation of Lambert and Wright, convex in t.
    Of the two ways back to z one keeps the digits of small exp(t), the other of large.
    """
    goal = b + shift
    above = jnp.minimum(goal, jnp.log(jnp.maximum(goal, 1.0)))
    t = newton_from_right(lambda t: t + jnp.exp(t) - goal, above)
    return jnp.where(t < 0, b - jnp.exp(t), t - shift)
