"""Cyclic descent over the rows of a working set."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._certificate import pseudo_inverse
from .._modules import replace
from .._problem import Problem
from ..penalties import AbstractConcavePenalty
from ._coordinate_descent import BLOCK, extrapolation_weights, sweep_block
from ._curvature import Pick
from ._gram import AbstractGramSolver, GramProblem

_PATIENCE = 50  # rounds without a smaller error that mean rounding has been reached


class _Point(eqx.Module):
    """Where descent is, and half of the product of G with how far that is from the start."""

    coef: Float[Array, "k ..."]
    half: Float[Array, "... m"]


class _State(eqx.Module):
    point: _Point
    pull: Float[Array, "k ..."]  # at that point
    coef: Float[Array, "k ..."]  # of the smallest error so far
    error: Float[Array, ""]
    count: Int[Array, ""]
    idle: Int[Array, ""]


class GramCoordinateDescent(AbstractGramSolver):
    """Exact minimisation over one row of coefficients after the other, for several targets too.

    Rows are visited in blocks. Their pull comes from one product with the block's rows of G (or,
    where G = C·Cᵀ, of C), the block's own Gram matrix keeps it up to date within, and what has
    changed goes back in one more product. No step size is needed, whatever the scales of the
    columns. Up to 32 rows without a penalty are solved for at once, after every sweep. Every
    ``memory`` sweeps the last iterates are extrapolated, and the result kept if it lowers the
    objective; blocks in which nothing moves or has to are left out until then.

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
        blocks = _Blocks.of(problem)

        def unfinished(state: _State) -> Bool[Array, ""]:
            going = (state.count < self.max_iterations) & (state.idle < _PATIENCE)
            return (state.error > tol) & going

        def round_of_sweeps(state: _State) -> _State:
            active = blocks.active(state.point.coef, state.pull)

            def step(point: _Point, _: None) -> tuple[_Point, _Point]:
                point = blocks.sweep(point, *active)
                return point, point

            point, history = jax.lax.scan(step, state.point, length=self.memory)
            pull = blocks.pull(point)
            error = problem.error(point.coef, pull / problem.unit)
            better = error < state.error
            coef = jnp.where(better, point.coef, state.coef)
            on = _lower(blocks, (point, pull), _extrapolated(problem, state.point, history))
            if isinstance(problem.penalty, AbstractConcavePenalty):
                on = jax.lax.cond(
                    jnp.all((point.coef != 0) == (state.point.coef != 0)),
                    lambda: _lower(blocks, on, blocks.newton(*on)),
                    lambda: on,
                )
            point, pull = on
            return _State(
                point,
                pull,
                coef,
                jnp.where(better, error, state.error),
                state.count + self.memory,
                jnp.where(better, 0, state.idle + 1),
            )

        start, zero = problem.start_coef, jnp.array(0)
        half = jnp.zeros((*start.shape[1:], problem.curvature.rows.shape[1]), start.dtype)
        error = problem.error(start, problem.pull)
        first = _State(_Point(start, half), problem.pull * problem.unit, start, error, zero, zero)
        final = jax.lax.while_loop(unfinished, round_of_sweeps, first)
        return final.coef, final.count


