"""A loss with kinks, minimised over the intercept."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ._base import AbstractPointwiseProximalLoss, AbstractProximalLoss
from ._profiled import where_balanced

_MAX_STEPS = 100


class ProfiledKinks(AbstractProximalLoss):
    """f̃(z) = min over b of f(z + b), for a piecewise linear f with its kinks where z = y.

    f̃*(u) is f*(u) for u orthogonal to the constants, and infinite for others.
    """

    loss: AbstractPointwiseProximalLoss

    @property
    def sample_weight(self) -> Float[Array, " n"] | None:  # type: ignore[override]
        """Those of the loss."""
        return self.loss.sample_weight

    def is_valid(self) -> Bool[Array, ""]:
        return self.loss.is_valid()

    def intercept(self, z: Float[Array, "n ..."], y: Float[Array, "n ..."]) -> Float[Array, "..."]:
        """A best b for each target: one of the kinks y − z, found by bisection among them.

        Differentiable: it moves with the sample whose kink it is.
        """
        if z.ndim > 1:
            return jax.vmap(self.intercept, 1)(z, y)
        kinks = y - z
        order = jnp.argsort(kinks)
        fixed_z, fixed_y, fixed_kinks = jax.lax.stop_gradient((z, y, kinks[order]))

        def value(index: Array) -> Float[Array, ""]:
            return self.loss.value(fixed_z + fixed_kinks[index], fixed_y)

        def halve(ends: tuple[Array, Array]) -> tuple[Array, Array]:
            # A subgradient, because values of kinks that coincide, or nearly, say nothing.
            middle = (ends[0] + ends[1]) // 2
            slopes = jax.grad(self.loss.value)(fixed_z + fixed_kinks[middle], fixed_y)
            falling = jnp.sum(slopes) < 0
            return jnp.where(falling, middle, ends[0]), jnp.where(falling, ends[1], middle)

        ends = jnp.array(0), jnp.array(y.shape[0] - 1)
        low, high = jax.lax.while_loop(lambda ends: ends[1] - ends[0] > 1, halve, ends)
        best = jnp.where(value(high) < value(low), high, low)
        return kinks[order[best]]

    def value(self, z: Float[Array, "n ..."], y: Float[Array, "n ..."]) -> Float[Array, ""]:
        return self.loss.value(z + self.intercept(z, y), y)

    def fenchel_gap(
        self, z: Float[Array, "n ..."], u: Float[Array, "n ..."], y: Float[Array, "n ..."]
    ) -> Float[Array, ""]:
        return where_balanced(u, self.loss.fenchel_gap(z + self.intercept(z, y), u, y))

    def prox(
        self, v: Float[Array, "n ..."], step: Any, y: Float[Array, "n ..."]
    ) -> Float[Array, "n ..."]:
        """v less the part of (v + b) − prox(v + b), for the b at which that part sums to zero."""
        if v.ndim > 1:
            return jax.vmap(lambda v, y: self.prox(v, step, y), 1, 1)(v, y)
        fixed, *rest = jax.lax.stop_gradient((self, v, step, y))
        root = fixed._balance(*rest)  # the loss too: nothing is differentiated through the search
        # A Newton step from the root is the root again, and has its derivative.
        _, slopes = jax.jvp(
            lambda b: fixed._pulls(rest[0], rest[1], rest[2], b), (root,), (jnp.ones_like(root),)
        )
        slope = jax.lax.stop_gradient(jnp.sum(slopes))
        newton = jnp.sum(self._pulls(v, step, y, root)) / jnp.where(slope > 0, slope, 1.0)
        balance = root - (newton - jax.lax.stop_gradient(newton))
        return v - self._pulls(v, step, y, balance)

    def _pulls(self, v: Array, step: Any, y: Array, b: Array) -> Float[Array, " n"]:
        return v + b - self.loss.prox(v + b, step, y)

    def _balance(self, v: Array, step: Any, y: Array) -> Float[Array, ""]:
        """Newton's method on a monotone, piecewise linear function, kept inside a bracket."""
        reach = step * jnp.max(self.loss.row_weights(y))
        kinks = y - v
        low, high = jnp.min(kinks) - reach, jnp.max(kinks) + reach

        def unfinished(state: tuple) -> Bool[Array, ""]:
            *_, done, steps = state
            return ~done & (steps < _MAX_STEPS)

        def improve(state: tuple) -> tuple:
            b, low, high, _, steps = state
            pulls, slopes = jax.jvp(lambda b: self._pulls(v, step, y, b), (b,), (jnp.ones_like(b),))
            total, slope = jnp.sum(pulls), jnp.sum(slopes)
            low, high = jnp.where(total <= 0, b, low), jnp.where(total >= 0, b, high)
            newton = b - total / jnp.where(slope > 0, slope, 1.0)
            bisect = (newton <= low) | (newton >= high) | (slope <= 0) | (steps % 4 == 3)
            new = jnp.where(bisect, (low + high) / 2, newton)
            small = jnp.abs(total) <= 4 * jnp.finfo(v.dtype).eps * jnp.sum(jnp.abs(pulls))
            done = small | (new == b)
            return jnp.where(small, b, new), low, high, done, steps + 1

        start = (jnp.mean(kinks), low, high, jnp.array(False), jnp.array(0))
        return jax.lax.while_loop(unfinished, improve, start)[0]

    def nearest_dual(
        self, u: Float[Array, "n ..."], y: Float[Array, "n ..."]
    ) -> Float[Array, "n ..."]:
        return self.loss.nearest_dual(u, y)

    def dual_room(
        self, u: Float[Array, "n ..."], y: Float[Array, "n ..."]
    ) -> Float[Array, "n ..."]:
        return self.loss.dual_room(u, y)

    def outputs(self, y: Float[Array, "n ..."]) -> tuple[int, ...]:
        return self.loss.outputs(y)
