"""Blocks of single rows."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ._blocks import AbstractBlocks, count_of, free_rows, grams_of
from ._coordinate_descent import BLOCK, sweep_block
from ._gram import GramProblem


class RowBlocks(AbstractBlocks):
    """Rows that are minimised over one after the other; the last block may share some."""

    problem: GramProblem
    begins: Int[Array, " blocks"]
    count: Int[Array, ""]
    width: int = eqx.field(static=True)
    free: Int[Array, " f"]
    inverse: Float[Array, "f f"]
    grams: Float[Array, "blocks w w"]

    def __init__(self, problem: GramProblem):
        size = problem.scale.shape[0]
        self.problem, self.width = problem, min(BLOCK, size)
        self.begins = jnp.minimum(jnp.arange(0, size, self.width), size - self.width)
        self.count = count_of(problem, self.width)
        self.free, self.inverse = free_rows(problem)
        self.grams = grams_of(problem, self.begins, self.count, self.width)

    def belongs(self, i: Int[Array, ""]) -> Bool[Array, " w"]:
        return jnp.full(self.width, True)

    def change(
        self, i: Int[Array, ""], pull: Float[Array, "w ..."], coef: Float[Array, "w ..."]
    ) -> Float[Array, "w ..."]:
        penalty = self.problem.penalty.restrict(self.begins[i] + jnp.arange(self.width))
        return sweep_block(penalty, self.grams[i], pull, coef)
