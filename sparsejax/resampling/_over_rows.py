"""One compiled loop over rows of weights, if so asked in batches and among devices."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._arguments import checked_max_steps, checked_solver, checked_tol
from .._problem import Problem
from ..solvers import AbstractSolver, Auto


class First(NamedTuple):
    """A row before all others, from whose result these start.

    In the same loop, because another program for it would take as long again to compile.
    """

    row: jax.Array
    start: jax.Array  # its own
    start_of: Callable[[Any], jax.Array]  # that of others, from its result


def over_rows(
    function: Callable[..., Any],
    problem: Problem,
    rows: Any,
    batch_size: int | None,
    devices: Sequence[jax.Device] | None,
    first: First | None = None,
) -> Any:
    """``function(problem, row)`` for every row of the arrays in ``rows``, stacked.

    Batches and devices get equally many rows; those that are missing repeat others. With a
    ``first`` row it is ``function(problem, row, start)``.
    """
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1; got {batch_size}.")
    if devices is not None and len(devices) == 0:
        raise ValueError("`devices` must not be empty.")
    arrays, static = eqx.partition(problem, eqx.is_array)

    def loop(arrays: Any, rows: Any) -> Any:
        run = functools.partial(function, eqx.combine(arrays, static))
        if first is None:
            return jax.lax.map(run, rows, batch_size=batch_size)
        return _after_first(run, rows, batch_size, first)

    shares = 1 if devices is None else len(devices)
    count = jax.tree.leaves(rows)[0].shape[0]
    share = math.ceil(count / shares)
    # A batch of another size would be another program.
    share = share if batch_size is None else batch_size * math.ceil(share / batch_size)
    index = np.arange(share * shares) % count
    rows = jax.tree.map(lambda x: x[index], rows)
    if devices is not None:
        mesh = jax.sharding.Mesh(np.array(devices), ("rows",))
        whole, parts = jax.sharding.PartitionSpec(), jax.sharding.PartitionSpec("rows")
        loop = jax.shard_map(
            loop, mesh=mesh, in_specs=(whole, parts), out_specs=parts, check_vma=False
        )
    return jax.tree.map(lambda x: x[:count], loop(arrays, rows))


def _after_first(
    function: Callable[[Any, Any], Any], rows: jax.Array, batch_size: int | None, first: First
) -> Any:
    """``function(row, start)`` for all rows, a batch of the first before them."""
    size = batch_size or 1
    batches = jnp.concatenate([jnp.tile(first.row, (size, 1)), rows]).reshape(
        -1, size, *first.row.shape
    )

    def step(state: tuple[Any, Any], batch: jax.Array) -> tuple[Any, Any]:
        known, start = state
        found = jax.vmap(function, (0, None))(batch, start)
        own = first.start_of(jax.tree.map(lambda x: x[0], found))
        return (jnp.array(True), jnp.where(known, start, own)), found

    _, found = jax.lax.scan(step, (jnp.array(False), first.start), batches)
    return jax.tree.map(lambda x: x[1:].reshape(-1, *x.shape[2:]), found)


def reweighted(problem: Problem, factors: jax.Array) -> Problem:
    """The problem with its sample weights multiplied by factors: rows left out, or repeated."""
    return eqx.tree_at(lambda p: p.loss, problem, problem.loss.reweighted(factors))


class Fitting(NamedTuple):
    """How every fit is made, and how they are divided; checked."""

    tol: Any
    max_steps: Any
    solver: AbstractSolver
    batch_size: int | None
    devices: tuple[jax.Device, ...] | None


def checked_fitting(
    problem: Problem,
    tol: Any,
    solver: AbstractSolver | None,
    max_steps: int | None,
    batch_size: int | None,
    devices: Sequence[jax.Device] | None,
) -> Fitting:
    """The arguments that all functions of this room have."""
    solver = checked_solver(Auto() if solver is None else solver, problem)
    goal = checked_tol(tol, problem.X.dtype)
    limit = checked_max_steps(solver.default_max_steps if max_steps is None else max_steps)
    return Fitting(goal, limit, solver, batch_size, None if devices is None else tuple(devices))


def permutations(key: jax.Array, num: int, n: int) -> jax.Array:
    """(num, n): independent orders of n things."""
    keys = jax.random.split(key, num)
    return jax.vmap(lambda key: jax.random.permutation(key, n))(keys).astype(jnp.int32)
