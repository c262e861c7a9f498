"""DARTS."""

import equinox as eqx
import jax
import optax
from jaxtyping import PRNGKeyArray

from .._space import Space
from ._base import AbstractRelaxation, Part, Weights, adam, masked, small_normal


class Softmax(AbstractRelaxation):
    """softmax(α) on every edge: all operations have a share, and the search never decides.

    Parameters
    ----------
    learning_rate
        Of Adam. (DARTS has 3e-4 for twenty thousand steps, here there are fewer.)
    weight_decay
        Added to the gradient.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from sparsejax.applications import nas
    >>> space = nas.SPACES["skip-or-conv"]
    >>> nas.relaxations.Softmax().weights(jnp.zeros(space.shape), space)[0].tolist()
    [0.5, 0.5]

    Notes
    -----
    Liu, Simonyan & Yang, DARTS: differentiable architecture search (ICLR 2019).
    """

    learning_rate: float = eqx.field(static=True, default=3e-3)
    weight_decay: float = eqx.field(static=True, default=1e-3)

    def init(self, space: Space, key: PRNGKeyArray) -> Weights:
        return small_normal(space, key)

    def weights(
        self, alpha: Weights, space: Space, progress: Part = 1.0, key: PRNGKeyArray | None = None
    ) -> Weights:
        return jax.nn.softmax(masked(alpha, space), axis=-1)

    def optimiser(self) -> optax.GradientTransformation:
        return adam(self.learning_rate, self.weight_decay)
