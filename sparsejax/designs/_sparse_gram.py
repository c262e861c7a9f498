"""Products of columns of a sparse design with each other, without forming the columns."""

from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

if TYPE_CHECKING:
    from ._sparse import Sparse

_RUN = 16  # entries of a sample that are looked at together
_RUNS = 2**10  # of them, at once
_ENTRIES = 2**11  # of columns, whose runs are counted at once


class Lists(NamedTuple):
    """What each sample has in some columns, one sample after the other."""

    places: Int[Array, " m"]  # of the columns
    values: Float[Array, " m"]  # times the factor of the sample
    begin: Int[Array, " n"]
    length: Int[Array, " n"]


def lists_of(X: "Sparse", indices: Int[Array, " k"], row_weights: Float[Array, " n"]) -> Lists:
    """Of the chosen columns."""
    (n, p), k, size = X.shape, indices.shape[0], X.data.shape[0]
    order = jnp.arange(k, dtype=X.rows.dtype)
    places = jnp.full(p, k, order.dtype).at[indices].set(order, mode="drop")[X.cols]
    # Of padding, zeros in one place, there may be more than can be paired.
    places = jnp.where(X.data == 0, k, places)[X.by_row]
    rows = X.rows[X.by_row]
    until = jnp.cumsum((places < k).astype(order.dtype))
    ends = jnp.searchsorted(rows, jnp.arange(n + 1, dtype=rows.dtype)).astype(order.dtype)
    ends = jnp.append(jnp.zeros_like(until[:1]), until)[ends]
    at = jnp.where(places < k, until - 1, size + _RUN)
    put = lambda x: jnp.zeros(size + _RUN, x.dtype).at[at].set(x, mode="drop")  # noqa: E731
    values = row_weights[rows] * X.data[X.by_row]
    return Lists(put(places), put(values), ends[:-1], jnp.diff(ends))


def products(X: "Sparse", indices: Int[Array, " b"], lists: Lists, k: int) -> Float[Array, "b k"]:
    """Of the chosen columns with the k that are listed."""
    begins, ends = (jnp.searchsorted(X.cols, indices, side=side) for side in ("left", "right"))
    counts = (ends - begins).astype(X.rows.dtype)
    until = jnp.cumsum(counts)

    def chunk(i: Int[Array, ""], found: Float[Array, " bk"]) -> Float[Array, " bk"]:
        entry, column, inside = _expanded(until, counts, i, _ENTRIES)
        entry = begins[column] + entry
        row, value = X.rows[entry], X.data[entry]
        length = jnp.where(inside & (value != 0), lists.length[row], 0)
        return _paired(lists, (column * k, lists.begin[row], length, value), found)

    start = jnp.zeros(indices.shape[0] * k, X.dtype)
    return jax.lax.fori_loop(0, -(-until[-1] // _ENTRIES), chunk, start).reshape(-1, k)


def _paired(
    lists: Lists, entries: tuple[Array, Array, Array, Array], found: Float[Array, " bk"]
) -> Float[Array, " bk"]:
    """With the products of some entries: where they go, and the list that each is paired with."""
    runs = -(-entries[2] // _RUN)
    until = jnp.cumsum(runs)
    lane = jnp.arange(_RUN, dtype=until.dtype)

    def batch(i: Int[Array, ""], found: Float[Array, " bk"]) -> Float[Array, " bk"]:
        run, which, inside = _expanded(until, runs, i, _RUNS)
        start, begin, length, value = (x[which, None] for x in entries)
        offset = run[:, None] * _RUN + lane
        inside = inside[:, None] & (offset < length)
        product = jnp.where(inside, value * lists.values[begin + offset], 0.0)
        return found.at[start + lists.places[begin + offset]].add(product, mode="drop")

    return jax.lax.fori_loop(0, -(-until[-1] // _RUNS), batch, found)


def _expanded(
    until: Int[Array, " m"], counts: Int[Array, " m"], i: Int[Array, ""], size: int
) -> tuple[Int[Array, " size"], Int[Array, " size"], Bool[Array, " size"]]:
    """The i-th chunk of what m places hold: the number of each in its place, the place, if any."""
    number = (i * size + jnp.arange(size)).astype(until.dtype)
    place = jnp.minimum(jnp.searchsorted(until, number, side="right"), until.shape[0] - 1)
    return number - until[place] + counts[place], place, number < until[-1]