class _Blocks(eqx.Module):
    """A working set cut into blocks of rows; the last may share rows with the one before."""

    problem: GramProblem
    start: Float[Array, "k ..."]  # the pull there
    begins: Int[Array, " blocks"]
    count: Int[Array, ""]  # how many the working set has
    diagonal: Float[Array, "blocks b b"]  # the Gram matrix of each
    free: Int[Array, " b"]  # the first rows without a penalty, padded with k
    inverse: Float[Array, "b b"]  # of their Gram matrix

    @classmethod
    def of(cls, problem: GramProblem) -> "_Blocks":
        size = problem.scale.shape[0]
        width = min(BLOCK, size)
        begins = jnp.minimum(jnp.arange(0, size, width), size - width)
        count = -(-jnp.array(problem.widths)[problem.choice] // width)
        is_free = problem.penalty.is_free() & problem.inside
        (free,) = jnp.nonzero(is_free, size=width, fill_value=size)
        zeros = jnp.zeros((begins.shape[0], width, width), problem.scale.dtype)
        blocks = cls(problem, problem.pull * problem.unit, begins, count, zeros, free, zeros[0])

        def fill(i: Int[Array, ""], diagonal: Float[Array, "blocks b b"]) -> Array:
            return diagonal.at[i].set(problem.curvature.block(blocks._rows(i)))

        diagonal = jax.lax.fori_loop(0, count, fill, zeros)
        invert = lambda: pseudo_inverse(problem.curvature.block(blocks._free_rows))  # noqa: E731
        inverse = jax.lax.cond(free[0] < size, invert, lambda: zeros[0])
        return replace(blocks, diagonal=diagonal, inverse=inverse)

    def _rows(self, i: Int[Array, ""]) -> Pick:
        """What takes those of a block."""
        begin, width = self.begins[i], self.diagonal.shape[1]
        return lambda x: jax.lax.dynamic_slice_in_dim(x, begin, width)

    def _free_rows(self, x: Float[Array, "k ..."]) -> Float[Array, "b ..."]:
        return x.at[self.free].get(mode="fill", fill_value=0.0)

    def _put(
        self, x: Float[Array, "k ..."], block: Float[Array, "b ..."], i: Int[Array, ""]
    ) -> Float[Array, "k ..."]:
        return jax.lax.dynamic_update_slice_in_dim(x, block, self.begins[i], 0)

    def _pull_of(self, point: _Point, pick: Pick) -> Float[Array, "b ..."]:
        return pick(self.start) - self.problem.curvature.complete(point.half, pick)

    def _moved(
        self, point: _Point, coef: Float[Array, "k ..."], change: Float[Array, "b ..."], pick: Pick
    ) -> _Point:
        """The point with new coefficients, in which some rows have changed."""
        # As an array of its own: XLA's product with a transpose takes twice as long.
        across = jax.lax.optimization_barrier(change.T)
        return _Point(coef, point.half + across @ pick(self.problem.curvature.rows))

    def active(
        self, coef: Float[Array, "k ..."], pull: Float[Array, "k ..."]
    ) -> tuple[Int[Array, " blocks"], Int[Array, ""]]:
        """The blocks in which a row moves or has to, and how many."""
        penalty, width = self.problem.penalty, self.diagonal.shape[1]
        moving = penalty.support(coef).reshape(coef.shape[0], -1).any(axis=1)
        rows = (moving | (penalty.saturation(coef, pull) > 1)) & self.problem.inside
        used = rows[self.begins[:, None] + jnp.arange(width)].any(axis=1)
        return jnp.nonzero(used, size=used.shape[0], fill_value=0)[0], jnp.sum(used)

    def sweep(self, point: _Point, chosen: Int[Array, " blocks"], count: Int[Array, ""]) -> _Point:
        """One pass over the rows of the first ``count`` blocks of those chosen."""

        def visit(j: Int[Array, ""], point: _Point) -> _Point:
            i = chosen[j]
            pick, rows = self._rows(i), self.begins[i] + jnp.arange(self.diagonal.shape[1])
            before, pull = pick(point.coef), self._pull_of(point, pick)
            change = sweep_block(
                self.problem.penalty.restrict(rows), self.diagonal[i], pull, before
            )
            return self._moved(point, self._put(point.coef, before + change, i), change, pick)

        point = jax.lax.fori_loop(0, count, visit, point)
        has_free = self.free[0] < point.coef.shape[0]
        return jax.lax.cond(has_free, lambda: self._free_step(point), lambda: point)

    def _free_step(self, point: _Point) -> _Point:
        """Exact minimisation over all rows without a penalty at once.

        Their pull must vanish for the gap to be finite at all, which one after the other they
        would be long to reach.
        """
        change = self.inverse @ self._pull_of(point, self._free_rows)
        coef = point.coef.at[self.free].add(change, mode="drop")
        # A penalty that is a constraint may have forbidden the step.
        value = self.problem.penalty.value
        allowed = value(coef) <= value(point.coef)
        moved = self._moved(point, coef, change, self._free_rows)
        return jax.tree.map(lambda a, b: jnp.where(allowed, a, b), moved, point)

    def newton(self, point: _Point, pull: Float[Array, " k"]) -> _Point:
        """A step of Newton's method on the support: exact where the penalty is quadratic."""
        problem = self.problem
        slope = pull - problem.penalty.local_gradient(point.coef)
        step = problem.solve_local(point.coef, slope / problem.unit) / problem.unit
        step = jnp.where(jnp.isfinite(step), step, 0.0)
        return _Point(point.coef + step, point.half + step @ problem.curvature.rows)

    def pull(self, point: _Point) -> Float[Array, "k ..."]:
        """The pull at a point, zero beyond the working set."""

        def visit(i: Int[Array, ""], pull: Float[Array, "k ..."]) -> Float[Array, "k ..."]:
            return self._put(pull, self._pull_of(point, self._rows(i)), i)

        return jax.lax.fori_loop(0, self.count, visit, self.start)


def _extrapolated(problem: GramProblem, before: _Point, history: _Point) -> _Point:
    """Where the sweeps from ``before`` seem to lead to."""
    coefs = jnp.concatenate([before.coef[None], history.coef])
    weights = extrapolation_weights(jnp.diff(coefs, axis=0) * problem.unit)
    return jax.tree.map(lambda x: jnp.tensordot(weights, x, 1), history)


def _lower(blocks: _Blocks, known: tuple[_Point, Array], guess: _Point) -> tuple[_Point, Array]:
    """The point of lower objective, and its pull."""
    there = guess, blocks.pull(guess)
    lower = _objective(blocks.problem, *there) < _objective(blocks.problem, *known)
    return jax.tree.map(lambda a, b: jnp.where(lower, a, b), there, known)


def _objective(
    problem: GramProblem, point: _Point, pull: Float[Array, "k ..."]
) -> Float[Array, ""]:
    """That of the working set, but for a constant."""
    moved = point.coef - problem.start_coef
    start = problem.pull * problem.unit
    return problem.penalty.value(point.coef) - jnp.vdot(moved, start + pull) / 2
