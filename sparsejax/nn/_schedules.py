"""Sparsity as a function of the step, as Optax has learning rates."""

import jax.numpy as jnp
import optax
from jaxtyping import Array, ArrayLike, Float

from ._pattern import checked_sparsity


def constant(sparsity: float) -> optax.Schedule:
    """The same sparsity from the first step on.

    Parameters
    ----------
    sparsity
        In [0, 1].

    Examples
    --------
    >>> import sparsejax as sj
    >>> float(sj.nn.constant(0.5)(0))
    0.5
    """
    return one_shot(sparsity, 0)


def one_shot(sparsity: float, step: int) -> optax.Schedule:
    """Nothing before a step, everything from there on.

    Parameters
    ----------
    sparsity
        In [0, 1].
    step
        The first step, counted from zero, at which weights are dropped.

    Examples
    --------
    >>> import sparsejax as sj
    >>> schedule = sj.nn.one_shot(0.5, 10)
    >>> [float(schedule(step)) for step in (9, 10)]
    [0.0, 0.5]
    """
    final = checked_sparsity(sparsity)
    return lambda count: jnp.where(jnp.asarray(count) >= step, final, 0.0)


def cubic(sparsity: float, begin: int, end: int, every: int = 1) -> optax.Schedule:
    """s · (1 − (1 − t)³) for t from 0 at ``begin`` to 1 at ``end``: fast first, then slowly.

    Parameters
    ----------
    sparsity
        The final one, in [0, 1].
    begin, end
        Steps, counted from zero, between which it rises.
    every
        Steps between two rises; choosing the weights anew takes a sort of all of them.

    Raises
    ------
    ValueError
        Unless begin < end and every ≥ 1.

    Examples
    --------
    >>> import sparsejax as sj
    >>> schedule = sj.nn.cubic(0.8, 0, 4)
    >>> [round(float(schedule(step)), 3) for step in (0, 2, 4, 9)]
    [0.0, 0.7, 0.8, 0.8]

    Notes
    -----
    Zhu & Gupta, To prune, or not to prune (2017).
    """
    final = checked_sparsity(sparsity)
    if not begin < end:
        raise ValueError(f"`end` must come after `begin`; got {begin} and {end}.")
    if every < 1:
        raise ValueError(f"`every` must be positive; got {every}.")

    def schedule(step: ArrayLike) -> Float[Array, ""]:
        count = jnp.asarray(step)
        since = (count - begin) // every * every
        t = jnp.where(count >= end, 1.0, jnp.clip(since / (end - begin), 0.0, 1.0))
        return final * (1 - (1 - t) ** 3)

    return schedule
