"""What can be acted on: a simulation in JAX, with an expert."""

import abc
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..._checks import check_integer

# From what is observed of a state to an action; what it does at random, the key decides.
Behaviour = Callable[[Any, PRNGKeyArray], Float[Array, " actions"]]


class AbstractTask(eqx.Module):
    """A system with a reward for every step, in episodes of one length.

    Actions lie in [−1, 1]. Nothing ends an episode early: a task that would end pays nothing from
    there on.
    """

    name: eqx.AbstractVar[str]
    actions: eqx.AbstractVar[int]
    horizon: eqx.AbstractVar[int]

    @abc.abstractmethod
    def reset(self, key: PRNGKeyArray) -> Any:
        """A state to begin with."""

    @abc.abstractmethod
    def step(
        self, state: Any, action: Float[Array, " actions"], key: PRNGKeyArray
    ) -> tuple[Any, Float[Array, ""]]:
        """The next state, and the reward."""

    @abc.abstractmethod
    def observe(self, state: Any) -> Float[Array, " observations"]:
        """What a policy sees."""

    @abc.abstractmethod
    def expert(self, state: Any) -> Float[Array, " actions"]:
        """What a good policy does; it may look at all of the state."""


class Episode(NamedTuple):
    """One run of a task.

    Attributes
    ----------
    observations
        (horizon + 1, observations): the last one follows the last action.
    actions
        (horizon, actions).
    rewards
        (horizon,).
    """

    observations: Float[Array, "after observations"]
    actions: Float[Array, "horizon actions"]
    rewards: Float[Array, " horizon"]


def rollout(task: AbstractTask, behaviour: Behaviour, key: PRNGKeyArray) -> Episode:
    """One episode.

    Parameters
    ----------
    task
        What is acted on.
    behaviour
        A function of a state of the task (not of what is observed of it) and a key; its actions
        are clipped to [−1, 1].
    key
        Of the start, the noise of the task and that of the behaviour.

    Examples
    --------
    >>> import jax
    >>> from sparsejax.applications import offline_rl as rl
    >>> task = rl.Pendulum()
    >>> episode = rl.rollout(task, lambda state, key: task.expert(state), jax.random.key(0))
    >>> episode.observations.shape, episode.actions.shape
    ((101, 3), (100, 1))
    """
    start, acting, moving = jax.random.split(key, 3)

    def step(state: Any, keys: tuple[PRNGKeyArray, PRNGKeyArray]) -> tuple[Any, Any]:
        action = jnp.clip(behaviour(state, keys[0]), -1, 1)
        new, reward = task.step(state, action, keys[1])
        return new, (task.observe(state), action, reward)

    steps = jax.random.split(acting, task.horizon), jax.random.split(moving, task.horizon)
    state, (seen, actions, rewards) = jax.lax.scan(step, task.reset(start), steps)
    last = task.observe(state)[None]
    return Episode(jnp.concatenate([seen, last]), actions, rewards)


def returns(
    task: AbstractTask, behaviour: Behaviour, key: PRNGKeyArray, episodes: int
) -> Float[Array, " episodes"]:
    """The sums of rewards of some episodes.

    Parameters
    ----------
    task, behaviour, key
        As of ``rollout``.
    episodes
        How many.

    Examples
    --------
    >>> import jax
    >>> from sparsejax.applications import offline_rl as rl
    >>> task = rl.Pendulum()
    >>> rl.returns(task, lambda state, key: task.expert(state), jax.random.key(0), 5).shape
    (5,)
    """
    check_integer("episodes", episodes)
    keys = jax.random.split(key, episodes)
    return jax.vmap(lambda k: jnp.sum(rollout(task, behaviour, k).rewards))(keys)
