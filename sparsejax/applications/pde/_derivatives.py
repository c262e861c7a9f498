"""Derivatives of a field along an axis, by forward mode."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Field = Callable[[Float[Array, " axes"]], Float[Array, " outputs"]]


def derivatives(
    u: Field, x: Float[Array, " axes"], axis: int, order: int = 1
) -> tuple[Float[Array, " outputs"], ...]:
    """A field and its derivatives up to an order along one axis, at one point.

    Forward over forward mode: nothing is recorded, and reverse mode over the parameters of the
    field, which training needs, goes through once. For the orders of two or three that occur, it
    is faster than ``jax.experimental.jet``.

    Parameters
    ----------
    u
        From a point (axes,) to its values (outputs,).
    x
        A point.
    axis
        Along which to differentiate.
    order
        The highest derivative.

    Returns
    -------
    values
        (u, ∂u, …, ∂^order u), each (outputs,).

    Raises
    ------
    ValueError
        If ``x`` has no such axis or ``order`` is below one.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from sparsejax.applications import pde
    >>> u = lambda x: x[:1] * x[1:] ** 3
    >>> [float(d[0]) for d in pde.derivatives(u, jnp.array([2.0, 1.0]), axis=1, order=2)]
    [2.0, 6.0, 12.0]
    """
    if not 0 <= axis < x.shape[0]:
        raise ValueError(f"`axis` must be one of the {x.shape[0]} of `x`; got {axis}.")
    if order < 1:
        raise ValueError(f"`order` must be at least 1; got {order}.")
    direction = jnp.zeros_like(x).at[axis].set(1)

    def up_to(order: int) -> Callable[[Array], tuple[Array, ...]]:
        if order == 0:
            return lambda x: (u(x),)

        def values(x: Array) -> tuple[Array, ...]:
            lower, slopes = jax.jvp(up_to(order - 1), (x,), (direction,))
            return *lower, slopes[-1]

        return values

    return up_to(order)(x)
