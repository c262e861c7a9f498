"""Bounds on the coefficients."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .._arrays import inexact
from .._checks import check_length, is_concrete, values_of
from ._base import AbstractSeparablePenalty


class Box(AbstractSeparablePenalty):
    """Zero where lower ≤ w ≤ upper, +∞ elsewhere.

    Parameters
    ----------
    lower, upper
        Scalars or (p,) vectors; infinite entries leave a side open, so ``Box(0, jnp.inf)`` is
        nonnegative least squares.

    Raises
    ------
    ValueError
        If a bound is NaN or ``lower`` exceeds ``upper`` somewhere.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> sj.penalties.Box(-1.0, 1.0).prox(jnp.array([3.0, 0.5]), 1.0).tolist()
    [1.0, 0.5]
    """

    lower: Float[Array, "..."] = eqx.field(converter=inexact("lower"))
    upper: Float[Array, "..."] = eqx.field(converter=inexact("upper"))

    def __check_init__(self) -> None:
        for name in ("lower", "upper"):
            bound = getattr(self, name)
            if bound.ndim > 1:
                raise ValueError(f"`{name}` must be a scalar or a vector; got shape {bound.shape}.")
        known = is_concrete(self.lower) and is_concrete(self.upper)
        if known and not np.all(values_of(self.lower) <= values_of(self.upper)):
            raise ValueError("`lower` must not exceed `upper`, and neither may be NaN.")

    def check(self, num_features: int) -> None:
        for name in ("lower", "upper"):
            if getattr(self, name).ndim == 1:
                check_length(name, getattr(self, name), num_features)

    def is_valid(self) -> Bool[Array, ""]:
        return jnp.all(self.lower <= self.upper)

    def value(self, w: Float[Array, " p"]) -> Float[Array, ""]:
        return jnp.where(jnp.all((w >= self.lower) & (w <= self.upper)), 0.0, jnp.inf)

    def prox(self, v: Float[Array, " p"], step: Any) -> Float[Array, " p"]:
        return jnp.clip(v, self.lower, self.upper)

    def prox_derivative(self, v: Float[Array, " p"], step: Any) -> Float[Array, " p"]:
        return ((v > self.lower) & (v < self.upper)).astype(v.dtype)

    def subdiff_distance(
        self, w: Float[Array, " p"], grad: Float[Array, " p"]
    ) -> Float[Array, " p"]:
        pulled_up = jnp.where(w >= self.upper, 0.0, jnp.maximum(-grad, 0.0))
        pulled_down = jnp.where(w <= self.lower, 0.0, jnp.maximum(grad, 0.0))
        outside = (w < self.lower) | (w > self.upper)
        return jnp.where(outside, jnp.inf, pulled_up + pulled_down)

    def support(self, w: Float[Array, " p"]) -> Bool[Array, " p"]:
        return (w > self.lower) & (w < self.upper)

    def saturation(self, w: Float[Array, " p"], c: Float[Array, " p"]) -> Float[Array, " p"]:
        return jnp.where(self.subdiff_distance(w, -c) > 0, 1 + jnp.abs(c), 0.0)

    def is_free(self) -> Bool[Array, ""] | Bool[Array, " p"]:
        return jnp.isinf(self.lower) | jnp.isinf(self.upper)

    def dual_scale(self, c: Float[Array, " p"]) -> Float[Array, ""]:
        unbounded = ((c > 0) & jnp.isinf(self.upper)) | ((c < 0) & jnp.isinf(self.lower))
        return jnp.where(jnp.any(unbounded), 0.0, 1.0).astype(c.dtype)

    def fenchel_gap(self, w: Float[Array, " p"], c: Float[Array, " p"]) -> Float[Array, ""]:
        up = jnp.where(c > 0, (self.upper - w) * c, 0.0)
        down = jnp.where(c < 0, (self.lower - w) * c, 0.0)
        return jnp.sum(up + down) + self.value(w)

    def local_gradient(self, w: Float[Array, " p"]) -> Float[Array, " p"]:
        return jnp.zeros_like(w)

    def anchor(self, w: Float[Array, " p"]) -> Float[Array, " p"]:
        bounds = jnp.where(w >= self.upper, self.upper, self.lower)
        return jnp.where(self.support(w), 0.0, bounds)

    def restrict(self, indices: Int[Array, " k"]) -> "Box":
        def take(bound: Array) -> Array:
            return bound[indices] if bound.ndim else bound

        return Box(take(self.lower), take(self.upper))
