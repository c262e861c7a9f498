"""What training makes: a policy, or several."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._networks import Actor
from ._transitions import Transitions


class Scaling(eqx.Module):
    """Of observations, to mean 0 and standard deviation 1, and of rewards, to the latter."""

    mean: Float[Array, " observations"]
    std: Float[Array, " observations"]
    reward: Float[Array, ""]

    @classmethod
    def of(cls, data: Transitions) -> "Scaling":
        """As in one data set; what is constant keeps its size."""
        reward = jnp.std(data.rewards)
        return cls(
            jnp.mean(data.observations, axis=0),
            jnp.std(data.observations, axis=0) + 1e-3,
            jnp.where(reward > 0, reward, 1.0),
        )

    def observations(self, x: Float[Array, "*batch observations"]) -> Array:
        return (x - self.mean) / self.std

    def apply(self, data: Transitions) -> Transitions:
        """The data, scaled."""
        return eqx.tree_at(
            lambda d: (d.observations, d.next_observations, d.rewards),
            data,
            (
                self.observations(data.observations),
                self.observations(data.next_observations),
                data.rewards / self.reward,
            ),
        )


class Policy(eqx.Module):
    """From an observation to the mean action of a trained agent.

    Parameters
    ----------
    actor
        A network, with zeros where its masks say so.
    scaling
        Of what it sees.

    Examples
    --------
    See ``train``.
    """

    actor: Actor
    scaling: Scaling

    def __call__(self, observation: Float[Array, " observations"]) -> Float[Array, " actions"]:
        return self.actor(self.scaling.observations(observation)[None])[0]
