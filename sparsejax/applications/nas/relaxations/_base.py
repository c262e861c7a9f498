"""What a relaxation must say."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from .._space import Space

Weights = Float[Array, "edges operations"]
Part = Float[Array, ""] | float  # of a search

START = 1e-3  # the deviation of logits at the beginning


class AbstractRelaxation(eqx.Module):
    """Weights of all operations on all edges, from parameters that are learned."""

    @abc.abstractmethod
    def init(self, space: Space, key: PRNGKeyArray) -> Weights:
        """Parameters at the beginning."""

    @abc.abstractmethod
    def weights(
        self, alpha: Weights, space: Space, progress: Part = 1.0, key: PRNGKeyArray | None = None
    ) -> Weights:
        """Weights ≥ 0, zero where the space has no such choice.

        In a step of the search, ``progress`` is the part of it that is done and ``key`` there for
        what is random; by default this is the result of the search, and nothing is random.
        """

    @abc.abstractmethod
    def optimiser(self) -> optax.GradientTransformation:
        """Of the parameters."""


def small_normal(space: Space, key: PRNGKeyArray) -> Weights:
    """Nearly equal logits, in an order that depends on the seed."""
    return START * jax.random.normal(key, space.shape)


def masked(logits: Weights, space: Space) -> Weights:
    """−∞ where the space has no such choice."""
    return jnp.where(space.mask, logits, -jnp.inf)


def adam(learning_rate: float, weight_decay: float = 0.0) -> optax.GradientTransformation:
    """As DARTS and its successors take it for architectures."""
    return optax.chain(
        optax.add_decayed_weights(weight_decay), optax.adam(learning_rate, b1=0.5, b2=0.999)
    )
