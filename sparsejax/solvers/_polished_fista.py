"""Accelerated proximal gradient on a working set, with Newton's method where it seems settled."""

from typing import Self

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._certificate import has_fallen
from .._first_order import largest_eigenvalue, wave
from .._modules import replace, select
from .._problem import Problem
from .._together import largest
from ..penalties import AbstractNewtonPenalty
from ._gram import AbstractGramSolver, GramProblem
from ._gram_fista import accelerated_step

_PATIENCE = 5  # rounds without progress that mean rounding has been reached
_POWER_STEPS = 10  # enough with the tenth that is added


class _Point(eqx.Module):
    coef: Float[Array, "k ..."]
    gap: Float[Array, ""]
    objective: Float[Array, ""]

    @classmethod
    def at(
        cls, problem: GramProblem, coef: Float[Array, "k ..."], pull: Float[Array, "k ..."]
    ) -> Self:
        gap = problem.gap(coef, pull)
        gap = jnp.where(jnp.isnan(gap), jnp.inf, gap)
        return cls(coef, gap, problem.objective(coef, pull))


class _State(eqx.Module):
    point: Float[Array, "k ..."]
    lookahead: Float[Array, "k ..."]
    momentum: Float[Array, ""]
    best: _Point
    lowest: Float[Array, ""]  # objective
    count: Int[Array, ""]
    idle: Int[Array, ""]


class PolishedFISTA(AbstractGramSolver):
    """Rounds of FISTA through the Gram matrix, each with one step of Newton's method after it.

    FISTA finds the support, and Newton's step on it the solution to the last digits; FISTA goes on
    from there where that lowers the objective. There are no branches and few kinds of operations,
    so that under ``vmap`` a batch of problems moves as one: this is for ``Lockstep()``. Where the
    penalty has no second derivative on its support, and for several targets, it is FISTA alone.

    Parameters
    ----------
    iterations
        Of FISTA in a round.
    max_rounds
        Rounds a working set at the most.
    """

    iterations: int = eqx.field(default=40, static=True)
    max_rounds: int = eqx.field(default=400, static=True)

    def check(self, problem: Problem) -> None:
        del problem  # every penalty that working sets take

    def solve_gram(
        self, problem: GramProblem, tol: Float[Array, ""]
    ) -> tuple[Float[Array, "k ..."], Int[Array, ""]]:
        start, one = problem.start, jnp.ones_like(tol)
        column = (start.shape[0], *(1,) * (start.ndim - 1))  # the Gram matrix is that of any task
        vector = wave(column, start.dtype)
        step = 1 / (1.1 * largest_eigenvalue(problem.matvec, vector, _POWER_STEPS))
        smooth = isinstance(problem.penalty, AbstractNewtonPenalty) and start.ndim == 1

        def unfinished(state: _State) -> Bool[Array, ""]:
            going = (state.count < self.max_rounds) & (state.idle < _PATIENCE)
            return (state.best.gap > tol) & going

        def iterate(_: Int[Array, ""], state: _State) -> _State:
            moved = accelerated_step(problem, step, state.point, state.lookahead, state.momentum)
            return _State(*moved, state.best, state.lowest, state.count, state.idle)

        def round_of(state: _State) -> _State:
            state = jax.lax.fori_loop(0, self.iterations, iterate, state)
            pull = problem.pull - problem.matvec(state.point - start)
            # In the units of the penalty, so that zeros are exact.
            coef = problem.penalty.into_domain(state.point / problem.unit)
            new = _Point.at(problem, coef, pull)
            best = _better(new, state.best)
            if smooth:
                # Of a batch, all take the step as long as one needs it.
                needed = largest(new.gap > tol)
                polish = lambda: _polished(problem, coef, pull)  # noqa: E731
                polished = jax.lax.cond(needed, polish, lambda: new)
                best = _better(polished, best)
                # A smaller gap is no reason to go on from there: it need not be any nearer.
                taken = polished.objective < new.objective
                new = select(taken, polished, new)
                point = jnp.where(taken, problem.unit * new.coef, state.point)
                lookahead = jnp.where(taken, point, state.lookahead)
                momentum = jnp.where(taken, 1.0, state.momentum)
                state = replace(state, point=point, lookahead=lookahead, momentum=momentum)
            progress = best.gap < 0.9 * state.best.gap
            progress |= has_fallen(new.objective, state.lowest)
            return replace(
                state,
                best=best,
                lowest=jnp.minimum(new.objective, state.lowest),
                count=state.count + 1,
                idle=jnp.where(progress, 0, state.idle + 1),
            )

        given, zero = _Point.at(problem, problem.start_coef, problem.pull), jnp.array(0)
        first = _State(start, start, one, given, given.objective, zero, zero)
        final = jax.lax.while_loop(unfinished, round_of, first)
        return final.best.coef, final.count


def _better(new: _Point, old: _Point) -> _Point:
    return select(new.gap < old.gap, new, old)


def _polished(problem: GramProblem, coef: Float[Array, " k"], pull: Float[Array, " k"]) -> _Point:
    """One step of Newton's method on the support; an infinite gap where that fails."""
    limit = jnp.asarray(problem.curvature.longest_step, coef.dtype)
    slope = problem.penalty.local_gradient(coef) / problem.scale
    root = problem.support_root(coef, limit)
    rhs = root.matvec(pull - slope)
    correction = root.matvec(problem.solve_shifted(root, 1 / limit, rhs, problem.widths))
    moved = problem.penalty.into_domain(coef + correction / problem.scale)
    change = problem.scale * moved - problem.start
    return _Point.at(problem, moved, problem.pull - problem.matvec(change))
