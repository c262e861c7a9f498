"""A working set cut into blocks of rows, which descent visits one after the other."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._modules import select
from .._orthogonal import pseudo_inverse
from ..penalties._base import per_row
from ._coordinate_descent import BLOCK
from ._curvature import Pick
from ._gram import GramProblem


class Point(eqx.Module):
    """Where descent is, and half of the product of G with how far that is from the start."""

    coef: Float[Array, "k ..."]
    half: Float[Array, "... m"]


class AbstractBlocks(eqx.Module):
    """A working set cut into blocks, each within ``width`` adjacent rows; a subclass visits one."""

    problem: eqx.AbstractVar[GramProblem]
    begins: eqx.AbstractVar[Int[Array, " blocks"]]
    count: eqx.AbstractVar[Int[Array, ""]]  # how many the working set has
    width: eqx.AbstractVar[int]
    free: eqx.AbstractVar[Int[Array, " f"]]  # the first rows without a penalty, padded with k
    inverse: eqx.AbstractVar[Float[Array, "f f"]]  # of their Gram matrix

    @abc.abstractmethod
    def belongs(self, i: Int[Array, ""]) -> Bool[Array, " w"]:
        """Which of the adjacent rows are those of block i."""

    @abc.abstractmethod
    def change(
        self, i: Int[Array, ""], pull: Float[Array, "w ..."], coef: Float[Array, "w ..."]
    ) -> Float[Array, "w ..."]:
        """How far a visit moves the rows of block i."""

    @property
    def start(self) -> Float[Array, "k ..."]:
        """The pull at the start."""
        return self.problem.pull * self.problem.unit

    def rows(self, i: Int[Array, ""]) -> Pick:
        """What takes those of a block."""
        begin = self.begins[i]
        return lambda x: jax.lax.dynamic_slice_in_dim(x, begin, self.width)

    def _free_rows(self, x: Float[Array, "k ..."]) -> Float[Array, "f ..."]:
        return x.at[self.free].get(mode="fill", fill_value=0.0)

    def _put(
        self, x: Float[Array, "k ..."], block: Float[Array, "w ..."], i: Int[Array, ""]
    ) -> Float[Array, "k ..."]:
        return jax.lax.dynamic_update_slice_in_dim(x, block, self.begins[i], 0)

    def _pull_of(self, point: Point, pick: Pick) -> Float[Array, "w ..."]:
        pull = pick(self.start) - self.problem.curvature.complete(point.half, pick)
        # A block may be wider than the working set: beyond lies what a larger one has left.
        return jnp.where(per_row(pick(self.problem.inside), pull), pull, 0.0)

    def _moved(
        self, point: Point, coef: Float[Array, "k ..."], change: Float[Array, "w ..."], pick: Pick
    ) -> Point:
        """The point with new coefficients, in which some rows have changed."""
        # As an array of its own: XLA's product with a transpose takes twice as long.
        across = jax.lax.optimization_barrier(change.T)
        return Point(coef, point.half + across @ pick(self.problem.curvature.rows))

    def active(
        self, coef: Float[Array, "k ..."], pull: Float[Array, "k ..."]
    ) -> tuple[Int[Array, " blocks"], Int[Array, ""]]:
        """The blocks in which a row moves or has to, and how many."""
        penalty = self.problem.penalty
        moving = penalty.support(coef).reshape(coef.shape[0], -1).any(axis=1)
        rows = (moving | (penalty.saturation(coef, pull) > 1)) & self.problem.inside
        number = jnp.arange(self.begins.shape[0])
        used = jax.vmap(lambda i: jnp.any(self.rows(i)(rows) & self.belongs(i)))(number)
        return jnp.nonzero(used, size=used.shape[0], fill_value=0)[0], jnp.sum(used)

    def sweep(self, point: Point, chosen: Int[Array, " blocks"], count: Int[Array, ""]) -> Point:
        """One pass over the rows of the first ``count`` blocks of those chosen."""

        def visit(j: Int[Array, ""], point: Point) -> Point:
            pick = self.rows(chosen[j])
            before = pick(point.coef)
            change = self.change(chosen[j], self._pull_of(point, pick), before)
            coef = self._put(point.coef, before + change, chosen[j])
            return self._moved(point, coef, change, pick)

        point = jax.lax.fori_loop(0, count, visit, point)
        has_free = self.free[0] < point.coef.shape[0]
        return jax.lax.cond(has_free, lambda: self._free_step(point), lambda: point)

    def _free_step(self, point: Point) -> Point:
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
        return select(allowed, moved, point)

    def newton(self, point: Point, pull: Float[Array, "k ..."]) -> Point:
        """A step of Newton's method on what moves: exact where the penalty is quadratic.

        Of several targets, the best of a few lengths: rows that should vanish want to turn.
        """
        problem = self.problem
        slope = pull - problem.penalty.local_gradient(point.coef)
        solve = problem.solve_local if pull.ndim == 1 else problem.solve_rows
        step = solve(point.coef, slope / problem.unit) / problem.unit
        step = jnp.where(jnp.isfinite(step), step, 0.0)
        there = self._moved(point, point.coef + step, step, lambda x: x)
        return there if pull.ndim == 1 else self._best_towards(there, point, pull)

    def _best_towards(self, there: Point, point: Point, pull: Float[Array, "k tasks"]) -> Point:
        """The point of lowest objective of a few on the way from one to another."""
        step = there.coef - point.coef
        linear, curved = jnp.vdot(step, pull), jnp.vdot(step, pull - self.pull(there))

        def gained(length: Float[Array, ""]) -> Float[Array, ""]:
            value = self.problem.penalty.value(point.coef + length * step)
            return value + length * (length * curved / 2 - linear)

        lengths = 0.7 ** jnp.arange(15, dtype=step.dtype)
        best = lengths[jnp.argmin(jax.vmap(gained)(lengths))]
        return jax.tree.map(lambda old, new: old + best * (new - old), point, there)

    def pull(self, point: Point) -> Float[Array, "k ..."]:
        """The pull at a point, zero beyond the working set."""

        def visit(i: Int[Array, ""], pull: Float[Array, "k ..."]) -> Float[Array, "k ..."]:
            return self._put(pull, self._pull_of(point, self.rows(i)), i)

        return jax.lax.fori_loop(0, self.count, visit, self.start)


def grams_of(
    problem: GramProblem, begins: Int[Array, " blocks"], count: Int[Array, ""], width: int
) -> Float[Array, "blocks w w"]:
    """The Gram matrices of the first ``count`` blocks, zero beyond the working set."""

    def fill(i: Int[Array, ""], grams: Float[Array, "blocks w w"]) -> Array:
        pick = lambda x: jax.lax.dynamic_slice_in_dim(x, begins[i], width)  # noqa: E731
        used = pick(problem.inside)
        block = jnp.where(used[:, None] & used, problem.curvature.block(pick), 0.0)
        return grams.at[i].set(block)

    zeros = jnp.zeros((begins.shape[0], width, width), problem.scale.dtype)
    return jax.lax.fori_loop(0, count, fill, zeros)


def free_rows(problem: GramProblem) -> tuple[Int[Array, " f"], Float[Array, "f f"]]:
    """The first rows without a penalty, padded with k, and the inverse of their Gram matrix."""
    size = problem.scale.shape[0]
    most = min(BLOCK, size)
    is_free = problem.penalty.is_free() & problem.inside
    (free,) = jnp.nonzero(is_free, size=most, fill_value=size)

    def invert() -> Float[Array, "f f"]:
        pick = lambda x: x.at[free].get(mode="fill", fill_value=0.0)  # noqa: E731
        return pseudo_inverse(problem.curvature.block(pick))

    nothing = jnp.zeros((most, most), problem.scale.dtype)
    return free, jax.lax.cond(free[0] < size, invert, lambda: nothing)


def count_of(problem: GramProblem, rows: int) -> Int[Array, ""]:
    """How many blocks of so many rows the working set has."""
    return -(-jnp.array(problem.widths)[problem.choice] // rows)
