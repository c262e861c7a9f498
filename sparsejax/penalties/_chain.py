"""The proximal operator of total variation on a chain, by dynamic programming (Johnson, 2013)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from ._groups import segment_means


@jax.jit  # loops compile once also where nobody else compiles
def total_variation_prox(v: Float[Array, " p"], t: Float[Array, ""]) -> Float[Array, " p"]:
    """argmin ‖u − v‖²/2 + t·Σ|u_{i+1} − u_i|, exactly constant between the jumps.

    The jumps are found without derivative; given them, u is a mean of data and signs over each
    piece, which carries the derivatives and does not accumulate rounding.
    """
    if v.size == 1:
        return v
    v_fixed, t_fixed = lax.stop_gradient((v, t))
    jumps = jnp.sign(jnp.diff(_solve(v_fixed, t_fixed)))

    def turned(jumps: Float[Array, " q"]) -> Bool[Array, " q"]:
        # Two pieces of equal value up to rounding may come out in the wrong order: then there
        # is no jump between them.
        return jnp.diff(_means(v_fixed, t_fixed, jumps)) * jumps < 0

    jumps = lax.while_loop(
        lambda jumps: jnp.any(turned(jumps)),
        lambda jumps: jnp.where(turned(jumps), 0.0, jumps),
        jumps,
    )
    return _means(v, t, jumps)


def _means(
    v: Float[Array, " p"], t: Float[Array, ""], jumps: Float[Array, " q"]
) -> Float[Array, " p"]:
    """The minimiser with the given signs of its jumps; all pieces are single where t = 0."""
    begins = jnp.concatenate([jnp.zeros(1, bool), (jumps != 0) | (t == 0)])
    labels = jnp.cumsum(begins)
    return segment_means(v + t * jnp.diff(jumps, prepend=0, append=0), labels, v.size)


class _Sweep(NamedTuple):
    """The derivative of the best cost so far: pieces between knots left, …, right.

    A row of ``pieces`` is a knot and the change of slope and intercept there. ``slope`` and
    ``intercept`` are those of the piece reached from the current side, at knot ``at``.
    """

    k: Int[Array, ""]
    side: Int[Array, ""]  # −1: from the left, +1: from the right
    at: Int[Array, ""]
    left: Int[Array, ""]
    right: Int[Array, ""]
    stop: Int[Array, ""]
    slope: Float[Array, ""]
    intercept: Float[Array, ""]
    row: Float[Array, " 3"]  # pieces[at], read after the last write so that that one is in place
    pieces: Float[Array, "m 3"]
    bounds: Float[Array, "p 2"]


def _solve(v: Float[Array, " p"], t: Float[Array, ""]) -> Float[Array, " p"]:
    """Bounds for every coefficient forwards, coefficients backwards.

    The derivative of the best cost of the first k coefficients in the k-th is piecewise linear
    and increasing; clipped to [−t, t], it is the force on the next one. Clipping removes pieces
    from both ends and adds one at each, so that the whole takes O(p) steps. They are steps of one
    flat loop, because XLA copies arrays that an inner loop reads and the outer one writes.
    """
    p = v.size
    t = t.astype(v.dtype)

    def level(sweep: _Sweep) -> Float[Array, ""]:
        return jnp.where(sweep.k == p - 1, 0.0, t)  # no force beyond the last coefficient

    def step(sweep: _Sweep) -> _Sweep:
        knot, slope, intercept = sweep.row
        end = jnp.where(sweep.side < 0, sweep.right, sweep.stop)
        inside = sweep.side * (sweep.at - end) >= 0
        height = sweep.slope * knot + sweep.intercept
        crosses = inside & (sweep.side * height >= level(sweep))
        crossed = sweep._replace(
            at=sweep.at - sweep.side,
            slope=sweep.slope - sweep.side * slope,
            intercept=sweep.intercept - sweep.side * intercept,
        )
        return _choose(crosses, crossed, clip(sweep), sweep, clipped_row(sweep))

    def clipped_row(sweep: _Sweep) -> Float[Array, " 3"]:
        knot = (sweep.side * level(sweep) - sweep.intercept) / sweep.slope
        return jnp.stack([knot, -sweep.side * sweep.slope, t - sweep.side * sweep.intercept])

    def clip(sweep: _Sweep) -> _Sweep:
        """Turn to the other side, or after both to the next coefficient."""
        from_left = sweep.side < 0
        left = jnp.where(from_left, sweep.at - 1, sweep.left)
        k = jnp.where(from_left, sweep.k, sweep.k + 1)
        return sweep._replace(
            k=k,
            side=-sweep.side,
            at=jnp.where(from_left, sweep.right, left),
            left=left,
            right=jnp.where(from_left, sweep.right, sweep.at + 1),
            stop=jnp.where(from_left, sweep.at, sweep.stop),
            slope=jnp.ones_like(sweep.slope),
            # x − v_k plus the force ∓t from before, at the very first coefficient none.
            intercept=-v[k] + jnp.where(k == 0, 0.0, -sweep.side * t),
        )

    def unfinished(sweep: _Sweep) -> Bool[Array, ""]:
        return (sweep.k < p - 1) | (sweep.side < 0)

    start = _Sweep(
        *(jnp.asarray(i) for i in (0, -1, p, p, p - 1, p)),
        slope=jnp.ones_like(t),
        intercept=-v[0],
        row=jnp.zeros(3, v.dtype),
        pieces=jnp.zeros((2 * p + 1, 3), v.dtype),  # the last row is where nothing is written
        bounds=jnp.zeros((p + 1, 2), v.dtype),
    )
    lows, highs = lax.while_loop(unfinished, step, start).bounds[:p].T

    def backward(following: Array, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        here = jnp.clip(following, *bounds)
        return here, here

    _, u = lax.scan(backward, lows[-1], (lows[:-1], highs[:-1]), reverse=True)
    return jnp.append(u, lows[-1])


def _choose(
    crosses: Bool[Array, ""], crossed: _Sweep, clipped: _Sweep, old: _Sweep, row: Float[Array, " 3"]
) -> _Sweep:
    """One of two sweeps, the arrays written in place and not selected as a whole."""
    spare, last = old.pieces.shape[0] - 1, old.bounds.shape[0] - 1
    where = jnp.where(crosses, spare, old.at + old.side)
    side = (old.side > 0).astype(where.dtype)
    chosen = crossed._replace(
        **{
            name: jnp.where(crosses, getattr(crossed, name), getattr(clipped, name))
            for name in ("k", "side", "at", "left", "right", "stop", "slope", "intercept")
        }
    )
    pieces = lax.dynamic_update_slice(old.pieces, row[None], (where, jnp.zeros_like(where)))
    return chosen._replace(
        row=lax.dynamic_index_in_dim(pieces, chosen.at, keepdims=False),
        pieces=pieces,
        bounds=lax.dynamic_update_slice(
            old.bounds, row[None, :1], (jnp.where(crosses, last, old.k), side)
        ),
    )
