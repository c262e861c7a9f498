"""What is known of a working set's matrix, kept from one step to the next."""

import abc
import math
from collections.abc import Callable
from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._problem import Problem
from ..designs._gram import gram as gram_of
from ._curvature import AbstractCurvature, Columns, Gram

_BLOCK = 32  # rows that are updated at once
_MOST = 0.7  # share of new rows from which on all are formed anew
_CHEAP = 2**26  # products in a Gram matrix of which nothing is worth keeping


class AbstractKept(eqx.Module):
    """A working set and its matrix, in memory that is written in place."""

    index: eqx.AbstractVar[Int[Array, " k"]]  # the features, padded with p
    width: eqx.AbstractVar[Int[Array, ""]]  # how many there are

    @property
    @abc.abstractmethod
    def curvature(self) -> AbstractCurvature:
        """The matrix, in its leading block."""

    @abc.abstractmethod
    def update(
        self, problem: Problem, chosen: Int[Array, " w"], wanted: Int[Array, ""]
    ) -> "AbstractKept":
        """The same memory for the first ``wanted`` of the features ``chosen``, best first.

        Perhaps in another order, and with others where there is room. Never narrower than
        ``least_width``.
        """

    @abc.abstractmethod
    def formed(self, problem: Problem, chosen: Int[Array, " w"]) -> "AbstractKept":
        """The same memory for the features ``chosen``, of which nothing is known yet."""

    def least_width(self, problem: Problem) -> Int[Array, ""]:
        """How wide the next working set must be to keep what is worth keeping."""
        del problem
        return jnp.array(0)

    def adopt(self, other: "AbstractKept") -> "AbstractKept":
        """With what is worth taking over from a smaller memory, where this one is empty."""
        del other
        return self


class KeptColumns(AbstractKept):
    """The features' columns, gathered anew each time."""

    index: Int[Array, " k"]
    width: Int[Array, ""]
    columns: Float[Array, "k n"]  # times the roots of the factors of the samples
    squares: Float[Array, " k"]  # of their lengths

    @classmethod
    def empty(cls, problem: Problem, width: int) -> Self:
        """No working set, and room for one."""
        n, p = problem.X.shape
        index = jnp.full(width, p, jnp.int32)
        columns = jnp.zeros((width, n), problem.X.dtype)
        return cls(index, jnp.array(0), columns, columns[:, 0])

    @property
    def curvature(self) -> AbstractCurvature:
        return Columns(self.columns, self.squares)

    def update(
        self, problem: Problem, chosen: Int[Array, " w"], wanted: Int[Array, ""]
    ) -> "KeptColumns":
        del wanted
        return self.formed(problem, chosen)

    def formed(self, problem: Problem, chosen: Int[Array, " w"]) -> "KeptColumns":
        p, size = problem.X.shape[1], self.index.shape[0]
        width = chosen.shape[0]
        rows = problem.X.columns(chosen) * jnp.sqrt(problem.loss.row_weights(problem.y))
        columns = jax.lax.dynamic_update_slice(self.columns, rows, (0, 0))
        # Of these alone: a pass over the whole memory may take as long as one over X.
        squares = jax.lax.dynamic_update_slice(self.squares, jnp.sum(rows**2, axis=1), (0,))
        index = jnp.pad(chosen, (0, size - width), constant_values=p)
        return KeptColumns(index, jnp.array(width), columns, squares)


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

    def update(
        self, problem: Problem, chosen: Int[Array, " w"], wanted: Int[Array, ""]
    ) -> "KeptGram":
        if _is_cheap(problem, chosen.shape[0]):
            return self.formed(problem, chosen)
        return _exchange(problem, self, chosen, wanted)

    def formed(self, problem: Problem, chosen: Int[Array, " w"]) -> "KeptGram":
        """The Gram matrix of the chosen features from scratch; of all, in their own order."""
        p = problem.X.shape[1]
        everything = chosen.shape[0] == p

        def form(gram: Float[Array, "k k"]) -> Float[Array, "k k"]:
            return _formed(problem, gram, None if everything else chosen)

        if not everything:
            return self.holding(chosen, form(self.gram), p)
        # What the step before has formed still holds.
        gram = jax.lax.cond(self.width == p, lambda gram: gram, form, self.gram)
        return self.holding(jnp.arange(p, dtype=chosen.dtype), gram, p)

    def least_width(self, problem: Problem) -> Int[Array, ""]:
        return jnp.where(_is_cheap(problem, self.width), 0, self.width)

    def adopt(self, other: AbstractKept) -> "KeptGram":
        if not isinstance(other, KeptGram):
            return self
        index = jax.lax.dynamic_update_slice(self.index, other.index, (0,))
        return KeptGram(
            index, other.width, jax.lax.dynamic_update_slice(self.gram, other.gram, (0, 0))
        )

    def holding(
        self, index: Int[Array, " w"], gram: Float[Array, "k k"], num_features: int
    ) -> "KeptGram":
        """The same memory with another working set."""
        width = index.shape[0]
        rest = (0, self.index.shape[0] - width)
        index = jnp.pad(index, rest, constant_values=num_features)
        return KeptGram(index, jnp.array(width), gram)


