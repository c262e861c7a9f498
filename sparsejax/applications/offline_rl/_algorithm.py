"""What an algorithm of offline reinforcement learning must say of itself."""

import abc
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
from jaxtyping import Array, Float, PRNGKeyArray

from ._networks import Sizes
from ._transitions import Transitions

# Of one network, by itself: the others, the slow copies, a batch and a key are given.
Loss = Callable[[Any, dict[str, Any], dict[str, Any], Transitions, PRNGKeyArray], Array]


class AbstractAlgorithm(eqx.Module):
    """Networks, and a loss for each, by which they are trained in turn.

    Losses see networks with their masks applied, and observations that are normalised.
    """

    slow: ClassVar[tuple[str, ...]] = ()  # networks that have a copy that follows slowly
    cosine: ClassVar[tuple[str, ...]] = ()  # networks whose learning rate falls to zero
    delayed: ClassVar[tuple[str, ...]] = ()  # networks that move, with the copies, every `delay`
    delay: ClassVar[int] = 1
    follow: eqx.AbstractVar[float]  # the part by which the copies follow

    @abc.abstractmethod
    def networks(
        self, observations: int, actions: int, sizes: Sizes, key: PRNGKeyArray
    ) -> dict[str, Any]:
        """Fresh networks by name, the policy under ``"actor"``."""

    @abc.abstractmethod
    def losses(self) -> dict[str, Loss]:
        """By name of the network, in the order in which they are trained in a step."""


def bellman_error(
    estimates: Float[Array, "2 batch"],
    batch: Transitions,
    discount: float,
    worth: Float[Array, " batch"],
) -> Float[Array, ""]:
    """Mean squares of both critics' distance to reward + discount · what comes next is worth."""
    goal = batch.rewards + discount * (1 - batch.terminals) * worth
    return ((estimates - goal) ** 2).mean(axis=1).sum()
