"""GAEA."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PRNGKeyArray

from .._space import Space
from ._base import AbstractRelaxation, Part, Weights


class ExponentiatedGradient(AbstractRelaxation):
    """The weights themselves, on the simplex, by p ← p·exp(−rate·gradient)/sum.

    Mirror descent with the entropy: what is not helpful falls geometrically.

    Parameters
    ----------
    learning_rate
        Of the exponent.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from sparsejax.applications import nas
    >>> relaxation, space = nas.relaxations.ExponentiatedGradient(1.0), nas.SPACES["skip-or-conv"]
    >>> p = relaxation.init(space, jax.random.key(0))
    >>> optimiser = relaxation.optimiser()
    >>> change, _ = optimiser.update(jnp.zeros_like(p).at[:, 0].set(1.0), optimiser.init(p), p)
    >>> (p + change)[0].round(3).tolist()
    [0.269, 0.731]

    Notes
    -----
    Li, Khodak, Balcan & Talwalkar, Geometry-aware gradient algorithms for neural architecture
    search (ICLR 2021): GAEA.
    """

    learning_rate: float = eqx.field(static=True, default=0.1)

    def init(self, space: Space, key: PRNGKeyArray) -> Weights:
        mask = jnp.asarray(space.mask, jnp.result_type(float))
        return mask / jnp.sum(mask, axis=-1, keepdims=True)

    def weights(
        self, alpha: Weights, space: Space, progress: Part = 1.0, key: PRNGKeyArray | None = None
    ) -> Weights:
        return alpha

    def optimiser(self) -> optax.GradientTransformation:
        def update(
            updates: optax.Updates, state: Any, params: optax.Params | None = None
        ) -> tuple[optax.Updates, Any]:
            def step(slope: Array, p: Array) -> Array:
                return jax.nn.softmax(jnp.log(p) - self.learning_rate * slope, axis=-1) - p

            return jax.tree.map(step, updates, params), state

        return optax.GradientTransformation(optax.init_empty_state, update)