def _is_cheap(problem: Problem, width: Any) -> Any:
    """Whether the Gram matrix of so many features may as well be formed anew."""
    return width <= math.isqrt(_CHEAP // problem.X.shape[0])


def _formed(
    problem: Problem, gram: Float[Array, "k k"], index: Int[Array, " w"] | None
) -> Float[Array, "k k"]:
    """The memory with the Gram matrix of these features, or of all, in its leading block."""
    p = problem.X.shape[1]
    if (p if index is None else index.shape[0]) > problem.X.gram_from:
        chosen = jnp.arange(p) if index is None else index
        own = gram_of(problem.X, chosen, problem.loss.row_weights(problem.y))
    else:
        columns = problem.X.all_columns() if index is None else problem.X.columns(index)
        own = problem.loss.own_gram(columns, problem.y)
    return jax.lax.dynamic_update_slice(gram, own, (0, 0))


def _products(
    problem: Problem, index: Int[Array, " w"]
) -> Callable[[Int[Array, " b"]], Float[Array, "w b"]]:
    """What finds columns of the Gram matrix of these features, given their places among them."""
    if index.shape[0] > problem.X.gram_from:
        found = problem.X.gram_rows(index, problem.loss.row_weights(problem.y))
        return lambda places: found(places).T
    columns = problem.X.columns(index)

    def of(places: Int[Array, " b"]) -> Float[Array, "w b"]:
        fresh = columns.at[places].get(mode="fill", fill_value=0.0)
        # This way around, a narrow block takes no longer a row than a wide one.
        return problem.loss.gram(columns, fresh, problem.y)

    return of


def _exchange(
    problem: Problem, kept: KeptGram, chosen: Int[Array, " w"], wanted: Int[Array, ""]
) -> KeptGram:
    """The same, but features of the last working set stay in their rows and are not computed.

    New ones take empty rows or, for lack of them, those of the features that matter least, a block
    of rows at a time. Others stay where there is room; of groups, nothing may: they would be cut.
    """
    p, width, size = problem.X.shape[1], chosen.shape[0], kept.gram.shape[0]
    held, order = kept.index[:width], jnp.arange(width, dtype=chosen.dtype)
    rank = jnp.full(p + 1, width, chosen.dtype).at[chosen].set(order).at[p].set(2 * width)
    is_held = jnp.zeros(p + 1, bool).at[held].set(True).at[p].set(True)
    enters = (order < wanted) & ~is_held[chosen]
    (new,) = jnp.nonzero(enters, size=width, fill_value=width)
    grouped = problem.penalty.groups_of_coordinates is not None
    count = jnp.sum(rank[held] >= wanted) if grouped else jnp.sum(enters)
    least = jnp.argsort(-rank[held], stable=True)
    free = jnp.where(order < count, least, size)
    entering = chosen.at[new].get(mode="fill", fill_value=p)
    index = held.at[free].set(entering, mode="drop")
    blocks = -(-width // _BLOCK)
    rows = jnp.pad(free, (0, blocks * _BLOCK - width), constant_values=size).reshape(blocks, -1)

    def update(gram: Float[Array, "k k"]) -> Float[Array, "k k"]:
        products = _products(problem, index)

        def fill(i: Int[Array, ""], gram: Float[Array, "k k"]) -> Float[Array, "k k"]:
            block = products(rows[i])
            gram = gram.at[:width, rows[i]].set(block, mode="drop")
            return gram.at[rows[i], :width].set(block.T, mode="drop")

        return jax.lax.fori_loop(0, (count + _BLOCK - 1) // _BLOCK, fill, gram)

    def form(gram: Float[Array, "k k"]) -> Float[Array, "k k"]:
        return _formed(problem, gram, index)

    # Where most rows are new, symmetry saves more than the few that are known.
    choice = (count > 0).astype(int) + (count > _MOST * width)
    gram = jax.lax.switch(choice, (lambda gram: gram, update, form), kept.gram)
    return kept.holding(index, gram, p)
