"""Advantage-weighted actor–critic."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ._algorithm import AbstractAlgorithm, Loss, bellman_error
from ._networks import Actor, Critics, Sizes
from ._transitions import Transitions


class AWAC(AbstractAlgorithm):
    """Imitate the data's actions with weight min(exp((Q(s, a) − Q(s, π(s))) / temperature), cap).

    Parameters
    ----------
    temperature
        The smaller, the fewer actions are imitated. In the units of scaled rewards: where critics
        are trusted too far, and more data make it worse, raise it.
    cap
        Of the weights.
    discount
        Of rewards, a step.
    follow
        The part by which the critics' copies follow, each step.

    Examples
    --------
    >>> from sparsejax.applications import offline_rl as rl
    >>> list(rl.AWAC().losses())
    ['critics', 'actor']

    Notes
    -----
    Nair, Gupta, Dalal & Levine, AWAC: accelerating online reinforcement learning with offline
    datasets (2020).
    """

    slow: ClassVar[tuple[str, ...]] = ("critics",)
    temperature: float = 1 / 3
    cap: float = 100.0
    discount: float = 0.99
    follow: float = 0.005

    def networks(
        self, observations: int, actions: int, sizes: Sizes, key: PRNGKeyArray
    ) -> dict[str, Any]:
        one, other = jax.random.split(key)
        return {
            "actor": sizes.actor(observations, actions, True, one),
            "critics": sizes.critics(observations, actions, other),
        }

    def losses(self) -> dict[str, Loss]:
        return {"critics": self._critics, "actor": self._actor}

    def _critics(
        self, critics: Critics, nets: dict, slow: dict, batch: Transitions, key: PRNGKeyArray
    ) -> Float[Array, ""]:
        one, other = jax.random.split(key)
        next_actions = nets["actor"].sample(batch.next_observations, one)
        worth = slow["critics"](batch.next_observations, next_actions).min(axis=0)
        estimates = critics(batch.observations, batch.actions, other)
        return bellman_error(estimates, batch, self.discount, worth)

    def _actor(
        self, actor: Actor, nets: dict, slow: dict, batch: Transitions, key: PRNGKeyArray
    ) -> Float[Array, ""]:
        del slow
        one, other = jax.random.split(key)
        own = jax.lax.stop_gradient(actor.sample(batch.observations, one))
        worth = nets["critics"](batch.observations, batch.actions).min(axis=0)
        advantage = worth - nets["critics"](batch.observations, own).min(axis=0)
        weight = jnp.minimum(jnp.exp(advantage / self.temperature), self.cap)
        return -jnp.mean(weight * actor.log_density(batch.observations, batch.actions, other))
