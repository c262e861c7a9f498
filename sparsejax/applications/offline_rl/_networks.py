"""Networks of agents: dense, of two hidden layers or as many as one likes, with ReLU."""

import itertools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray


class Network(eqx.Module):
    """Linear layers with ReLU between, and dropout where a key is given."""

    layers: tuple[eqx.nn.Linear, ...]
    dropout: float = eqx.field(static=True)

    def __init__(self, sizes: tuple[int, ...], dropout: float, key: PRNGKeyArray):
        keys = jax.random.split(key, len(sizes) - 1)
        self.layers = tuple(
            eqx.nn.Linear(*pair, key=k)
            for pair, k in zip(itertools.pairwise(sizes), keys, strict=True)
        )
        self.dropout = dropout

    def __call__(
        self, x: Float[Array, "batch inputs"], key: PRNGKeyArray | None = None
    ) -> Float[Array, "batch outputs"]:
        *hidden, last = self.layers
        for i, layer in enumerate(hidden):
            x = jax.nn.relu(_linear(layer, x))
            if key is not None and self.dropout:
                kept = jax.random.bernoulli(jax.random.fold_in(key, i), 1 - self.dropout, x.shape)
                x = jnp.where(kept, x / (1 - self.dropout), 0.0)
        return _linear(last, x)


class Actor(eqx.Module):
    """A policy: the mean of its actions is tanh of a network's outputs.

    ``log_std`` is that of normal noise about it, the same in all states; None is no noise.
    """

    network: Network
    log_std: Float[Array, " actions"] | None

    def __call__(
        self, observations: Float[Array, "batch observations"], key: PRNGKeyArray | None = None
    ) -> Float[Array, "batch actions"]:
        """Means."""
        return jnp.tanh(self.network(observations, key))

    def sample(
        self, observations: Float[Array, "batch observations"], key: PRNGKeyArray
    ) -> Float[Array, "batch actions"]:
        """Actions with noise, within [−1, 1]."""
        means = self(observations)
        return jnp.clip(means + self._std() * jax.random.normal(key, means.shape), -1, 1)

    def log_density(
        self,
        observations: Float[Array, "batch observations"],
        actions: Float[Array, "batch actions"],
        key: PRNGKeyArray | None,
    ) -> Float[Array, " batch"]:
        """Of actions, those beyond [−1, 1] included."""
        std = self._std()
        each = jax.scipy.stats.norm.logpdf(actions, self(observations, key), std)
        return jnp.sum(each, axis=-1)

    def _std(self) -> Float[Array, " actions"]:
        assert self.log_std is not None
        return jnp.exp(jnp.clip(self.log_std, -20, 2))


class Critics(eqx.Module):
    """Two estimates of what an action is worth: the smaller one is trusted."""

    first: Network
    second: Network

    def __call__(
        self,
        observations: Float[Array, "batch observations"],
        actions: Float[Array, "batch actions"],
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "2 batch"]:
        x = jnp.concatenate([observations, actions], axis=-1)
        keys = (None, None) if key is None else jax.random.split(key)
        both = zip((self.first, self.second), keys, strict=True)
        return jnp.stack([network(x, k)[:, 0] for network, k in both])


class Sizes(eqx.Module):
    """What networks are made of."""

    width: int
    depth: int
    dropout: float

    def actor(self, observations: int, actions: int, noisy: bool, key: PRNGKeyArray) -> Actor:
        network = self._network(observations, actions, key)
        return Actor(network, jnp.zeros(actions) if noisy else None)

    def critics(self, observations: int, actions: int, key: PRNGKeyArray) -> Critics:
        keys = jax.random.split(key)
        return Critics(*(self._network(observations + actions, 1, k) for k in keys))

    def value(self, observations: int, key: PRNGKeyArray) -> Network:
        return self._network(observations, 1, key)

    def _network(self, inputs: int, outputs: int, key: PRNGKeyArray) -> Network:
        return Network((inputs, *[self.width] * self.depth, outputs), self.dropout, key)


def _linear(layer: Any, x: Float[Array, "batch inputs"]) -> Float[Array, "batch outputs"]:
    return x @ layer.weight.T + layer.bias
