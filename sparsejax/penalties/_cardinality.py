"""A bound on the number of coefficients."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ._base import AbstractPenalty


class Cardinality(AbstractPenalty):
    """Zero where at most k of the w_j are not zero, +∞ elsewhere.

    Parameters
    ----------
    k
        An integer from 1 to the number of features.

    Raises
    ------
    ValueError
        If ``k`` is no integer, or not between 1 and the number of features.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> sj.penalties.Cardinality(2).prox(jnp.array([2.0, -0.5, -3.0]), 1.0).tolist()
    [2.0, 0.0, -3.0]

    Notes
    -----
    Not convex. A point is stationary where no small step within the constraint lowers the loss: no
    pull on the support or, where fewer than k coefficients are not zero, on any. Beck & Eldar,
    Sparsity constrained nonlinear optimization (SIAM J. Optim. 2013).
    """

    k: int = eqx.field(static=True)

    is_convex: ClassVar[bool] = False

    def __check_init__(self) -> None:
        if not isinstance(self.k, int) or self.k < 1:
            raise ValueError(f"`k` must be an integer, one or more; got {self.k!r}.")

    def check(self, num_features: int) -> None:
        if self.k > num_features:
            raise ValueError(f"`k` must be at most {num_features}, the features; got {self.k}.")

    def is_valid(self) -> Bool[Array, ""]:
        return jnp.array(True)  # k is known when the program is made

    def value(self, w: Float[Array, " p"]) -> Float[Array, ""]:
        return jnp.where(jnp.count_nonzero(w) <= self.k, 0.0, jnp.inf).astype(w.dtype)

    def prox(self, v: Float[Array, " p"], step: Any) -> Float[Array, " p"]:
        """The k largest entries; of equal ones, the first."""
        del step  # a projection, whatever the step
        _, largest = jax.lax.top_k(jnp.abs(jax.lax.stop_gradient(v)), self.k)
        return jnp.zeros_like(v).at[largest].set(v[largest])

    def subdiff_distance(
        self, w: Float[Array, " p"], grad: Float[Array, " p"]
    ) -> Float[Array, " p"]:
        bound = jnp.count_nonzero(w) >= self.k
        distance = jnp.where(bound & (w == 0), 0.0, jnp.abs(grad))
        return jnp.where(jnp.count_nonzero(w) > self.k, jnp.inf, distance)

    def support(self, w: Float[Array, " p"]) -> Bool[Array, " p"]:
        return w != 0

    def dual_scale(self, c: Float[Array, " p"]) -> Float[Array, ""]:
        return jnp.where(jnp.any(c != 0), 0.0, jnp.ones((), c.dtype))

    def fenchel_gap(self, w: Float[Array, " p"], c: Float[Array, " p"]) -> Float[Array, ""]:
        return jnp.where(jnp.any(c != 0), jnp.inf, self.value(w))
