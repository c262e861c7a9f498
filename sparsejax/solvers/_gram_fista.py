"""Accelerated proximal gradient on a working set."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._first_order import largest_eigenvalue, restarted_momentum, wave
from .._problem import Problem
from ._gram import AbstractGramSolver, GramProblem


class _State(eqx.Module):
    point: Float[Array, "k ..."]
    lookahead: Float[Array, "k ..."]
    momentum: Float[Array, ""]
    gap: Float[Array, ""]
    count: Int[Array, ""]


class GramFISTA(AbstractGramSolver):
    """FISTA with restarts through the Gram matrix, for several targets at once.

    An iteration costs O(k²·tasks) whatever the numbers of samples and of features, and asks for
    nothing but the proximal operator; where Newton's method would need a system of k·tasks
    unknowns, this is the faster.

    Parameters
    ----------
    check_every
        Iterations between two gaps.
    max_iterations
        Iterations a working set at the most.
    """

    check_every: int = eqx.field(default=10, static=True)
    max_iterations: int = eqx.field(default=10_000, static=True)

    def check(self, problem: Problem) -> None:
        del problem  # every penalty that working sets take

    def solve_gram(
        self, problem: GramProblem, tol: Float[Array, ""]
    ) -> tuple[Float[Array, "k ..."], Int[Array, ""]]:
        start, one = problem.start, jnp.ones_like(tol)
        column = (start.shape[0], *(1,) * (start.ndim - 1))  # the Gram matrix is that of any task
        step = 1 / (1.05 * largest_eigenvalue(problem.matvec, wave(column, start.dtype), 40))
        gap = problem.gap(problem.start_coef, problem.pull)

        def unfinished(state: _State) -> Bool[Array, ""]:
            return (state.gap > tol) & (state.count < self.max_iterations)

        def iterate(_: Int[Array, ""], state: _State) -> _State:
            moved = accelerated_step(problem, step, state.point, state.lookahead, state.momentum)
            return _State(*moved, state.gap, state.count + 1)

        def round_of(state: _State) -> _State:
            state = jax.lax.fori_loop(0, self.check_every, iterate, state)
            coef = state.point / problem.unit
            gap = problem.gap(coef, problem.pull - problem.matvec(state.point - start))
            return eqx.tree_at(lambda s: s.gap, state, gap)

        first = _State(start, start, one, gap, jnp.array(0))
        final = jax.lax.while_loop(unfinished, round_of, first)
        # Once more from where it ended, in the units of the penalty, so that zeros are exact.
        coef = problem.prox_coef(final.point, jnp.finfo(tol.dtype).tiny * one)
        return jnp.where(final.count == 0, problem.start_coef, coef), final.count


def accelerated_step(
    problem: GramProblem,
    step: Float[Array, ""],
    point: Float[Array, "k ..."],
    lookahead: Float[Array, "k ..."],
    momentum: Float[Array, ""],
) -> tuple[Float[Array, "k ..."], Float[Array, "k ..."], Float[Array, ""]]:
    """One iteration of FISTA: the next point, from where to look further, and the momentum."""
    pull = problem.pull - problem.matvec(lookahead - problem.start)
    new = problem.prox(lookahead + step * pull, step)
    uphill = jnp.vdot(lookahead - new, new - point) > 0
    weight, momentum = restarted_momentum(momentum, uphill)
    return new, new + weight * (new - point), momentum
