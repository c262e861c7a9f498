"""How many features a working set takes."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from .._certificate import Iterate
from .._problem import Problem
from ..penalties import AbstractSeparablePenalty, RowL2

_SMALLEST, MIDDLE, _LARGEST = 64, 256, 4096
_STEPS = (16, _SMALLEST, 128, MIDDLE, 512, 1024, 1536, 2048, 3072, _LARGEST)
_ROOM = 512  # for features that will leave again
_MANY = 4  # times the samples: an elastic net that takes more is nearly ridge, and soon solved


def possible_widths(problem: Problem) -> tuple[int, ...]:
    """Widths up to what a support can need, or the largest Gram matrix worth forming."""
    n, p = problem.X.shape
    if p <= _SMALLEST:
        return (p,)  # solved soon, but compiled once a width
    support = problem.penalty.max_support(n, p)
    # Whole groups have room for features that will leave again.
    single = problem.penalty.groups_of_coordinates is None
    wanted = support + min(support, _ROOM) if single else support
    if isinstance(problem.penalty, AbstractSeparablePenalty):
        wanted = min(wanted, max(_MANY * n, 4 * MIDDLE))
    bound = min(p, max(wanted, _SMALLEST), _LARGEST)
    # A Gram matrix of many samples is dear, and one of so few features soon compiled.
    steps = sorted((*_STEPS, 384, 768)) if p <= n else _STEPS
    return (*(step for step in steps if step < bound), min(p, *(s for s in steps if s >= bound)))


def phases_of(
    problem: Problem, widths: tuple[int, ...], together: int = 2 * MIDDLE
) -> list[tuple[int, ...]]:
    """Widths that share a memory, as all do if none is larger than ``together``.

    Where there may be large working sets, small ones have a Gram matrix of their own: clearing that
    of the large ones takes longer than solving a very sparse problem. It also takes that much
    longer to compile. Supports of groups, or of very many samples, can be so much larger than they
    mostly are that one in between is worth it. Each phase keeps the last width of the one before,
    for a support that has shrunk. Of very many samples forming the smallest takes longer than
    clearing the largest: one memory for all.
    """
    if widths[-1] ** 2 <= _SMALLEST * problem.X.shape[0]:
        return [widths]
    limits = [MIDDLE] if widths[-1] > together else []
    if problem.penalty.groups_of_coordinates is not None:
        # Columns of few samples take no more than a pass over X: one memory for all the rest.
        one = by_columns(problem, widths) and problem.X.shape[0] <= 4 * MIDDLE
        limits += [4 * MIDDLE] if widths[-1] > 4 * MIDDLE and not one else []
    elif widths[-1] > 8 * MIDDLE:
        limits += [4 * MIDDLE]
    ends = [sum(width <= limit for width in widths) for limit in limits]
    begins = [0, *(end - 1 for end in ends)]
    return [widths[begin:end] for begin, end in zip(begins, [*ends, len(widths)], strict=True)]


def by_columns(problem: Problem, widths: tuple[int, ...]) -> bool:
    """Whether supports may be so much larger than the samples that no Gram matrix is worth it.

    Supports of single coefficients never are.
    """
    penalty = problem.penalty
    blocks = penalty.groups_of_coordinates is not None or isinstance(penalty, RowL2)
    return blocks and widths[-1] > 2 * problem.X.shape[0]


def wanted_width(
    problem: Problem, iterate: Iterate, slowly: bool = False
) -> tuple[Int[Array, ""], Bool[Array, ""]]:
    """How many features to take, and whether these seem to hold the support.

    Early on the support doubles, as far as it can grow; near the end just what is violated is
    added. With more samples than features, what is violated is mostly what is missing, so that far
    more is taken at once, and of groups as well, whose first sweeps cost less than another pass
    over X. Or it grows ``slowly``, by an eighth.
    """
    n, p = problem.X.shape
    penalty = problem.penalty
    groups = penalty.groups_of_coordinates
    moving, violated, settled = _moving_and_violated(problem, iterate)
    support = jnp.sum(moving)
    growth = jnp.maximum(support, _SMALLEST // 2)
    if p <= n or groups is not None:
        growth = 128 + support
    else:  # a support that is nearly as large as it can be has little left to gain,
        # but much to exchange.
        room = jnp.maximum(penalty.max_support(n, p) - support, _SMALLEST // 2)
        growth = jnp.minimum(growth, jnp.maximum(room, support // 4))
    if slowly:
        growth = jnp.minimum(growth, jnp.maximum(support // 8, _SMALLEST // 4))
    elif groups is not None:
        # Where little is violated at zero, a small working set may hold the support already.
        sparse = (support == 0) & (jnp.sum(violated) <= p // 8)
        growth, settled = jnp.where(sparse, 3 * _SMALLEST // 4, growth), settled | sparse
    wanted = support + jnp.minimum(jnp.sum(violated & ~moving), growth)
    # Room for a group that is cut off where the working set ends.
    return wanted if groups is None else wanted + groups[2], settled


def may_outgrow(problem: Problem, widths: tuple[int, ...]) -> bool:
    """Whether there are supports that the widest of the working sets does not hold."""
    return problem.penalty.max_support(*problem.X.shape) > widths[-1]


def outgrows(problem: Problem, iterate: Iterate, width: int) -> Bool[Array, ""]:
    """Whether there is more than goes into so wide a working set, which is nearly full."""
    groups, room = problem.penalty.groups_of_coordinates, width // 16
    room += 0 if groups is None else groups[2]
    moving, violated, _ = _moving_and_violated(problem, iterate)
    support = jnp.sum(moving)
    return (support >= width - room) & (support + jnp.sum(violated & ~moving) > width)


def _moving_and_violated(
    problem: Problem, iterate: Iterate
) -> tuple[Bool[Array, " p"], Bool[Array, " p"], Bool[Array, ""]]:
    """The support, the features outside of it that would gain by moving, and if those are few."""
    penalty = problem.penalty
    moving = any_task(penalty.support(iterate.coef))
    violated = ~moving & (penalty.saturation(iterate.coef, iterate.pull) > 1)
    settled = jnp.sum(violated) <= 2 + jnp.sum(moving) // 10
    groups = penalty.groups_of_coordinates
    if groups is not None:  # they come and stay as a whole
        moving, violated = _spread(moving, groups), _spread(violated, groups)
    return moving, violated, settled


def any_task(chosen: Bool[Array, "p ..."]) -> Bool[Array, " p"]:
    """The features of which anything is chosen, for any task."""
    return jnp.any(chosen, axis=tuple(range(1, chosen.ndim)))


def _spread(
    chosen: Bool[Array, " p"], groups: tuple[Int[Array, " p"], int, int]
) -> Bool[Array, " p"]:
    """All of every group of which anything is chosen."""
    labels, num_groups, _ = groups
    return (jax.ops.segment_sum(chosen.astype(jnp.int32), labels, num_groups) > 0)[labels]
