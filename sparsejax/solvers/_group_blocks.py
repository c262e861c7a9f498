"""Blocks of whole groups."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._first_order import largest_eigenvalue, wave
from ..penalties._group_norm import shrunk
from ..penalties._groups import root, scaled, soft_threshold
from ._blocks import AbstractBlocks, count_of, free_rows, grams_of
from ._coordinate_descent import BLOCK
from ._curvature import Columns
from ._gram import GramProblem

_LARGEST = 256  # group, up to which Gram matrices of blocks are worth forming
_STEPS = 8  # of the proximal gradient, a visit
_ITERATIONS = 10  # for the largest eigenvalue: a step that is too long by less than two descends


def has_blocks(problem: GramProblem) -> bool:
    """Whether the rows of a group are adjacent, and few."""
    _, _, largest = problem.penalty.groups_of_coordinates
    return isinstance(problem.curvature, Columns) and largest <= _LARGEST


class GroupBlocks(AbstractBlocks):
    """Groups that begin within as many rows, moved together by proximal gradient steps.

    Only where ``has_blocks``.
    """

    problem: GramProblem
    begins: Int[Array, " blocks"]
    count: Int[Array, ""]
    width: int = eqx.field(static=True)
    free: Int[Array, " f"]
    inverse: Float[Array, "f f"]
    grams: Float[Array, "blocks w w"]  # zero but for a block's own rows
    same: Float[Array, "blocks w w"]  # whether of one group
    steps: Float[Array, " blocks"]
    slopes: Float[Array, " k"]  # of the norm of every row's group

    def __init__(self, problem: GramProblem):
        labels, _, largest = problem.penalty.groups_of_coordinates
        size, dtype = problem.scale.shape[0], problem.scale.dtype
        rows = min(max(BLOCK // largest, 1) * largest, size)
        self.problem, self.width = problem, min(rows + largest - 1, size)
        number = jnp.arange(-(-size // rows))
        self.begins = jnp.minimum(number * rows, size - self.width)
        self.count = count_of(problem, rows)
        self.free, self.inverse = free_rows(problem)
        of_blocks = jax.vmap(lambda begin: jax.lax.dynamic_slice_in_dim(labels, begin, self.width))
        groups = of_blocks(self.begins)  # a label is where its group begins
        own = groups // rows == number[:, None]
        self.same = (groups[:, :, None] == groups[:, None]) & own[:, None]
        self.same = self.same.astype(dtype)
        grams = grams_of(problem, self.begins, self.count, self.width)
        self.grams = jnp.where(own[:, :, None] & own[:, None], grams, 0.0)
        start = wave((self.width,), dtype)
        longest = lambda gram: largest_eigenvalue(lambda v: gram @ v, start, _ITERATIONS)  # noqa: E731
        self.steps = 1 / jax.vmap(longest)(self.grams)
        self.slopes = problem.penalty.outer_slopes()[labels]

    def belongs(self, i: Int[Array, ""]) -> Bool[Array, " w"]:
        return jnp.diagonal(self.same[i]) > 0

    def change(
        self, i: Int[Array, ""], pull: Float[Array, " w"], coef: Float[Array, " w"]
    ) -> Float[Array, " w"]:
        gram, same, step, own = self.grams[i], self.same[i], self.steps[i], self.belongs(i)
        inner = step * self.problem.penalty.inner_slope()
        outer = scaled(self.rows(i)(self.slopes), step)

        def descend(_: Int[Array, ""], change: Float[Array, " w"]) -> Float[Array, " w"]:
            v = soft_threshold(coef + change + step * (pull - gram @ change), inner)
            moved = v * shrunk(root(same @ v**2), outer)
            return jnp.where(own, moved - coef, 0.0)

        return jax.lax.fori_loop(0, _STEPS, descend, jnp.zeros_like(coef))
