"""Cyclic descent over the rows of a working set."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._certificate import has_fallen
from .._modules import select
from .._problem import Problem
from ..penalties import AbstractConcavePenalty
from ._blocks import AbstractBlocks, Point
from ._coordinate_descent import extrapolation_weights
from ._gram import AbstractGramSolver, GramProblem
from ._group_blocks import GroupBlocks
from ._row_blocks import RowBlocks

_PATIENCE = 50  # rounds without progress that mean rounding has been reached
_ROUNDS = 10  # from one solve for all rows of several targets to the next, at least


class _State(eqx.Module):
    point: Point
    pull: Float[Array, "k ..."]  # at that point
    coef: Float[Array, "k ..."]  # of the smallest error so far
    error: Float[Array, ""]
    objective: Float[Array, ""]  # at the point
    count: Int[Array, ""]
    idle: Int[Array, ""]


class GramCoordinateDescent(AbstractGramSolver):
    """Exact minimisation over one row of coefficients after the other, for several targets too.

    Rows are visited in blocks. Their pull comes from one product with the block's rows of G (or,
    where G = C·Cᵀ, of C), the block's own Gram matrix keeps it up to date within, and what has
    changed goes back in one more product. No step size is needed, whatever the scales of the
    columns. Up to 32 rows without a penalty are solved for at once, after every sweep. Every
    ``memory`` sweeps the last iterates are extrapolated, and the result kept if it lowers the
    objective; blocks in which nothing moves or has to are left out until then. Of several targets,
    where sweeps alone take long, that is now and then a step of Newton's method on the rows that
    move instead: two systems of their number, however many targets.

    Parameters
    ----------
    memory
        Sweeps between two extrapolations and judgements.
    max_iterations
        Sweeps a working set at the most.

    Notes
    -----
    Bertrand & Massias, Anderson acceleration of coordinate descent (AISTATS 2021).
    """

    memory: int = eqx.field(default=4, static=True)
    max_iterations: int = eqx.field(default=10_000, static=True)

    def check(self, problem: Problem) -> None:
        if problem.penalty.groups_of_coordinates is not None:
            name = type(problem.penalty).__name__
            raise TypeError(f"GramCoordinateDescent does not support {name}: use GramFISTA().")

    def solve_gram(
        self, problem: GramProblem, tol: Float[Array, ""]
    ) -> tuple[Float[Array, "k ..."], Int[Array, ""]]:
        blocks = blocks_of(problem)

        def unfinished(state: _State) -> Bool[Array, ""]:
            going = (state.count < self.max_iterations) & (state.idle < _PATIENCE)
            return (state.error > tol) & going

        def round_of_sweeps(state: _State) -> _State:
            active = blocks.active(state.point.coef, state.pull)

            def step(point: Point, _: None) -> tuple[Point, Point]:
                point = blocks.sweep(point, *active)
                return point, point

            point, history = jax.lax.scan(step, state.point, length=self.memory)
            pull = blocks.pull(point)
            error = problem.error(point.coef, pull / problem.unit)
            better = error < state.error
            coef = jnp.where(better, point.coef, state.coef)
            guess = self._guess(blocks, state, point, pull, history)
            on: tuple[Point, Array] = _lower(blocks, (point, pull), guess)
            if isinstance(problem.penalty, AbstractConcavePenalty):
                on = jax.lax.cond(
                    _same_support(point, state.point),
                    lambda: _lower(blocks, on, blocks.newton(*on)),
                    lambda: on,
                )
            point, pull = on
            objective = _objective(problem, point, pull)
            progress = better | has_fallen(objective, state.objective)
            return _State(
                point,
                pull,
                coef,
                jnp.where(better, error, state.error),
                objective,
                state.count + self.memory,
                jnp.where(progress, 0, state.idle + 1),
            )

        start, zero = problem.start_coef, jnp.array(0)
        half = jnp.zeros((*start.shape[1:], problem.curvature.rows.shape[1]), start.dtype)
        error = problem.error(start, problem.pull)
        point, pull = Point(start, half), problem.pull * problem.unit
        first = _State(point, pull, start, error, _objective(problem, point, pull), zero, zero)
        final = jax.lax.while_loop(unfinished, round_of_sweeps, first)
        return final.coef, final.count

    def _guess(
        self,
        blocks: AbstractBlocks,
        state: _State,
        point: Point,
        pull: Float[Array, "k ..."],
        history: Point,
    ) -> Point:
        """Where the sweeps of a round seem to lead to.

        Of several targets now and then what Newton's method says, if sweeps alone take long: it
        costs as much as they do where rows are many and targets few.
        """
        extrapolated = lambda: _extrapolated(blocks.problem, state.point, history)  # noqa: E731
        if pull.ndim == 1:
            return extrapolated()
        moving = jnp.sum(jnp.any(point.coef != 0, axis=1))
        rounds = jnp.maximum(_ROUNDS, 2 * moving // (self.memory * pull.shape[1]))
        due = state.count // self.memory % rounds == rounds - 1
        due &= _same_support(point, state.point)
        return jax.lax.cond(due, lambda: blocks.newton(point, pull), extrapolated)


def _same_support(new: Point, old: Point) -> Bool[Array, ""]:
    return jnp.all((new.coef != 0) == (old.coef != 0))


def blocks_of(problem: GramProblem) -> AbstractBlocks:
    """Of single rows, or of whole groups."""
    single = problem.penalty.groups_of_coordinates is None
    return RowBlocks(problem) if single else GroupBlocks(problem)


def _extrapolated(problem: GramProblem, before: Point, history: Point) -> Point:
    """Where the sweeps from ``before`` seem to lead to."""
    coefs = jnp.concatenate([before.coef[None], history.coef])
    weights = extrapolation_weights(jnp.diff(coefs, axis=0) * problem.unit)
    return jax.tree.map(lambda x: jnp.tensordot(weights, x, 1), history)


def _lower(blocks: AbstractBlocks, known: tuple[Point, Array], guess: Point) -> tuple[Point, Array]:
    """The point of lower objective, and its pull."""
    there = guess, blocks.pull(guess)
    lower = _objective(blocks.problem, *there) < _objective(blocks.problem, *known)
    return select(lower, there, known)


def _objective(problem: GramProblem, point: Point, pull: Float[Array, "k ..."]) -> Float[Array, ""]:
    return problem.objective(point.coef, pull / problem.unit)
