"""Cyclic descent over the rows of a working set."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._problem import Problem
from ._coordinate_descent import BLOCK, extrapolation_weights, sweep
from ._gram import AbstractGramSolver, GramProblem

_PATIENCE = 20  # rounds without a smaller gap that mean rounding has been reached


class _Point(eqx.Module):
    """Where descent is, and half of the product of G with how far that is from the start."""

    coef: Float[Array, "k ..."]
    half: Float[Array, "... m"]


class _State(eqx.Module):
    point: _Point
    pull: Float[Array, "k ..."]  # at that point
    coef: Float[Array, "k ..."]  # of the smallest gap so far
    gap: Float[Array, ""]
    count: Int[Array, ""]
    idle: Int[Array, ""]


class GramCoordinateDescent(AbstractGramSolver):
    """Exact minimisation over one row of coefficients after the other, for several targets too.

    Rows are visited in blocks. Their pull comes from one product with the block's rows of G (or,
    where G = C·Cᵀ, of C), the block's own Gram matrix keeps it up to date within, and what has
    changed goes back in one more product. No step size is needed, whatever the scales of the
    columns. Every ``memory`` sweeps the last iterates are extrapolated, and the result kept if it
    lowers the objective; blocks in which nothing moves or has to are left out until then.

    Parameters
    ----------
    memory
        Sweeps between two extrapolations and gaps.
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
        blocks = _Blocks.of(problem)

        def unfinished(state: _State) -> Bool[Array, ""]:
            going = (state.count < self.max_iterations) & (state.idle < _PATIENCE)
            return (state.gap > tol) & going

        def round_of_sweeps(state: _State) -> _State:
            active = blocks.active(state.point.coef, state.pull)

            def step(point: _Point, _: None) -> tuple[_Point, _Point]:
                point = blocks.sweep(point, *active)
                return point, point

            point, history = jax.lax.scan(step, state.point, length=self.memory)
            pull = blocks.pull(point)
            gap = problem.gap(point.coef, pull / problem.unit)
            guess = _extrapolated(problem, state.point, history)
            there = blocks.pull(guess)
            lower = _objective(problem, guess, there) < _objective(problem, point, pull)
            better = gap < state.gap
            return _State(
                jax.tree.map(lambda a, b: jnp.where(lower, a, b), guess, point),
                jnp.where(lower, there, pull),
                jnp.where(better, point.coef, state.coef),
                jnp.where(better, gap, state.gap),
                state.count + self.memory,
                jnp.where(better, 0, state.idle + 1),
            )

        start, zero = problem.start_coef, jnp.array(0)
        half = jnp.zeros((*start.shape[1:], problem.curvature.rows.shape[1]), start.dtype)
        gap = problem.gap(start, problem.pull)
        first = _State(_Point(start, half), problem.pull * problem.unit, start, gap, zero, zero)
        final = jax.lax.while_loop(unfinished, round_of_sweeps, first)
        return final.coef, final.count


class _Blocks(eqx.Module):
    """A working set cut into blocks of rows; the last may share rows with the one before."""

    problem: GramProblem
    start: Float[Array, "k ..."]  # the pull there
    begins: Int[Array, " blocks"]
    count: Int[Array, ""]  # how many the working set has
    diagonal: Float[Array, "blocks b b"]  # the Gram matrix of each

    @classmethod
    def of(cls, problem: GramProblem) -> "_Blocks":
        size = problem.scale.shape[0]
        width = min(BLOCK, size)
        begins = jnp.minimum(jnp.arange(0, size, width), size - width)
        count = -(-jnp.array(problem.widths)[problem.choice] // width)

        def fill(i: Int[Array, ""], diagonal: Float[Array, "blocks b b"]) -> Array:
            return diagonal.at[i].set(problem.curvature.diagonal_block(begins[i], width))

        diagonal = jnp.zeros((begins.shape[0], width, width), problem.scale.dtype)
        diagonal = jax.lax.fori_loop(0, count, fill, diagonal)
        return cls(problem, problem.pull * problem.unit, begins, count, diagonal)

    def _cut(self, x: Float[Array, "k ..."], i: Int[Array, ""]) -> Float[Array, "b ..."]:
        return jax.lax.dynamic_slice_in_dim(x, self.begins[i], self.diagonal.shape[1])

    def _put(
        self, x: Float[Array, "k ..."], block: Float[Array, "b ..."], i: Int[Array, ""]
    ) -> Float[Array, "k ..."]:
        return jax.lax.dynamic_update_slice_in_dim(x, block, self.begins[i], 0)

    def _pull_of(self, point: _Point, i: Int[Array, ""]) -> Float[Array, "b ..."]:
        width = self.diagonal.shape[1]
        product = self.problem.curvature.complete(point.half, self.begins[i], width)
        return self._cut(self.start, i) - product

    def active(
        self, coef: Float[Array, "k ..."], pull: Float[Array, "k ..."]
    ) -> tuple[Int[Array, " blocks"], Int[Array, ""]]:
        """The blocks in which a row moves or has to, and how many."""
        penalty, width = self.problem.penalty, self.diagonal.shape[1]
        moving = penalty.support(coef).reshape(coef.shape[0], -1).any(axis=1)
        rows = (moving | (penalty.saturation(coef, pull) > 1)) & self.problem.inside
        used = rows[self.begins[:, None] + jnp.arange(width)].any(axis=1)
        return jnp.nonzero(used, size=used.shape[0], fill_value=0)[0], jnp.sum(used)

    def sweep(
        self, point: _Point, chosen: Int[Array, " blocks"], count: Int[Array, ""]
    ) -> _Point:
        """One pass over the rows of the first ``count`` blocks of those chosen."""

        def visit(j: Int[Array, ""], point: _Point) -> _Point:
            i = chosen[j]
            before, pull = self._cut(point.coef, i), self._pull_of(point, i)
            rows = self.begins[i] + jnp.arange(before.shape[0])
            change = sweep(self.problem.penalty.restrict(rows), self.diagonal[i], pull, before)
            # As an array of its own: XLA's product with a transpose takes twice as long.
            across = jax.lax.optimization_barrier(change.T)
            half = point.half + across @ self._cut(self.problem.curvature.rows, i)
            return _Point(self._put(point.coef, before + change, i), half)

        return jax.lax.fori_loop(0, count, visit, point)

    def pull(self, point: _Point) -> Float[Array, "k ..."]:
        """The pull at a point, zero beyond the working set."""

        def visit(i: Int[Array, ""], pull: Float[Array, "k ..."]) -> Float[Array, "k ..."]:
            return self._put(pull, self._pull_of(point, i), i)

        return jax.lax.fori_loop(0, self.count, visit, self.start)


def _extrapolated(problem: GramProblem, before: _Point, history: _Point) -> _Point:
    """Where the sweeps from ``before`` seem to lead to."""
    coefs = jnp.concatenate([before.coef[None], history.coef])
    weights = extrapolation_weights(jnp.diff(coefs, axis=0) * problem.unit)
    return jax.tree.map(lambda x: jnp.tensordot(weights, x, 1), history)


def _objective(
    problem: GramProblem, point: _Point, pull: Float[Array, "k ..."]
) -> Float[Array, ""]:
    """That of the working set, but for a constant."""
    moved = point.coef - problem.start_coef
    start = problem.pull * problem.unit
    return problem.penalty.value(point.coef) - jnp.vdot(moved, start + pull) / 2
