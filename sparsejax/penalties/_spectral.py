"""Functions of the singular values of a matrix of coefficients."""

import abc
import math
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._checks import check_nonnegative, is_nonnegative
from .._together import largest
from ._base import AbstractStrengthPenalty
from ._groups import root


class AbstractSpectral(AbstractStrengthPenalty):
    """Σ_i φ(σ_i(W)): a subclass says what φ is, increasing with φ(0) = 0."""

    # Of W, where the coefficients are its entries in a row.
    shape: eqx.AbstractVar[tuple[int, int] | None]

    takes_tasks: ClassVar[bool] = True

    def __check_init__(self) -> None:
        check_nonnegative("strength", self.strength, ndim=0, finite=True)

    def check(self, num_features: int) -> None:
        if self.shape is not None and math.prod(self.shape) != num_features:
            raise ValueError(
                f"`shape` {self.shape} has {math.prod(self.shape)} entries, but there are "
                f"{num_features} features."
            )

    def matrix(self, w: Float[Array, "p *tasks"]) -> Float[Array, "p tasks"]:
        """The coefficients as a matrix: a vector is one task, unless there is a ``shape``."""
        return w.reshape(self.shape or (w.shape[0], -1))

    def is_valid(self) -> Bool[Array, ""]:
        return is_nonnegative(self.strength)

    @abc.abstractmethod
    def sizes_value(self, sizes: Float[Array, " r"]) -> Float[Array, " r"]:
        """φ(σ)."""

    @abc.abstractmethod
    def sizes_slope(self, sizes: Float[Array, "*r"]) -> Float[Array, "*r"]:
        """φ′(σ), from the right."""

    @abc.abstractmethod
    def sizes_prox(self, sizes: Float[Array, " r"], step: Float[Array, ""]) -> Float[Array, " r"]:
        """argmin over x ≥ 0 of (x − σ)²/2 + step·φ(x)."""

    @abc.abstractmethod
    def chords(
        self, sizes: Float[Array, " r"], shrunk: Float[Array, " r"], step: Float[Array, ""]
    ) -> Float[Array, "r r"]:
        """Slopes of ``sizes_prox`` from one σ to another, its derivative where they agree."""

    @abc.abstractmethod
    def sizes_gap(
        self, sizes: Float[Array, " r"], duals: Float[Array, " r"], slack: float
    ) -> Float[Array, " r"]:
        """φ(σ) + φ*(γ) − σγ, where φ* may be finite up to ``slack`` times the end of its domain."""

    def value(self, w: Float[Array, "p *tasks"]) -> Float[Array, ""]:
        return jnp.sum(self.sizes_value(self._sizes(w)))

    def prox(self, v: Float[Array, "p *tasks"], step: Any) -> Float[Array, "p *tasks"]:
        return _prox(self, self.matrix(v), jnp.asarray(step, v.dtype)).reshape(v.shape)

    def into_domain(self, w: Float[Array, "p *tasks"]) -> Float[Array, "p *tasks"]:
        return w  # φ is finite: there is nothing to decompose

    def subdiff_distance(
        self, w: Float[Array, "p *tasks"], grad: Float[Array, "p *tasks"]
    ) -> Float[Array, "p *tasks"]:
        """Magnitudes of −grad less its projection on {U φ′(Σ) Vᵀ + M}.

        U, V are the singular vectors of w, M is orthogonal to both with ‖M‖ ≤ φ′(0). A singular
        value counts as zero up to 10 max(p, tasks) ε of the largest, φ′(0) as the slope there.
        """
        left, sizes, right = jnp.linalg.svd(self.matrix(w), full_matrices=False)
        rounding = 10 * max(left.shape[0], right.shape[1]) * jnp.finfo(w.dtype).eps
        zero = rounding * sizes[0]
        kept = sizes > zero
        left, right = left * kept, right * kept[:, None]
        pull = -self.matrix(grad)
        rest = pull - left @ (left.T @ pull)
        rest = rest - (rest @ right.T) @ right
        a, rest_sizes, b = leading_svd(rest)  # of which only what is large counts
        beyond = (a * jnp.maximum(rest_sizes - self.sizes_slope(zero), 0.0)) @ b
        distance = pull - rest - (left * self.sizes_slope(sizes)) @ right + beyond
        return jnp.abs(distance).reshape(w.shape)

    def support(self, w: Float[Array, "p *tasks"]) -> Bool[Array, "p *tasks"]:
        """The nonzero entries; the structure of W is in its rank."""
        return w != 0

    def fenchel_gap(
        self, w: Float[Array, "p *tasks"], c: Float[Array, "p *tasks"]
    ) -> Float[Array, ""]:
        return self.scaled_gap(w, c, jnp.ones((), c.dtype))

    def scaled_gap(
        self, w: Float[Array, "p *tasks"], c: Float[Array, "p *tasks"], scale: Float[Array, ""]
    ) -> Float[Array, ""]:
        # That of the singular values, and what the singular vectors miss of von Neumann's bound.
        sizes, aligned = aligned_forces(self.matrix(w), self.matrix(c))
        duals = self._sizes(c)
        gap = jnp.sum(self.sizes_gap(sizes, scale * duals, slack_of(c)))
        return gap + scale * jnp.sum(sizes * (duals - aligned))

    def _sizes(self, w: Float[Array, "p *tasks"]) -> Float[Array, " r"]:
        return jnp.linalg.svd(self.matrix(w), compute_uv=False)


