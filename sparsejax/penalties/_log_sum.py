"""The sum of logarithms."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._arrays import inexact
from .._checks import check_nonnegative, check_positive
from ._concave import AbstractConcavePenalty
from ._groups import root


class LogSum(AbstractConcavePenalty):
    """strength · epsilon · Σ_j log(1 + |w_j|/epsilon).

    Parameters
    ----------
    strength
        Scalar ≥ 0, the slope at zero.
    epsilon
        Scalar > 0: the size at which the slope has halved.

    Raises
    ------
    ValueError
        If ``strength`` is negative or NaN, or ``epsilon`` not positive.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> penalty = sj.penalties.LogSum(1.0, epsilon=1.0)
    >>> penalty.prox(jnp.array([1.5, 1.0]), 1.0).tolist()
    [1.0, 0.0]

    Notes
    -----
    Candès, Wakin & Boyd, Enhancing sparsity by reweighted ℓ1 minimization (2008).
    """

    strength: Float[Array, ""] = eqx.field(converter=inexact("strength"))
    epsilon: Float[Array, ""] = eqx.field(converter=inexact("epsilon"))

    def __check_init__(self) -> None:
        check_nonnegative("strength", self.strength, ndim=0, finite=True)
        check_positive("epsilon", self.epsilon)

    def is_valid(self) -> Bool[Array, ""]:
        return super().is_valid() & (self.epsilon > 0)

    def profile(self, size: Float[Array, "..."]) -> Float[Array, "..."]:
        return self.strength * self.epsilon * jnp.log1p(size / self.epsilon)

    def slope(self, w: Float[Array, "..."]) -> Float[Array, "..."]:
        return self.strength / (1 + jnp.abs(w) / self.epsilon)

    def prox(self, v: Float[Array, " p"], step: Any) -> Float[Array, " p"]:
        # The larger root of u² + (ε − |v|)u + ε(step·strength − |v|), in the form that is exact.
        size, eps = jnp.abs(v), self.epsilon
        excess = size - step * self.strength
        discriminant = (size - eps) ** 2 + 4 * eps * excess
        spread, small = root(discriminant), size < eps
        denominator = jnp.where(small & (excess > 0), eps - size + spread, 1.0)
        near = 2 * eps * jnp.maximum(excess, 0.0) / denominator
        u = jnp.where(small, near, (size - eps + spread) / 2)
        better = u * (u / 2 - size) + step * self.profile(u) < 0
        return jnp.where(better & (discriminant >= 0), jnp.sign(v) * u, 0.0)
