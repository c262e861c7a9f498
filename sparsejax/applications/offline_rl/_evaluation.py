"""How good policies are: returns on a task, and means of many that resist outliers."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
from jaxtyping import Array, Float, PRNGKeyArray
from numpy.typing import ArrayLike

from ..._checks import check_integer
from ._policy import Policy
from ._task import AbstractTask, returns


class Evaluation(eqx.Module):
    """Normalised scores on a task: 0 is as good as random actions, 100 as the expert.

    Parameters
    ----------
    task
        What is acted on.
    episodes
        A policy, each time.

    Examples
    --------
    >>> import jax
    >>> from sparsejax.applications import offline_rl as rl
    >>> task = rl.Pendulum()
    >>> data = rl.collect(task, 200, jax.random.key(0))
    >>> evaluate = rl.Evaluation(task, episodes=2)
    >>> rl.train(rl.BC(), data, steps=20, width=8, evaluate=evaluate).scores().shape
    (1,)

    Notes
    -----
    100 (R − R_random) / (R_expert − R_random), as in Fu et al., D4RL (2020); the two are means of
    1000 episodes.
    """

    task: AbstractTask
    episodes: int = eqx.field(static=True)
    random: Float[Array, ""]
    expert: Float[Array, ""]

    def __init__(self, task: AbstractTask, episodes: int = 10):
        check_integer("episodes", episodes)
        self.task, self.episodes = task, episodes
        self.random, self.expert = _anchors(task)

    def __call__(self, policies: Policy, keys: PRNGKeyArray) -> Float[np.ndarray, " seeds"]:
        """One score a policy."""
        means = np.asarray(_means(self.task, policies, keys, self.episodes))
        return normalised(means, float(self.random), float(self.expert))


def normalised(
    means: Float[np.ndarray, " seeds"], random: float, expert: float
) -> Float[np.ndarray, " seeds"]:
    """Returns on a scale from random actions to the expert."""
    return 100 * (means - random) / (expert - random)


@eqx.filter_jit
def _anchors(task: AbstractTask) -> tuple[Float[Array, ""], Float[Array, ""]]:
    def anyhow(state: object, key: PRNGKeyArray) -> Array:
        return jax.random.uniform(key, (task.actions,), minval=-1)

    key, num = jax.random.key(0), 1000
    by_random = returns(task, anyhow, key, num)
    return by_random.mean(), returns(task, lambda state, key: task.expert(state), key, num).mean()


@eqx.filter_jit
def _means(
    task: AbstractTask, policies: Policy, keys: PRNGKeyArray, episodes: int
) -> Float[Array, " seeds"]:
    def of_one(policy: Policy, key: PRNGKeyArray) -> Array:
        by = lambda state, key: policy(task.observe(state))  # noqa: E731
        return jnp.mean(returns(task, by, key, episodes))

    return jax.vmap(of_one)(policies, keys)


class Interval(NamedTuple):
    """An estimate, and where it may lie.

    Attributes
    ----------
    value, low, high
        The estimate, and the ends of its interval.
    """

    value: float
    low: float
    high: float


def interquartile_mean(scores: ArrayLike, level: float = 0.95, resamples: int = 2000) -> Interval:
    """The mean of the middle half of all scores, with a stratified bootstrap interval.

    Parameters
    ----------
    scores
        (seeds,) or (seeds, tasks).
    level
        Of the interval: seeds are drawn with replacement, for each task by themselves.
    resamples
        How often.

    Raises
    ------
    ValueError
        If there are no scores, ``level`` is not in (0, 1) or ``resamples`` not positive.

    Examples
    --------
    >>> from sparsejax.applications import offline_rl as rl
    >>> value, low, high = rl.interquartile_mean([80.0, 90.0, 91.0, 10.0])
    >>> value
    85.0

    Notes
    -----
    Agarwal et al., Deep reinforcement learning at the edge of the statistical precipice (NeurIPS
    2021).
    """
    check_integer("resamples", resamples)
    found = np.asarray(scores, float)
    if found.ndim not in (1, 2) or not found.size or not np.isfinite(found).all():
        raise ValueError(
            f"`scores` must be finite, (seeds,) or (seeds, tasks); got shape {found.shape}."
        )
    if not 0 < level < 1:
        raise ValueError(f"`level` must lie in (0, 1); got {level}.")
    found = found.reshape(len(found), -1)
    rows = np.random.default_rng(0).integers(len(found), size=(resamples, *found.shape))
    drawn = found[rows, np.arange(found.shape[1])].reshape(resamples, -1)
    means = scipy.stats.trim_mean(drawn, 0.25, axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(scipy.stats.trim_mean(found.ravel(), 0.25)), float(low), float(high))
