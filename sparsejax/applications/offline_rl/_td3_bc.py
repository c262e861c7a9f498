"""TD3 with behavioural cloning."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ._algorithm import AbstractAlgorithm, Loss, bellman_error
from ._networks import Actor, Critics, Sizes
from ._transitions import Transitions


class TD3BC(AbstractAlgorithm):
    """The policy of largest worth, not far from the data's actions.

    The policy minimises −λ Q₁(s, π(s)) + (π(s) − a)², λ = α / mean |Q₁|. The critics learn from the
    smaller of two slow copies, at the slow policy's actions with clipped noise.

    Parameters
    ----------
    alpha
        How much worth weighs against likeness.
    noise, clip
        Standard deviation of the noise of actions that critics are taught by, and its bound.
    discount
        Of rewards, a step.
    follow
        The part by which copies follow, each second step.

    Examples
    --------
    >>> from sparsejax.applications import offline_rl as rl
    >>> list(rl.TD3BC(alpha=1.0).losses())
    ['critics', 'actor']

    Notes
    -----
    Fujimoto & Gu, A minimalist approach to offline reinforcement learning (NeurIPS 2021).
    """

    slow: ClassVar[tuple[str, ...]] = ("actor", "critics")
    delayed: ClassVar[tuple[str, ...]] = ("actor",)
    delay: ClassVar[int] = 2
    alpha: float = 2.5
    noise: float = 0.2
    clip: float = 0.5
    discount: float = 0.99
    follow: float = 0.005

    def networks(
        self, observations: int, actions: int, sizes: Sizes, key: PRNGKeyArray
    ) -> dict[str, Any]:
        one, other = jax.random.split(key)
        return {
            "actor": sizes.actor(observations, actions, False, one),
            "critics": sizes.critics(observations, actions, other),
        }

    def losses(self) -> dict[str, Loss]:
        return {"critics": self._critics, "actor": self._actor}

    def _critics(
        self, critics: Critics, nets: dict, slow: dict, batch: Transitions, key: PRNGKeyArray
    ) -> Float[Array, ""]:
        del nets
        one, other = jax.random.split(key)
        noise = self.noise * jax.random.normal(one, batch.actions.shape)
        next_actions = slow["actor"](batch.next_observations)
        next_actions = jnp.clip(next_actions + jnp.clip(noise, -self.clip, self.clip), -1, 1)
        worth = slow["critics"](batch.next_observations, next_actions).min(axis=0)
        estimates = critics(batch.observations, batch.actions, other)
        return bellman_error(estimates, batch, self.discount, worth)

    def _actor(
        self, actor: Actor, nets: dict, slow: dict, batch: Transitions, key: PRNGKeyArray
    ) -> Float[Array, ""]:
        del slow
        actions = actor(batch.observations, key)
        worth = nets["critics"](batch.observations, actions)[0]
        scale = self.alpha / jax.lax.stop_gradient(jnp.abs(worth).mean())
        return jnp.mean((actions - batch.actions) ** 2) - scale * worth.mean()