def aligned_forces(
    w: Float[Array, "p tasks"], c: Float[Array, "p tasks"]
) -> tuple[Float[Array, " r"], Float[Array, " r"]]:
    """The singular values σ of W = U Σ Vᵀ and the forces uᵀc v along them: for free at zero."""

    def known() -> tuple[Array, Array]:
        left, sizes, right = jnp.linalg.svd(w, full_matrices=False)
        return sizes, jnp.sum(left * (c @ right.T), axis=0)

    nothing = jnp.zeros(min(w.shape), w.dtype)
    return jax.lax.cond(largest(jnp.any(w != 0)), known, lambda: (nothing, nothing))


def slack_of(c: Float[Array, "..."]) -> float:
    """Up to what part of its bound a singular value may be, since it is rounded."""
    return 1 + (4 + c.size) * float(jnp.finfo(c.dtype).eps)


def spectral_norm(x: Float[Array, "p tasks"]) -> Float[Array, ""]:
    """The largest singular value, from the smaller of the Gram matrices: to the last digit.

    Small singular values would lose half of theirs.
    """
    x, unit = _in_units(x)
    return unit * root(jnp.linalg.eigvalsh(_smaller_gram(x))[-1])


def leading_svd(
    x: Float[Array, "p tasks"],
) -> tuple[Float[Array, "p k"], Float[Array, " k"], Float[Array, "k tasks"]]:
    """U, Σ, Vᵀ, to the last digit where σ is of the size of the largest, in half the time.

    From the smaller of the Gram matrices: small singular values lose half of their digits.
    """
    x, unit = _in_units(x)
    squares, vectors = jnp.linalg.eigh(_smaller_gram(x))
    sizes = root(squares)
    inverse = 1 / jnp.where(sizes > 0, sizes, 1.0)
    if x.shape[0] > x.shape[1]:
        return (x @ vectors) * inverse, unit * sizes, vectors.T
    return vectors, unit * sizes, inverse[:, None] * (vectors.T @ x)


def _in_units(x: Float[Array, "p tasks"]) -> tuple[Float[Array, "p tasks"], Float[Array, ""]]:
    """Divided by the size of the largest entry, and that: squares neither overflow nor vanish."""
    unit = jax.lax.stop_gradient(jnp.max(jnp.abs(x)))
    unit = jnp.where(unit > 0, unit, 1.0)
    return x / unit, unit


def _smaller_gram(x: Float[Array, "p tasks"]) -> Float[Array, "k k"]:
    return x.T @ x if x.shape[0] > x.shape[1] else x @ x.T


@jax.custom_jvp
def _prox(
    penalty: AbstractSpectral, v: Float[Array, "p tasks"], step: Float[Array, ""]
) -> Float[Array, "p tasks"]:
    """U f(Σ) Vᵀ for the proximal operator f of φ."""
    left, sizes, right = jnp.linalg.svd(v, full_matrices=False)
    return (left * penalty.sizes_prox(sizes, step)) @ right


@_prox.defjvp
def _prox_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    """Slopes of the chords of f, finite for repeated and zero singular values.

    In the bases of singular vectors the symmetric part of a change is scaled by
    (f(σᵢ) − f(σⱼ))/(σᵢ − σⱼ), the antisymmetric one by (f(σᵢ) + f(σⱼ))/(σᵢ + σⱼ), and what leaves
    the bases by f(σⱼ)/σⱼ (Lewis & Sendov, 2005).
    """
    (penalty, v, step), (penalty_dot, change, step_dot) = primals, tangents
    left, sizes, right = jnp.linalg.svd(v, full_matrices=False)
    shrunk, moved = jax.jvp(
        lambda penalty, step: penalty.sizes_prox(sizes, step),
        (penalty, step),
        (penalty_dot, step_dot),
    )
    with_zero = penalty.chords(jnp.append(sizes, 0.0), jnp.append(shrunk, 0.0), step)
    symmetric, outside, at_zero = with_zero[:-1, :-1], with_zero[:-1, -1], with_zero[-1, -1]
    sums = sizes[:, None] + sizes
    some = sums > 0
    antisymmetric = jnp.where(some, (shrunk[:, None] + shrunk) / jnp.where(some, sums, 1), at_zero)
    inner = left.T @ change @ right.T
    turned = symmetric * (inner + inner.T) / 2 + antisymmetric * (inner - inner.T) / 2
    rows, columns = change @ right.T, left.T @ change
    derivative = (
        left @ (turned + jnp.diag(moved)) @ right
        + ((rows - left @ inner) * outside) @ right
        + (left * outside) @ (columns - inner @ right)
    )
    return (left * shrunk) @ right, derivative
