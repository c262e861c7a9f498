"""The solution of one working set, for problems that will change anyway."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._certificate import Iterate
from .._problem import Problem
from ._all_features import on_all_features
from ._base import is_concave
from ._gram import switch_width
from ._kept import AbstractKept
from ._ranking import highest, is_filled, scores
from ._widths import MIDDLE, may_outgrow, outgrows, phases_of, possible_widths, wanted_width
from ._working_set import WorkingSet, begun, memory_of

_Found = tuple[Float[Array, " p"], Float[Array, " n"], Int[Array, ""]]


def first_solution(
    solver: WorkingSet,
    problem: Problem,
    start: Iterate,
    tol: Float[Array, ""],
    early: Float[Array, ""],
) -> _Found:
    """The coefficients that the first working set leads to, their predictions, and iterations.

    To a gap of ``tol`` or, while features are still to come, ``early`` times that of the start.
    Without a certificate, which would cost a pass over X.
    """
    if is_concave(problem):
        start = begun(problem, start, jnp.array(1))
    wanted, settled = wanted_width(problem, start)
    tol = jnp.maximum(tol, jnp.where(settled, 0.0, early * start.error))

    def on_all() -> _Found:
        found, _, iterations = on_all_features(problem, start, tol, jnp.array(1))
        return found.coef, found.predictions, iterations

    def of(phases: list[tuple[int, ...]]) -> _Found:
        widths, *others = phases

        def solve() -> _Found:
            choice = jnp.sum(wanted > jnp.array(widths[:-1], int))
            kept = _formed(problem, start, wanted, choice, widths)
            return solver.solve_restricted(problem, start, tol, kept, choice, widths)

        if others:
            return jax.lax.cond(wanted <= widths[-1], solve, lambda: of(others))
        if may_outgrow(problem, widths):
            return jax.lax.cond(outgrows(problem, start, widths[-1]), on_all, solve)
        return solve()

    # Beside making a model, clearing a larger memory takes little.
    return of(phases_of(problem, possible_widths(problem), together=4 * MIDDLE))


def _formed(
    problem: Problem,
    iterate: Iterate,
    wanted: Int[Array, ""],
    choice: Int[Array, ""],
    widths: tuple[int, ...],
) -> AbstractKept:
    """The working set and its matrix, of which nothing is known."""
    score, memory = scores(problem, iterate), memory_of(problem, widths)

    def form(width: int) -> AbstractKept:
        chosen = highest(problem.penalty, score, width).astype(jnp.int32)
        if not is_filled(problem.penalty, width):
            chosen = jnp.where(jnp.arange(width) < wanted, chosen, score.shape[0])
        return memory.formed(problem, chosen)

    return switch_width(choice, widths, form)
