"""Policies on environments that are not written in JAX."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..._checks import check_integer
from .._extra import require
from ._evaluation import normalised
from ._policy import Policy


class OutsideEvaluation:
    """Normalised scores on an environment with the interface of Gymnasium.

    All policies act side by side, each in environments of its own.

    Parameters
    ----------
    make
        Returns a fresh environment, whose actions lie in [−1, 1].
    random, expert
        Returns that mean 0 and 100.
    episodes
        A policy, each time.

    Raises
    ------
    ValueError
        If ``episodes`` is no positive integer, or ``random`` and ``expert`` are the same.

    Examples
    --------
    >>> from sparsejax.applications import offline_rl as rl
    >>> import gymnasium  # doctest: +SKIP
    >>> make = lambda: gymnasium.make("InvertedPendulum-v5")  # doctest: +SKIP
    >>> evaluate = rl.OutsideEvaluation(make, random=5.0, expert=1000.0)  # doctest: +SKIP

    Notes
    -----
    Score: as of ``Evaluation``.
    """

    def __init__(self, make: Callable[[], Any], random: float, expert: float, episodes: int = 10):
        check_integer("episodes", episodes)
        if random == expert:
            raise ValueError(f"`random` and `expert` are both {expert}: there is nothing between.")
        self._make, self._random, self._expert, self._episodes = make, random, expert, episodes
        self._environments: list[Any] = []

    def __call__(self, policies: Policy, keys: PRNGKeyArray) -> Float[np.ndarray, " seeds"]:
        """One score a policy."""
        num = len(keys)
        while len(self._environments) < num * self._episodes:
            self._environments.append(self._make())
        running = self._environments[: num * self._episodes]
        draws = jax.vmap(lambda key: jax.random.bits(key, (self._episodes,)))(keys)
        starts = np.asarray(draws).ravel() >> 1
        seen = np.stack(
            [
                environment.reset(seed=int(seed))[0]
                for environment, seed in zip(running, starts, strict=True)
            ]
        ).astype(np.float32)
        totals, over = np.zeros(len(running)), np.zeros(len(running), bool)
        while not over.all():
            grid = jnp.asarray(seen.reshape(num, self._episodes, -1))
            actions = np.asarray(_act(policies, grid)).reshape(len(running), -1)
            for i in np.flatnonzero(~over):
                seen[i], reward, ended, cut, _ = running[i].step(actions[i])
                totals[i] += reward
                over[i] = ended or cut
        means = totals.reshape(num, self._episodes).mean(axis=1)
        return normalised(means, self._random, self._expert)


def hopper(episodes: int = 3) -> OutsideEvaluation:
    """The one-legged hopper of pybullet: 100 is its published policy, 0 are random actions.

    Needs packages that have no wheels for all versions of Python:
    ``pip install pybullet pybullet-envs-gymnasium``.

    Parameters
    ----------
    episodes
        A policy, each time.

    Raises
    ------
    ImportError
        If they are not there.

    Examples
    --------
    >>> from sparsejax.applications import offline_rl as rl
    >>> evaluate = rl.hopper()  # doctest: +SKIP
    """
    require("pybullet_envs_gymnasium", "hopper")
    gymnasium = require("gymnasium", "hopper")
    return OutsideEvaluation(
        lambda: gymnasium.make("HopperBulletEnv-v0"), _HOPPER_RANDOM, _HOPPER_EXPERT, episodes
    )


# Means of 20 episodes of random actions, and of the ten that the published data are from.
_HOPPER_RANDOM, _HOPPER_EXPERT = 20.4, 2539.0


@eqx.filter_jit
def _act(
    policies: Policy, seen: Float[Array, "seeds episodes observations"]
) -> Float[Array, "seeds episodes actions"]:
    return jax.vmap(lambda policy, x: jax.vmap(policy)(x))(policies, seen)
