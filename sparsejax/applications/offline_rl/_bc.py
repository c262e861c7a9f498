"""Behavioural cloning."""

from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ._algorithm import AbstractAlgorithm, Loss
from ._networks import Actor, Sizes
from ._transitions import Transitions


class BC(AbstractAlgorithm):
    """Do what the data do: the mean squared distance to their actions. Rewards play no part.

    Examples
    --------
    >>> from sparsejax.applications import offline_rl as rl
    >>> list(rl.BC().losses())
    ['actor']
    """

    follow: ClassVar[float] = 0.0

    def networks(
        self, observations: int, actions: int, sizes: Sizes, key: PRNGKeyArray
    ) -> dict[str, Any]:
        return {"actor": sizes.actor(observations, actions, False, key)}

    def losses(self) -> dict[str, Loss]:
        return {"actor": self._actor}

    def _actor(
        self, actor: Actor, nets: dict, slow: dict, batch: Transitions, key: PRNGKeyArray
    ) -> Float[Array, ""]:
        del nets, slow
        return jnp.mean((actor(batch.observations, key) - batch.actions) ** 2)
