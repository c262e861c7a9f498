"""Implicit Q-learning."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ._algorithm import AbstractAlgorithm, Loss, bellman_error
from ._networks import Actor, Critics, Network, Sizes
from ._transitions import Transitions


class IQL(AbstractAlgorithm):
    """Never ask what an action is worth that the data do not show.

    A state's value V(s) is an expectile of what the data's actions are worth there, the critics
    learn from r + γ V(s'), and the policy imitates actions with weight
    min(exp(β (Q(s, a) − V(s))), cap).

    Parameters
    ----------
    expectile
        In (0, 1); ½ is the mean, towards 1 the best of the actions.
    beta, cap
        Of the weights.
    discount
        Of rewards, a step.
    follow
        The part by which the critics' copies follow, each step.

    Examples
    --------
    >>> from sparsejax.applications import offline_rl as rl
    >>> list(rl.IQL(expectile=0.9).losses())
    ['value', 'actor', 'critics']

    Notes
    -----
    Kostrikov, Nair & Levine, Offline reinforcement learning with implicit Q-learning (ICLR 2022),
    equations 5 to 7.
    """

    slow: ClassVar[tuple[str, ...]] = ("critics",)
    cosine: ClassVar[tuple[str, ...]] = ("actor",)
    expectile: float = 0.7
    beta: float = 3.0
    cap: float = 100.0
    discount: float = 0.99
    follow: float = 0.005

    def networks(
        self, observations: int, actions: int, sizes: Sizes, key: PRNGKeyArray
    ) -> dict[str, Any]:
        keys = jax.random.split(key, 3)
        return {
            "actor": sizes.actor(observations, actions, True, keys[0]),
            "critics": sizes.critics(observations, actions, keys[1]),
            "value": sizes.value(observations, keys[2]),
        }

    def losses(self) -> dict[str, Loss]:
        return {"value": self._value, "actor": self._actor, "critics": self._critics}

    def _value(
        self, value: Network, nets: dict, slow: dict, batch: Transitions, key: PRNGKeyArray
    ) -> Float[Array, ""]:
        del nets
        worth = slow["critics"](batch.observations, batch.actions).min(axis=0)
        over = worth - value(batch.observations, key)[:, 0]
        weight = jnp.where(over > 0, self.expectile, 1 - self.expectile)
        return jnp.mean(weight * over**2)

    def _actor(
        self, actor: Actor, nets: dict, slow: dict, batch: Transitions, key: PRNGKeyArray
    ) -> Float[Array, ""]:
        worth = slow["critics"](batch.observations, batch.actions).min(axis=0)
        advantage = worth - nets["value"](batch.observations)[:, 0]
        weight = jnp.minimum(jnp.exp(self.beta * advantage), self.cap)
        return -jnp.mean(weight * actor.log_density(batch.observations, batch.actions, key))

    def _critics(
        self, critics: Critics, nets: dict, slow: dict, batch: Transitions, key: PRNGKeyArray
    ) -> Float[Array, ""]:
        del slow
        worth = nets["value"](batch.next_observations)[:, 0]
        estimates = critics(batch.observations, batch.actions, key)
        return bellman_error(estimates, batch, self.discount, worth)
