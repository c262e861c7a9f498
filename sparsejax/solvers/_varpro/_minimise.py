"""The outer problem of variable projection, whatever the inner one is."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int

from ..._modules import select

_CHECK_EVERY = 5
_SUFFICIENT, _CURVED = 1e-4, 0.9  # of Wolfe's conditions
_TRIALS = 30


class AbstractProjection(eqx.Module):
    """What the inner solve at v gives: f(v), and whatever its gradient and the gap need."""

    value: eqx.AbstractVar[Float[Array, ""]]


class AbstractOuterProblem(eqx.Module):
    """f(v) = min over u of a convex function, smooth in v."""

    @abc.abstractmethod
    def project(self, v: Any, near: Any) -> Any:
        """Solve for u: an ``AbstractProjection``; ``near`` is that of a point nearby, or None."""

    @abc.abstractmethod
    def envelope(self, v: Any, projection: Any) -> Float[Array, ""]:
        """A function of v whose gradient is ∇f(v) while the projection at v is held constant."""

    @abc.abstractmethod
    def gap(self, projection: Any) -> Float[Array, ""]:
        """A duality gap, in the units of the tolerance."""


def half_square(v: Any) -> Float[Array, ""]:
    """‖v‖²/2 of all parts of v: the price of weights."""
    return jnp.asarray(sum(jnp.sum(part**2) for part in jax.tree.leaves(v))) / 2


class _Point(eqx.Module):
    v: Float[Array, " k"]
    projection: Any
    gradient: Float[Array, " k"]


class _State(eqx.Module):
    point: _Point
    history: Any  # what L-BFGS has learnt
    gap: Float[Array, ""]
    steps: Int[Array, ""]
    moving: Bool[Array, ""]


class _Trial(eqx.Module):
    point: _Point
    length: Float[Array, ""]
    low: Float[Array, ""]  # too short a step ...
    high: Float[Array, ""]  # ... and one too long
    count: Int[Array, ""]
    good: Bool[Array, ""]


def minimise(
    problem: AbstractOuterProblem,
    first: Any,
    begun: Float[Array, ""],
    tol: Float[Array, ""],
    max_steps: Int[Array, ""],
    memory: int,
) -> tuple[Any, Int[Array, ""]]:
    """L-BFGS on f, from a point of gap ``begun``, until the gap is small or v rests.

    The gradient is that of the envelope theorem, never the derivative of the inner solve.
    """
    import optax  # not by all who import solvers

    flat, unravel = ravel_pytree(first)
    # Without optax's line search: that evaluates f in three places, each an inner solve to compile.
    quasi_newton = optax.scale_by_lbfgs(memory)

    def at(v: Float[Array, " k"], near: Any = None) -> _Point:
        projection = problem.project(unravel(v), near)
        slope = jax.grad(lambda v: problem.envelope(unravel(v), projection))
        return _Point(v, projection, slope(v))

    def unfinished(state: _State) -> Bool[Array, ""]:
        return (state.gap > tol) & (state.steps < max_steps) & state.moving

    def step(state: _State) -> _State:
        old = state.point
        history: Any
        uphill, history = quasi_newton.update(old.gradient, state.history, old.v)
        new, found = _searched(at, old, -jnp.asarray(uphill))
        moved = found & jnp.any(new.v != old.v)
        # What rounding has made of the last pairs may mislead: without them there is one more try.
        moving = moved | (state.history.count > 0)
        history = history._replace(
            count=jnp.where(moved, history.count, 0),
            weights_memory=jnp.where(moved, history.weights_memory, 0.0),
        )
        # A certificate costs a pass over the data, so not every step gets one.
        steps = state.steps + 1
        due = (steps % _CHECK_EVERY == 0) | (steps >= max_steps) | ~moving
        gap = jax.lax.cond(due, lambda: problem.gap(new.projection), lambda: state.gap)
        return _State(new, history, gap.astype(tol.dtype), steps, moving)

    history = quasi_newton.init(flat)
    state = _State(at(flat), history, begun.astype(tol.dtype), jnp.array(0), begun > tol)
    final = jax.lax.while_loop(unfinished, step, state)
    return final.point.projection, final.steps


def _searched(
    at: Any, start: _Point, direction: Float[Array, " k"]
) -> tuple[_Point, Bool[Array, ""]]:
    """The point of a step that meets Wolfe's conditions, by bisection; and whether there is one.

    Lengths double until one is too long. Values that differ by rounding count as equal.
    """
    value, slope = start.projection.value, jnp.vdot(start.gradient, direction)
    rounding = 10 * jnp.finfo(value.dtype).eps * jnp.abs(value)

    def unfinished(trial: _Trial) -> Bool[Array, ""]:
        return ~trial.good & (trial.count < _TRIALS)

    def halve(trial: _Trial) -> _Trial:
        point = at(start.v + trial.length * direction, start.projection)
        enough = value + _SUFFICIENT * trial.length * slope + rounding
        short = point.projection.value <= enough  # NaN is too long
        flat = jnp.vdot(point.gradient, direction) >= _CURVED * slope
        low = jnp.where(short, trial.length, trial.low)
        high = jnp.where(short, trial.high, trial.length)
        length = jnp.where(jnp.isinf(high), 2 * low, (low + high) / 2)
        return _Trial(point, length, low, high, trial.count + 1, short & flat)

    zero, one = jnp.zeros_like(value), jnp.ones_like(value)
    no = slope >= 0  # nothing to search: the start is the best there is
    first = _Trial(start, one, zero, jnp.full_like(one, jnp.inf), jnp.array(0), no)
    final = jax.lax.while_loop(unfinished, halve, first)
    downhill = final.point.projection.value <= value + rounding
    found = final.good & ~no
    kept = downhill & ~no
    point = select(kept, final.point, start)
    return point, found
