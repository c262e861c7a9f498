"""ISTA-NAS, with an orthonormal dictionary."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from .._space import Space
from ._base import AbstractRelaxation, Part, Weights, adam, masked, small_normal


class SparseCoding(AbstractRelaxation):
    """The ℓ1 norm over all that enters a node leaves some operations, two by default.

    For each node z = argmin_{z ≥ 0} ½‖z − α‖² + λ‖z‖₁ over its edges and operations together, at
    the λ that leaves so many non-zeros, divided by the mean over these. During the warm-up of a
    search their number falls from all to that.

    Parameters
    ----------
    nonzeros
        Of every node.
    warmup
        The part of the search in which their number falls.
    learning_rate
        Of Adam.

    Raises
    ------
    ValueError
        If ``nonzeros`` is not positive or ``warmup`` not in [0, 1).

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from sparsejax.applications import nas
    >>> space = nas.SPACES["small"]
    >>> alpha = jnp.array([[0.0, 0.2, 0.3], [0.3, 0.1, 0.0], [0.0, 0.1, 0.2]])
    >>> nas.relaxations.SparseCoding().weights(alpha, space).round(2).tolist()
    [[0.0, 0.8, 1.2], [1.33, 0.0, 0.0], [0.0, 0.0, 0.67]]

    Notes
    -----
    Yang et al., ISTA-NAS: efficient and consistent neural architecture search by sparse coding
    (NeurIPS 2020), who compress α by a random matrix; with an orthonormal one the Lasso has the
    closed form used here.
    """

    nonzeros: int = eqx.field(static=True, default=2)
    warmup: float = eqx.field(static=True, default=0.5)
    learning_rate: float = eqx.field(static=True, default=3e-3)

    def __check_init__(self) -> None:
        if self.nonzeros < 1:
            raise ValueError(f"`nonzeros` must be positive; got {self.nonzeros}.")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"`warmup` must lie in [0, 1); got {self.warmup}.")

    def init(self, space: Space, key: PRNGKeyArray) -> Weights:
        return small_normal(space, key)

    def weights(
        self, alpha: Weights, space: Space, progress: Part = 1.0, key: PRNGKeyArray | None = None
    ) -> Weights:
        left = self.warmup - jnp.asarray(progress)
        dense = jnp.clip(left / self.warmup, 0.0, 1.0) if self.warmup else 0.0
        codes = jnp.zeros_like(alpha)
        for entering in space.entering:
            choices = int(space.mask[entering].sum())
            least = min(self.nonzeros, choices)
            kept = least + jnp.round(dense * (choices - least)).astype(int)
            values = masked(alpha, space)[entering].reshape(-1)
            codes = codes.at[entering].set(_code(values, kept).reshape(entering.size, -1))
        return codes

    def optimiser(self) -> optax.GradientTransformation:
        return adam(self.learning_rate)


def _code(values: Float[Array, " k"], kept: Array) -> Float[Array, " k"]:
    """(values − λ)₊ with a mean of one over its non-zeros; λ is the largest entry that is left out.

    If none is, λ lies below the smallest by their mean distance.
    """
    descending = jax.lax.top_k(values, values.size)[0]
    choices = jnp.isfinite(descending)
    least = jnp.min(jnp.where(choices, descending, jnp.inf))
    below = least - (descending[0] - least) / jnp.sum(choices) - jnp.finfo(values.dtype).tiny
    threshold = jnp.append(jnp.where(choices, descending, below), below)[kept]
    code = jnp.maximum(values - threshold, 0.0)
    total = jnp.sum(code)
    # All entries may be equal.
    return jnp.where(total > 0, kept * code / jnp.where(total > 0, total, 1.0), 0.0)
