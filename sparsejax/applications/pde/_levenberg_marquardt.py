"""One step of Levenberg and Marquardt, for sums of squares that may be others at the next step."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

_TRIALS = 10  # of ever shorter steps, on one Jacobian


def levenberg_marquardt(
    residuals: Callable[[Float[Array, " n"]], Float[Array, " m"]],
    jacobian: Float[Array, "m n"],
    x: Float[Array, " n"],
    damping: Float[Array, ""],
) -> tuple[Float[Array, " n"], Float[Array, ""], Float[Array, ""]]:
    """The step d of least ‖r(x) + J·d‖² + damping·‖d‖², damped more until it lowers ‖r‖².

    Parameters
    ----------
    residuals
        r, whose squares are summed.
    jacobian
        J, at ``x``.
    x
        Where to go from.
    damping
        What the last step ended with.

    Returns
    -------
    x, damping, loss
        The next ones, and ‖r‖² before the step. If no step is of use, ``x`` stays.

    Notes
    -----
    Of (JᵀJ + damping·1)d = −Jᵀr and d = −Jᵀz, (JJᵀ + damping·1)z = r, the same step, the smaller
    system is solved. Nocedal & Wright, Numerical Optimization (2006), section 10.3; the damping is
    changed as a trust region's radius is in their algorithm 4.1.
    """
    r = residuals(x)
    loss = r @ r
    rows, columns = jacobian.shape
    wide = rows < columns
    gram = jacobian @ jacobian.T if wide else jacobian.T @ jacobian
    least = jnp.finfo(x.dtype).eps

    def move(damping: Array) -> Array:
        factor = jax.scipy.linalg.cho_factor(gram + damping * jnp.eye(len(gram), dtype=x.dtype))
        if wide:
            return -jacobian.T @ jax.scipy.linalg.cho_solve(factor, r)
        return -jax.scipy.linalg.cho_solve(factor, jacobian.T @ r)

    def trial(carry: Any) -> Any:
        _, damping, _, trials = carry
        d = move(damping)
        there = residuals(x + d)
        model = r + jacobian @ d
        gain = (loss - there @ there) / (loss - model @ model)
        good = gain > 1e-3  # not where a number is missing: the factor of a singular matrix
        factor = jnp.where(gain > 0.75, 1 / 3, jnp.where(gain > 0.25, 1.0, jnp.where(good, 2, 4)))
        damping = jnp.clip(damping * factor.astype(x.dtype), least, 1 / least)
        return jnp.where(good, x + d, x), damping, good, trials + 1

    start = x, damping, jnp.array(False), jnp.array(0)
    x, damping, *_ = jax.lax.while_loop(lambda c: ~c[2] & (c[3] < _TRIALS), trial, start)
    return x, damping, loss
