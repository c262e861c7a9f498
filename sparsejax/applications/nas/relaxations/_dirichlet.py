"""DrNAS."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PRNGKeyArray

from .._space import Space
from ._base import AbstractRelaxation, Part, Weights, adam, small_normal


class Dirichlet(AbstractRelaxation):
    """Weights drawn from a Dirichlet distribution in every step; its concentrations are learned.

    The concentration is elu(α) + 1 > 0, and kept near one by anchor/2·Σ(concentration − 1)²: below
    one, draws are near corners of the simplex. The result of a search is the mean.

    Parameters
    ----------
    anchor
        How strongly.
    learning_rate
        Of Adam.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from sparsejax.applications import nas
    >>> relaxation, space = nas.relaxations.Dirichlet(), nas.SPACES["skip-or-conv"]
    >>> alpha = jnp.tile(jnp.array([2.0, 0.0]), (6, 1))
    >>> relaxation.weights(alpha, space)[0].tolist()
    [0.75, 0.25]
    >>> drawn = relaxation.weights(alpha, space, 0.5, jax.random.key(0))
    >>> jnp.sum(drawn, axis=1).tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]

    Notes
    -----
    Chen et al., DrNAS: Dirichlet neural architecture search (ICLR 2021). Draws are differentiated
    as quotients of Gamma variables.
    """

    anchor: float = eqx.field(static=True, default=1e-3)
    learning_rate: float = eqx.field(static=True, default=3e-3)

    def init(self, space: Space, key: PRNGKeyArray) -> Weights:
        return small_normal(space, key)

    def weights(
        self, alpha: Weights, space: Space, progress: Part = 1.0, key: PRNGKeyArray | None = None
    ) -> Weights:
        found = concentration(alpha)
        if key is not None:
            found = jnp.exp(jax.random.loggamma(key, found, dtype=alpha.dtype))
        # Small concentrations may leave draws of an edge that all round to zero.
        found = jnp.where(space.mask, found + jnp.finfo(alpha.dtype).tiny, 0.0)
        return found / jnp.sum(found, axis=-1, keepdims=True)

    def optimiser(self) -> optax.GradientTransformation:
        def pull(alpha: Array) -> Array:
            return self.anchor / 2 * jnp.sum((concentration(alpha) - 1) ** 2)

        def update(
            updates: optax.Updates, state: Any, params: optax.Params | None = None
        ) -> tuple[optax.Updates, Any]:
            return jax.tree.map(lambda u, alpha: u + jax.grad(pull)(alpha), updates, params), state

        anchored = optax.GradientTransformation(optax.init_empty_state, update)
        return optax.chain(anchored, adam(self.learning_rate))


def concentration(alpha: Weights) -> Weights:
    """elu(α) + 1."""
    return jax.nn.elu(alpha) + 1
