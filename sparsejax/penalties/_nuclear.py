"""The nuclear (trace) norm."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._arrays import inexact
from ._groups import ratio
from ._spectral import AbstractSpectral, aligned_forces, slack_of, spectral_norm


class Nuclear(AbstractSpectral):
    """strength · Σ_i σ_i(W), the singular values of W (p, tasks).

    Parameters
    ----------
    strength
        Scalar ≥ 0.
    shape
        (rows, columns) of W where the coefficients are a vector, W's entries row by row: for
        designs of matrices, such as ``designs.PerTask``, or matrix completion. None: the
        coefficients (p, tasks) are W.

    Raises
    ------
    ValueError
        If ``strength`` is negative or NaN, or not a scalar; if ``shape`` does not have an entry
        for each coefficient.

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
    shape: tuple[int, int] | None = eqx.field(default=None, static=True)

    def value(self, w: Float[Array, "p *tasks"]) -> Float[Array, ""]:
        # With vectors, which are not needed: compiled together, ``subdiff_distance`` shares them.
        return self.strength * jnp.sum(jnp.linalg.svd(self.matrix(w), full_matrices=False)[1])

    def sizes_value(self, sizes: Float[Array, " r"]) -> Float[Array, " r"]:
        return self.strength * sizes

    def sizes_slope(self, sizes: Float[Array, "*r"]) -> Float[Array, "*r"]:
        return jnp.broadcast_to(self.strength, sizes.shape)

    def sizes_prox(self, sizes: Float[Array, " r"], step: Float[Array, ""]) -> Float[Array, " r"]:
        return jnp.where(sizes > step * self.strength, sizes - step * self.strength, 0.0)

    def chords(
        self, sizes: Float[Array, " r"], shrunk: Float[Array, " r"], step: Float[Array, ""]
    ) -> Float[Array, "r r"]:
        threshold = step * self.strength
        above = (sizes > threshold) | (threshold == 0)
        mixed = above[:, None] != above
        distance = jnp.where(mixed, jnp.abs(sizes[:, None] - sizes), 1.0)
        both = 1.0 * (above[:, None] & above)
        return jnp.where(mixed, (shrunk[:, None] + shrunk) / distance, both)

    def sizes_gap(
        self, sizes: Float[Array, " r"], duals: Float[Array, " r"], slack: float
    ) -> Float[Array, " r"]:
        inside = ratio(duals, self.strength) <= slack
        return jnp.where(inside, sizes * (self.strength - duals), jnp.inf)

    def scaled_gap(
        self, w: Float[Array, "p *tasks"], c: Float[Array, "p *tasks"], scale: Float[Array, ""]
    ) -> Float[Array, ""]:
        # Σ σ(λ − γ) + σ(γ − uᵀcv): of the γ none but the largest counts, for less than all of them.
        sizes, aligned = aligned_forces(self.matrix(w), self.matrix(c))
        inside = ratio(scale * self.strength_max(c), self.strength) <= slack_of(c)
        return jnp.where(inside, jnp.sum(sizes * (self.strength - scale * aligned)), jnp.inf)

    def dual_scale(self, c: Float[Array, "p *tasks"]) -> Float[Array, ""]:
        return 1.0 / jnp.maximum(1.0, ratio(self.strength_max(c), self.strength))

    def strength_max(self, c: Float[Array, "p *tasks"]) -> Float[Array, ""]:
        return spectral_norm(self.matrix(c))
