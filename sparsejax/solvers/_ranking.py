"""Which features a working set takes."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._certificate import Iterate
from .._problem import Problem
from ..penalties import AbstractGroupSeparablePenalty
from ._widths import MIDDLE, any_task


def scores(problem: Problem, iterate: Iterate) -> Float[Array, " p"]:
    """How likely each feature matters: infinite in the support."""
    moving = any_task(problem.penalty.support(iterate.coef))
    saturation = problem.penalty.saturation(iterate.coef, iterate.pull)
    # Ranking needs no more than float32, for which there is a fast top_k on CPU.
    return jnp.where(moving, jnp.inf, saturation).astype(jnp.float32)


def highest(
    penalty: AbstractGroupSeparablePenalty, score: Float[Array, " p"], width: int
) -> Int[Array, " w"]:
    """The features of highest score, as many as fit; whole groups only, padded with p."""
    groups = penalty.groups_of_coordinates
    if groups is None:
        return jax.lax.top_k(score, width)[1]
    labels, num_groups, _ = groups
    # One place a group, so that its features stay together; exact in float32.
    order = jnp.argsort(-jax.ops.segment_max(score, labels, num_groups))
    place = jnp.zeros(num_groups, jnp.float32).at[order].set(jnp.arange(num_groups))
    chosen = jax.lax.top_k(-place[labels], width)[1]
    counts = jnp.zeros(num_groups, int).at[labels[chosen]].add(1)
    sizes = jax.ops.segment_sum(jnp.ones_like(labels), labels, num_groups)
    whole = (counts == sizes)[labels[chosen]]
    return jnp.where(whole, chosen, labels.shape[0])


def is_filled(penalty: AbstractGroupSeparablePenalty, width: int) -> bool:
    """Whether features beyond those wanted come along, as they may be wanted later.

    They do where their Gram matrix is cheap, and where groups must stay whole.
    """
    return penalty.groups_of_coordinates is not None or width <= MIDDLE
