"""Euclidean projection on the simplex."""

import equinox as eqx
import jax.numpy as jnp
import optax
from jaxtyping import PRNGKeyArray

from ....penalties._thresholds import simplex_threshold
from .._space import Space
from ._base import AbstractRelaxation, Part, Weights, adam, masked, small_normal


class Sparsemax(AbstractRelaxation):
    """The point of the simplex nearest to α: weights are exactly zero where α is far below.

    Parameters
    ----------
    learning_rate
        Of Adam.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from sparsejax.applications import nas
    >>> space = nas.SPACES["small"]
    >>> alpha = jnp.tile(jnp.array([1.0, 0.5, -3.0]), (3, 1))
    >>> nas.relaxations.Sparsemax().weights(alpha, space)[0].tolist()
    [0.75, 0.25, 0.0]

    Notes
    -----
    Martins & Astudillo, From softmax to sparsemax (ICML 2016).
    """

    learning_rate: float = eqx.field(static=True, default=3e-3)

    def init(self, space: Space, key: PRNGKeyArray) -> Weights:
        return small_normal(space, key)

    def weights(
        self, alpha: Weights, space: Space, progress: Part = 1.0, key: PRNGKeyArray | None = None
    ) -> Weights:
        edges, operations = space.shape
        logits = masked(alpha, space)
        radius = jnp.ones(edges, alpha.dtype)
        rows = jnp.repeat(jnp.arange(edges), operations)
        threshold, _ = simplex_threshold(logits.reshape(-1), radius, rows, edges)
        return jnp.maximum(logits - threshold[:, None], 0.0)

    def optimiser(self) -> optax.GradientTransformation:
        return adam(self.learning_rate)
