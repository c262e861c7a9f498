"""Concave functions of the singular values of a matrix of coefficients."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ._concave import AbstractConcavePenalty
from ._nuclear import Nuclear
from ._of_sizes import AbstractOfSizes
from ._spectral import AbstractSpectral, spectral_norm
from ._weighted import known_profile


class Spectral(AbstractOfSizes, AbstractSpectral):
    """Σ_i h(σ_i(W)), the singular values of W (p, tasks), for the h of a concave penalty.

    ``CappedL1`` of threshold θ leaves what is larger than θ alone, as truncated nuclear norms do.

    Parameters
    ----------
    penalty
        ``MCP``, ``SCAD``, ``CappedL1``, ``LogSum`` or ``Lq``; ``MultiStage`` takes all but the
        last, whose slope at zero is infinite.
    shape
        As for ``Nuclear``.

    Raises
    ------
    TypeError
        If the penalty is another.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> penalty = sj.penalties.Spectral(sj.penalties.MCP(1.0, 2.0))
    >>> jnp.round(jnp.abs(penalty.prox(jnp.diag(jnp.array([3.0, 0.5])), 1.0)), 3).tolist()
    [[3.0, 0.0], [0.0, 0.0]]

    Notes
    -----
    With σ and the singular vectors U, V of W̄, h(σ_i(W)) summed is at most

        h′(0)·‖W‖_* − ⟨U diag(h′(0) − h′(σ_i)) Vᵀ, W⟩ + constant,

    with equality at W̄, because Σ_i h′(0)σ_i − h(σ_i) is convex (Lewis, 1995, after von Neumann's
    trace inequality). As Hu et al. did for the truncated nuclear norm (IEEE TPAMI 2013), and Lu et
    al. for others with a bound that is not convex (IEEE TIP 2016).
    """

    penalty: AbstractConcavePenalty
    shape: tuple[int, int] | None = eqx.field(static=True)

    def __init__(
        self, penalty: AbstractConcavePenalty, shape: tuple[int, int] | None = None
    ) -> None:
        self.penalty = known_profile(penalty)
        self.shape = shape

    def is_valid(self) -> Bool[Array, ""]:
        return self.penalty.is_valid()

    def sizes_value(self, sizes: Float[Array, " r"]) -> Float[Array, " r"]:
        return self.penalty.profile(sizes)

    def sizes_slope(self, sizes: Float[Array, "*r"]) -> Float[Array, "*r"]:
        return self.penalty.slope(sizes)

    def sizes_prox(self, sizes: Float[Array, " r"], step: Float[Array, ""]) -> Float[Array, " r"]:
        return self.penalty.prox(sizes, step)

    def chords(
        self, sizes: Float[Array, " r"], shrunk: Float[Array, " r"], step: Float[Array, ""]
    ) -> Float[Array, "r r"]:
        slopes = jax.jvp(
            lambda sizes: self.penalty.prox(sizes, step), (sizes,), (jnp.ones_like(sizes),)
        )[1]
        distance = sizes[:, None] - sizes
        # Nearer than that, the mean of the slopes is the more exact.
        near = jnp.abs(distance) <= jnp.finfo(sizes.dtype).eps ** (1 / 3) * jnp.max(sizes)
        chords = (shrunk[:, None] - shrunk) / jnp.where(near, 1.0, distance)
        return jnp.where(near, (slopes[:, None] + slopes) / 2, chords)

    def sizes_gap(
        self, sizes: Float[Array, " r"], duals: Float[Array, " r"], slack: float
    ) -> Float[Array, " r"]:
        del slack
        return jnp.where(duals != 0, jnp.inf, self.penalty.profile(sizes))

    def dual_scale(self, c: Float[Array, "p *tasks"]) -> Float[Array, ""]:
        return self.penalty.dual_scale(c)

    def strength_max(self, c: Float[Array, "p *tasks"]) -> Float[Array, ""]:
        """As for ``Nuclear``; ``TypeError`` where the slope at zero is infinite."""
        return self.penalty.strength_max(spectral_norm(self.matrix(c)))

    def touching(self, w: Float[Array, "p *tasks"]) -> Nuclear:
        return Nuclear(self.penalty.slope(jnp.zeros((), w.dtype)), self.shape)

    def tilt(self, w: Float[Array, "p *tasks"]) -> Float[Array, "p *tasks"]:
        left, sizes, right = jnp.linalg.svd(self.matrix(w), full_matrices=False)
        missing = self.penalty.slope(jnp.zeros_like(sizes)) - self.penalty.slope(sizes)
        return ((left * missing) @ right).reshape(w.shape)
