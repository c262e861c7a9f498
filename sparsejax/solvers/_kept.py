"""What is known of a working set's matrix, kept from one step to the next."""

import abc
from typing import Self

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._problem import Problem
from ._curvature import AbstractCurvature, Columns, Gram

_BLOCK = 256  # rows that are updated at once
_SMALL = 256  # features up to which nothing is worth keeping


class AbstractKept(eqx.Module):
    """A working set and its matrix, in memory that is written in place."""

    index: eqx.AbstractVar[Int[Array, " k"]]  # the features, padded with p
    width: eqx.AbstractVar[Int[Array, ""]]  # how many there are

    @property
    @abc.abstractmethod
    def curvature(self) -> AbstractCurvature:
        """The matrix, in its leading block."""

    @abc.abstractmethod
    def update(self, problem: Problem, chosen: Int[Array, " w"]) -> "AbstractKept":
        """The same memory for the features ``chosen``, perhaps in another order."""


class KeptColumns(AbstractKept):
    """The features' columns, gathered anew each time."""

    index: Int[Array, " k"]
    width: Int[Array, ""]
    columns: Float[Array, "k n"]  # times the roots of the factors of the samples

    @classmethod
    def empty(cls, problem: Problem, width: int) -> Self:
        """No working set, and room for one."""
        n, p = problem.X.shape
        index = jnp.full(width, p, jnp.int32)
        return cls(index, jnp.array(0), jnp.zeros((width, n), problem.X.dtype))

    @property
    def curvature(self) -> AbstractCurvature:
        return Columns(self.columns)

    def update(self, problem: Problem, chosen: Int[Array, " w"]) -> "KeptColumns":
        p, size = problem.X.shape[1], self.index.shape[0]
        width = chosen.shape[0]
        rows = problem.X.columns(chosen) * jnp.sqrt(problem.loss.row_weights(problem.y))
        columns = jax.lax.dynamic_update_slice(self.columns, rows, (0, 0))
        index = jnp.pad(chosen, (0, size - width), constant_values=p)
        return KeptColumns(index, jnp.array(width), columns)


class KeptGram(AbstractKept):
    """The features' Gram matrix; the rows of those that stay are kept."""

    index: Int[Array, " k"]
    width: Int[Array, ""]
    gram: Float[Array, "k k"]

    @classmethod
    def empty(cls, problem: Problem, width: int) -> Self:
        """No working set, and room for one."""
        index = jnp.full(width, problem.X.shape[1], jnp.int32)
        return cls(index, jnp.array(0), jnp.zeros((width, width), problem.X.dtype))

    @property
    def curvature(self) -> AbstractCurvature:
        return Gram(self.gram)

    def update(self, problem: Problem, chosen: Int[Array, " w"]) -> "KeptGram":
        width = chosen.shape[0]
        anew = width <= _SMALL or width == problem.X.shape[1]
        return (_form if anew else _exchange)(problem, self, chosen)

    def holding(
        self, index: Int[Array, " w"], gram: Float[Array, "k k"], num_features: int
    ) -> "KeptGram":
        """The same memory with another working set."""
        width = index.shape[0]
        rest = (0, self.index.shape[0] - width)
        index = jnp.pad(index, rest, constant_values=num_features)
        return KeptGram(index, jnp.array(width), gram)


def _form(problem: Problem, kept: KeptGram, chosen: Int[Array, " w"]) -> KeptGram:
    """The Gram matrix of the chosen features from scratch; of all, in their own order."""
    p = problem.X.shape[1]
    everything = chosen.shape[0] == p

    def form(gram: Float[Array, "k k"]) -> Float[Array, "k k"]:
        columns = problem.X.all_columns() if everything else problem.X.columns(chosen)
        block = problem.loss.gram(columns, columns, problem.y)
        return jax.lax.dynamic_update_slice(gram, block, (0, 0))

    if not everything:
        return kept.holding(chosen, form(kept.gram), p)
    # What the step before has formed still holds.
    gram = jax.lax.cond(kept.width == p, lambda gram: gram, form, kept.gram)
    return kept.holding(jnp.arange(p, dtype=chosen.dtype), gram, p)


def _exchange(problem: Problem, kept: KeptGram, chosen: Int[Array, " w"]) -> KeptGram:
    """The same, but features of the last working set stay in their rows and are not computed.

    New ones take the rows of those that leave, a block of rows at a time.
    """
    p, width, size = problem.X.shape[1], chosen.shape[0], kept.gram.shape[0]
    # Rows beyond a narrower block would have to move: begin anew.
    held = jnp.where(kept.width <= width, kept.index[:width], p)
    is_chosen = jnp.zeros(p + 1, bool).at[chosen].set(True).at[p].set(False)
    stays = is_chosen[held]
    is_held = jnp.zeros(p + 1, bool).at[held].set(True)
    (free,) = jnp.nonzero(~stays, size=width, fill_value=size)
    (new,) = jnp.nonzero(~is_held[chosen], size=width, fill_value=width)
    entering = chosen.at[new].get(mode="fill", fill_value=p)
    index = held.at[free].set(entering, mode="drop")
    blocks = -(-width // _BLOCK)
    rows = jnp.pad(free, (0, blocks * _BLOCK - width), constant_values=size).reshape(blocks, -1)
    used = (jnp.sum(~stays) + _BLOCK - 1) // _BLOCK

    def update(gram: Float[Array, "k k"]) -> Float[Array, "k k"]:
        columns = problem.X.columns(index)

        def fill(i: Int[Array, ""], gram: Float[Array, "k k"]) -> Float[Array, "k k"]:
            fresh = columns.at[rows[i]].get(mode="fill", fill_value=0.0)
            block = problem.loss.gram(fresh, columns, problem.y)
            gram = gram.at[rows[i], :width].set(block, mode="drop")
            return gram.at[:width, rows[i]].set(block.T, mode="drop")

        return jax.lax.fori_loop(0, used, fill, gram)

    return kept.holding(index, jax.lax.cond(used > 0, update, lambda gram: gram, kept.gram), p)
