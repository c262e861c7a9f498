"""What is learned from: steps that somebody else took."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..._arrays import inexact
from ..._checks import check_finite, check_integer, is_concrete, values_of
from ._task import AbstractTask, rollout


class Transitions(eqx.Module):
    """Steps of one data set, or of several of the same size stacked along a first axis.

    Parameters
    ----------
    observations, next_observations
        (steps, observations), or (sets, steps, observations).
    actions
        (steps, actions), within [−1, 1].
    rewards
        (steps,).
    terminals
        (steps,): 1 where an episode ended, by a timeout too, else 0. What came next is then worth
        nothing, and not looked at.

    Raises
    ------
    ValueError
        If shapes do not fit together, or there are numbers that are not finite or out of bounds.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from sparsejax.applications import offline_rl as rl
    >>> states = jnp.arange(6.0).reshape(3, 2)
    >>> data = rl.Transitions(states[:2], jnp.zeros((2, 1)), jnp.ones(2), states[1:], jnp.eye(2)[1])
    >>> len(data)
    2
    """

    observations: Float[Array, "*sets steps observations"] = eqx.field(
        converter=inexact("observations")
    )
    actions: Float[Array, "*sets steps actions"] = eqx.field(converter=inexact("actions"))
    rewards: Float[Array, "*sets steps"] = eqx.field(converter=inexact("rewards"))
    next_observations: Float[Array, "*sets steps observations"] = eqx.field(
        converter=inexact("next_observations")
    )
    terminals: Float[Array, "*sets steps"] = eqx.field(converter=inexact("terminals"))

    def __check_init__(self) -> None:
        steps = self.observations.shape[:-1]
        if len(steps) not in (1, 2) or not steps[-1]:
            raise ValueError(
                "`observations` must be (steps, observations), or (sets, steps, observations), "
                f"with a step at least; got shape {self.observations.shape}."
            )
        expected = {
            "actions": (*steps, self.actions.shape[-1] if self.actions.ndim else 0),
            "rewards": steps,
            "next_observations": self.observations.shape,
            "terminals": steps,
        }
        for name, shape in expected.items():
            found = getattr(self, name).shape
            if found != shape:
                raise ValueError(
                    f"`{name}` must have a row for each of the observations, of shape "
                    f"{self.observations.shape}; got shape {found}."
                )
        for name in ("observations", *expected):
            check_finite(name, getattr(self, name))
        for name, low in (("actions", -1), ("terminals", 0)):
            _check_within(name, getattr(self, name), low)

    def __len__(self) -> int:
        return self.rewards.shape[-1]


def collect(task: AbstractTask, num: int, key: PRNGKeyArray, noise: float = 0.3) -> Transitions:
    """Steps of an expert with a shaky hand, in whole episodes.

    Parameters
    ----------
    task
        What is acted on.
    num
        How many steps; where this is no multiple of the horizon, the last episode is cut.
    key
        Of a data set; under ``vmap``, of several.
    noise
        Standard deviation of what is added to the expert's actions before they are clipped to
        [−1, 1].

    Raises
    ------
    ValueError
        If ``num`` is no positive integer.

    Examples
    --------
    >>> import jax
    >>> from sparsejax.applications import offline_rl as rl
    >>> data = rl.collect(rl.Pendulum(), 250, jax.random.key(0))
    >>> len(data), int(data.terminals.sum())
    (250, 3)
    """
    check_integer("num", num)
    return _collect(task, num, key, noise)


@eqx.filter_jit
def _collect(task: AbstractTask, num: int, key: PRNGKeyArray, noise: float) -> Transitions:
    def shaky(state: Any, key: PRNGKeyArray) -> Float[Array, " actions"]:
        return task.expert(state) + noise * jax.random.normal(key, (task.actions,))

    keys = jax.random.split(key, -(-num // task.horizon))
    episodes = jax.vmap(lambda k: rollout(task, shaky, k))(keys)

    def flat(steps: Array) -> Array:
        return steps.reshape(-1, *steps.shape[2:])[:num]

    ends = (jnp.arange(num) + 1) % task.horizon == 0
    return Transitions(
        flat(episodes.observations[:, :-1]),
        flat(episodes.actions),
        flat(episodes.rewards),
        flat(episodes.observations[:, 1:]),
        ends.at[-1].set(True).astype(episodes.rewards.dtype),
    )


def whole_episodes(data: Transitions, num: int, key: PRNGKeyArray) -> Transitions:
    """Some steps of a data set: whole episodes in random order, the last one cut.

    Parameters
    ----------
    data
        One set.
    num
        How many steps.
    key
        Of the order.

    Raises
    ------
    ValueError
        If there are fewer steps, or several sets.

    Examples
    --------
    >>> import jax
    >>> from sparsejax.applications import offline_rl as rl
    >>> data = rl.collect(rl.Pendulum(), 1000, jax.random.key(0))
    >>> len(rl.whole_episodes(data, 250, jax.random.key(1)))
    250
    """
    check_integer("num", num)
    if data.rewards.ndim != 1 or num > len(data):
        raise ValueError(
            f"`num` must be at most the steps of one set; got {num}, and rewards of shape "
            f"{data.rewards.shape}."
        )
    before = jnp.concatenate([jnp.zeros(1), data.terminals[:-1]])
    episode = jnp.cumsum(before).astype(int)
    rank = jax.random.permutation(key, len(data))[episode]  # of distinct numbers, one an episode
    taken = jnp.argsort(rank, stable=True)[:num]
    some = jax.tree.map(lambda steps: steps[taken], data)
    return eqx.tree_at(lambda d: d.terminals, some, some.terminals.at[-1].set(1.0))


def _check_within(name: str, x: Array, low: float) -> None:
    """Raise unless known values lie in [low, 1], but for rounding."""
    if is_concrete(x):
        values = values_of(x)
        if values.min(initial=0) < low - 1e-5 or values.max(initial=0) > 1 + 1e-5:
            raise ValueError(
                f"`{name}` must lie in [{low}, 1]; got {values.min():.3g} to {values.max():.3g}."
            )
