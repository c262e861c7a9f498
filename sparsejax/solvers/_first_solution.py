"""The solution of one working set, for problems that will change anyway."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._certificate import Iterate
from .._problem import Problem
from ._base import is_concave
from ._gram import switch_width
from ._kept import AbstractKept
from ._widths import phases_of, possible_widths, wanted_width
from ._working_set import WorkingSet, begun, highest, memory_of, scores

_Found = tuple[Float[Array, " p"], Float[Array, " n"], Int[Array, ""]]


def first_solution(
    solver: WorkingSet, problem: Problem, start: Iterate, tol: Float[Array, ""]
) -> _Found:
    """The coefficients that the first working set leads to, their predictions, and iterations.

    Without a certificate, which would cost a pass over X.
    """
    if is_concave(problem):
        start = begun(problem, start, jnp.array(1))
    wanted, _ = wanted_width(problem, start)

    def of(phases: list[tuple[int, ...]]) -> _Found:
        widths, *others = phases

        def solve() -> _Found:
            choice = jnp.sum(wanted > jnp.array(widths[:-1], int))
            kept = _formed(problem, start, choice, widths)
            return solver.solve_restricted(problem, start, tol, kept, choice, widths)

        if not others:
            return solve()
        return jax.lax.cond(wanted <= widths[-1], solve, lambda: of(others))

    return of(phases_of(problem, possible_widths(problem)))


def _formed(
    problem: Problem, iterate: Iterate, choice: Int[Array, ""], widths: tuple[int, ...]
) -> AbstractKept:
    """The working set and its matrix, as wide as it may be: nothing of it is known."""
    score, memory = scores(problem, iterate), memory_of(problem, widths)

    def form(width: int) -> AbstractKept:
        return memory.formed(problem, highest(problem.penalty, score, width).astype(jnp.int32))

    return switch_width(choice, widths, form)
