"""A loss minimised over the intercept."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._backtracking import backtracked
from ._base import AbstractLoss, AbstractSmoothLoss

_MAX_STEPS = 100
_HALVINGS = 60


class Profiled(AbstractSmoothLoss):
    """f̃(z) = min over b of f(z + b): what a problem with an intercept looks like to a solver.

    f̃ is convex, ∇f̃(z) = ∇f(z + b) at the best b is orthogonal to the constants, and f̃*(u) is
    f*(u) for such u. Its Hessian is that of f, less a positive semidefinite term.
    """

    loss: AbstractSmoothLoss
    at_zero: Float[Array, "..."] | None = None  # the best b where predictions start from

    @property
    def sample_weight(self) -> Float[Array, " n"] | None:  # type: ignore[override]
        """Those of the loss."""
        return self.loss.sample_weight

    def is_valid(self) -> Bool[Array, ""]:
        return self.loss.is_valid()

    def intercept(self, z: Float[Array, "n ..."], y: Float[Array, "n ..."]) -> Float[Array, "..."]:
        """The best b: differentiable, by Newton's method with halving.

        Where the loss has curvature in one direction only, or none (both sides of a kink), any of
        the best intercepts.
        """

        def slope(b: Float[Array, "..."]) -> Float[Array, "..."]:
            return jnp.sum(self.loss.gradient(z + b, y), axis=0)

        def find(_: object, start: Float[Array, "..."]) -> Float[Array, "..."]:
            return self._minimise(z, y, start)

        def solve(linear: Any, rhs: Float[Array, "..."]) -> Float[Array, "..."]:
            matrix = jax.jacfwd(linear)(jnp.zeros_like(rhs))
            ridge = jnp.finfo(z.dtype).eps * jnp.sum(jnp.abs(matrix))
            return _solve(matrix, rhs, ridge, self.loss.ignores_shifts)

        start = jnp.zeros(self.loss.outputs(y), z.dtype) if self.at_zero is None else self.at_zero
        return jax.lax.custom_root(slope, start, find, solve)

    def _minimise(
        self, z: Float[Array, "n ..."], y: Float[Array, "n ..."], start: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        rounding = 8 * jnp.finfo(z.dtype).eps
        # Where the loss is straight (Huber, far away) the step is long instead of infinite.
        bound = jnp.sum(self.loss.curvature_bound(y))
        ridge = jnp.where(jnp.isfinite(bound), jnp.sqrt(jnp.finfo(z.dtype).eps) * bound, 0.0)

        def slopes(b: Float[Array, "..."]) -> tuple[Float[Array, "..."], Float[Array, ""]]:
            gradient = self.loss.gradient(z + b, y)
            return jnp.sum(gradient, axis=0), jnp.sum(jnp.abs(gradient))

        def unfinished(state: tuple[Array, Array, tuple[Array, Array], Array]) -> Array:
            b, last, (slope, size), steps = state
            going = jnp.any(jnp.abs(slope) > rounding * size) & jnp.any(b != last)
            return (going & (steps < _MAX_STEPS)) | (steps == 0)

        def step(
            state: tuple[Array, Array, tuple[Array, Array], Array],
        ) -> tuple[Array, Array, tuple[Array, Array], Array]:
            b, _, (slope, _), steps = state
            curvature = jax.jacfwd(lambda b: slopes(b)[0])(b)
            direction = -_solve(curvature, slope, ridge, self.loss.ignores_shifts)
            behind = jnp.sum(slope * direction)
            # Convex: the minimum along the ray has not been passed by much while the slope there
            # is no steeper than it was at the start.
            length, found, _ = backtracked(
                lambda length: slopes(b + length * direction),
                lambda _, found: ~(jnp.sum(found[0] * direction) > 0.5 * jnp.abs(behind)),
                _HALVINGS,
                z.dtype,
            )
            return b + length * direction, b, found, steps + 1

        first = (start, start, slopes(start), jnp.array(0))
        return jax.lax.while_loop(unfinished, step, first)[0]

    def _shifted(self, z: Float[Array, "n ..."], y: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        return z + self.intercept(z, y)

    def settled(
        self, z: Float[Array, "n ..."], y: Float[Array, "n ..."]
    ) -> tuple[AbstractSmoothLoss, Float[Array, "n ..."]]:
        return self.loss, self._shifted(z, y)

    def value(self, z: Float[Array, "n ..."], y: Float[Array, "n ..."]) -> Float[Array, ""]:
        return self.loss.value(self._shifted(z, y), y)

    def gradient(self, z: Float[Array, "n ..."], y: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        return self.loss.gradient(self._shifted(z, y), y)

    def curvature(
        self, z: Float[Array, "n ..."], y: Float[Array, "n ..."]
    ) -> Float[Array, "n ..."]:
        return self.loss.curvature(self._shifted(z, y), y)

    def curvature_bound(self, y: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        return self.loss.curvature_bound(y)

    @property
    def has_bounded_curvature(self) -> bool:
        return self.loss.has_bounded_curvature

    def fenchel_gap(
        self, z: Float[Array, "n ..."], u: Float[Array, "n ..."], y: Float[Array, "n ..."]
    ) -> Float[Array, ""]:
        return where_balanced(u, self.loss.fenchel_gap(self._shifted(z, y), u, y))

    def outputs(self, y: Float[Array, "n ..."]) -> tuple[int, ...]:
        return self.loss.outputs(y)


def where_balanced(u: Float[Array, "n ..."], gap: Float[Array, ""]) -> Float[Array, ""]:
    """The gap where u is orthogonal to the constants, up to rounding; elsewhere infinite."""
    rounding = 64 * jnp.finfo(u.dtype).eps * jnp.sum(jnp.abs(u), axis=0)
    return jnp.where(jnp.all(jnp.abs(jnp.sum(u, axis=0)) <= rounding), gap, jnp.inf)


def unprofiled(loss: AbstractLoss) -> AbstractLoss:
    """The loss as a function of all predictions."""
    return loss.loss if isinstance(loss, Profiled) else loss


def _solve(
    matrix: Float[Array, "..."],
    rhs: Float[Array, "..."],
    ridge: Float[Array, ""],
    ignores_shifts: bool,
) -> Float[Array, "..."]:
    """(matrix + ridge)⁻¹ rhs for one intercept or a vector of them, maybe free of constants.

    Along these there is then nothing but rounding, which would be divided by rounding.
    """
    ridge = ridge + jnp.finfo(matrix.dtype).tiny
    if rhs.size == 1:
        return rhs / (matrix.reshape(rhs.shape) + ridge)
    matrix = matrix.reshape(rhs.size, rhs.size)
    matrix = matrix + ridge * jnp.eye(rhs.size, dtype=matrix.dtype)
    if not ignores_shifts:
        return jnp.linalg.solve(matrix, rhs.reshape(-1)).reshape(rhs.shape)
    matrix = matrix + jnp.trace(matrix) / rhs.size**2
    found = jnp.linalg.solve(matrix, rhs - jnp.mean(rhs))
    return found - jnp.mean(found)
