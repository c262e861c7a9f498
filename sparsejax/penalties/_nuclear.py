"""The nuclear (trace) norm."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._arrays import inexact
from .._checks import check_nonnegative, is_nonnegative
from ._base import AbstractStrengthPenalty
from ._groups import ratio, root


class Nuclear(AbstractStrengthPenalty):
    """strength · Σ_i σ_i(W), the singular values of W (p, tasks).

    Parameters
    ----------
    strength
        Scalar ≥ 0.

    Raises
    ------
    ValueError
        If ``strength`` is negative or NaN, or not a scalar.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> penalty = sj.penalties.Nuclear(1.0)
    >>> jnp.round(jnp.abs(penalty.prox(jnp.diag(jnp.array([3.0, 0.5])), 1.0)), 3).tolist()
    [[2.0, 0.0], [0.0, 0.0]]

    Notes
    -----
    Fazel (2002); singular value thresholding (Cai, Candès & Shen, 2010). A singular value counts
    as zero up to 10 max(p, tasks) ε of the largest. A vector (p,) is one task, for which this is
    the ℓ2 norm.
    """

    strength: Float[Array, ""] = eqx.field(converter=inexact("strength"))

    takes_tasks: ClassVar[bool] = True

    def __check_init__(self) -> None:
        check_nonnegative("strength", self.strength, ndim=0, finite=True)

    def check(self, num_features: int) -> None:
        del num_features  # nothing here has one entry a feature

    def is_valid(self) -> Bool[Array, ""]:
        return is_nonnegative(self.strength)

    def value(self, w: Float[Array, "p *tasks"]) -> Float[Array, ""]:
        return self.strength * jnp.sum(jnp.linalg.svd(_matrix(w), compute_uv=False))

    def prox(self, v: Float[Array, "p *tasks"], step: Any) -> Float[Array, "p *tasks"]:
        threshold = jnp.asarray(step * self.strength, v.dtype)
        return _shrink(_matrix(v), threshold).reshape(v.shape)

    def subdiff_distance(
        self, w: Float[Array, "p *tasks"], grad: Float[Array, "p *tasks"]
    ) -> Float[Array, "p *tasks"]:
        """Magnitudes of −grad less its projection on {strength·(UVᵀ + M)}.

        U, V are the singular vectors of w, M is orthogonal to both with ‖M‖ ≤ 1.
        """
        left, sizes, right = jnp.linalg.svd(_matrix(w), full_matrices=False)
        rounding = 10 * max(left.shape[0], right.shape[1]) * jnp.finfo(w.dtype).eps
        kept = sizes > rounding * sizes[0]
        left, right = left * kept, right * kept[:, None]
        pull = -_matrix(grad)
        rest = pull - left @ (left.T @ pull)
        rest = rest - (rest @ right.T) @ right
        distance = pull - rest - self.strength * (left @ right) + _shrink(rest, self.strength)
        return jnp.abs(distance).reshape(w.shape)

    def support(self, w: Float[Array, "p *tasks"]) -> Bool[Array, "p *tasks"]:
        """The nonzero entries; the structure of W is in its rank."""
        return w != 0

    def dual_scale(self, c: Float[Array, "p *tasks"]) -> Float[Array, ""]:
        return 1.0 / jnp.maximum(1.0, ratio(self.strength_max(c), self.strength))

    def fenchel_gap(
        self, w: Float[Array, "p *tasks"], c: Float[Array, "p *tasks"]
    ) -> Float[Array, ""]:
        left, sizes, right = jnp.linalg.svd(_matrix(w), full_matrices=False)
        aligned = jnp.sum(left * (_matrix(c) @ right.T), axis=0)
        slack = 1 + (4 + c.size) * jnp.finfo(c.dtype).eps
        inside = ratio(self.strength_max(c), self.strength) <= slack
        return jnp.where(inside, jnp.sum(sizes * (self.strength - aligned)), jnp.inf)

    def strength_max(self, c: Float[Array, "p *tasks"]) -> Float[Array, ""]:
        return spectral_norm(_matrix(c))


def spectral_norm(x: Float[Array, "p tasks"]) -> Float[Array, ""]:
    """The largest singular value, from the smaller of the Gram matrices: to the last digit.

    Small singular values would lose half of theirs.
    """
    unit = jax.lax.stop_gradient(jnp.max(jnp.abs(x)))
    unit = jnp.where(unit > 0, unit, 1.0)
    x = x / unit
    gram = x.T @ x if x.shape[0] > x.shape[1] else x @ x.T
    return unit * root(jnp.linalg.eigvalsh(gram)[-1])


def _matrix(w: Float[Array, "p *tasks"]) -> Float[Array, "p tasks"]:
    return w.reshape(w.shape[0], -1)


@jax.custom_jvp
def _shrink(v: Float[Array, "p tasks"], t: Float[Array, ""]) -> Float[Array, "p tasks"]:
    """U(Σ − t)₊Vᵀ."""
    left, sizes, right = jnp.linalg.svd(v, full_matrices=False)
    return (left * jnp.maximum(sizes - t, 0.0)) @ right


@_shrink.defjvp
def _shrink_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    """Divided differences of σ ↦ (σ − t)₊, finite for repeated and zero singular values.

    In the bases of singular vectors the symmetric part of a change is scaled by
    (f(σᵢ) − f(σⱼ))/(σᵢ − σⱼ), the antisymmetric one by (f(σᵢ) + f(σⱼ))/(σᵢ + σⱼ), and what leaves
    the bases by f(σⱼ)/σⱼ (Lewis & Sendov, 2005).
    """
    (v, t), (change, change_t) = primals, tangents
    left, sizes, right = jnp.linalg.svd(v, full_matrices=False)
    shrunk, above = jnp.maximum(sizes - t, 0.0), (sizes > t) | (t == 0)
    mixed = above[:, None] != above
    distance = jnp.where(mixed, jnp.abs(sizes[:, None] - sizes), 1.0)
    symmetric = jnp.where(
        mixed, (shrunk[:, None] + shrunk) / distance, 1.0 * (above[:, None] & above)
    )
    antisymmetric = _factor(shrunk[:, None] + shrunk, sizes[:, None] + sizes, t)
    outside = _factor(shrunk, sizes, t)
    inner = left.T @ change @ right.T
    turned = symmetric * (inner + inner.T) / 2 + antisymmetric * (inner - inner.T) / 2
    rows, columns = change @ right.T, left.T @ change
    derivative = (
        left @ (turned - jnp.diag(change_t * (sizes > t))) @ right
        + ((rows - left @ inner) * outside) @ right
        + (left * outside) @ (columns - inner @ right)
    )
    return (left * shrunk) @ right, derivative


def _factor(
    shrunk: Float[Array, "..."], sizes: Float[Array, "..."], t: Float[Array, ""]
) -> Float[Array, "..."]:
    """shrunk/sizes, and its limit where both are zero."""
    positive = sizes > 0
    limit = jnp.where(t == 0, 1.0, 0.0)
    return jnp.where(positive, shrunk / jnp.where(positive, sizes, 1.0), limit)
