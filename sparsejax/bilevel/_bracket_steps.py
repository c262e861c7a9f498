"""Steps of few evaluations for one parameter, which look beyond the nearest minimum."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int

_MEMORY = 32  # points that are remembered
_ABOUT = 2.5  # the criterion is known about a distance if it is at this many times more or less


class BracketState(NamedTuple):
    """The points met so far, the last 32 of them; infinite where there is none yet."""

    points: Float[Array, " k"]
    values: Float[Array, " k"]
    slopes: Float[Array, " k"]
    count: Int[Array, ""]


class _Point(NamedTuple):
    x: Float[Array, ""]
    value: Float[Array, ""]
    slope: Float[Array, ""]


def bracket_steps(
    radius: float = 0.7, shortest: float = 3e-3, look: float = 0.3
) -> optax.GradientTransformationExtraArgs:
    """Steps for one parameter to the minimum between the best point and its neighbour downhill.

    Every step goes from the best point so far. As long as no point downhill of it is known, it is
    that of the secant method, of at most a radius. Then there is a minimum between the two, and
    the step leads to that of the cubic with their values and slopes. Where such a step would be
    short, the points at the distance ``look`` to both sides are looked at, unless the criterion
    is known about there, then those at a third of it, and so on; if none is better, updates are
    zero from then on. ``update`` needs the criterion at the parameter as ``value``.

    Parameters
    ----------
    radius
        Longest step. The default is a factor of two for a parameter on the logarithmic scale.
    shortest
        Steps from the best point that would be shorter are not taken.
    look
        How far beside a minimum another is looked for at most.

    Raises
    ------
    ValueError
        If a length is not positive, or there is more than one parameter.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, sparsejax as sj
    >>> steps = sj.bilevel.bracket_steps()
    >>> x, state = jnp.array(3.0), steps.init(jnp.array(3.0))
    >>> for _ in range(10):
    ...     value, slope = jax.value_and_grad(lambda x: x**4 - x)(x)
    ...     updates, state = steps.update(slope, state, x, value=value)
    ...     x = x + updates
    >>> best = state.points[state.values.argmin()]
    >>> bool(abs(best - 0.25 ** (1 / 3)) < 5e-3)
    True

    Notes
    -----
    Cubic interpolation: Nocedal & Wright, Numerical Optimization (2006), section 3.5. That of the
    Lasso's cross-validation has a kink wherever a feature comes or goes, and so many minima.
    """
    for name, length in {"radius": radius, "shortest": shortest, "look": look}.items():
        if not length > 0:
            raise ValueError(f"`{name}` must be positive; got {length}.")

    looks = look / 3.0 ** np.arange(max(1, math.ceil(math.log(look / shortest, 3))))

    def init(params: Any) -> BracketState:
        if optax.tree.size(params) != 1:
            raise ValueError("bracket_steps takes one parameter: use trust_steps for several.")
        unknown = jnp.full(_MEMORY, jnp.inf, _only(params).dtype)
        return BracketState(unknown, unknown, jnp.zeros_like(unknown), jnp.array(0))

    def update(
        updates: Any, state: Any, params: Any = None, **known: Any
    ) -> tuple[Any, BracketState]:
        if "value" not in known:
            raise ValueError("`update` of bracket_steps needs the criterion: pass `value=`.")
        x, at = _only(params), state.count % _MEMORY
        state = BracketState(
            state.points.at[at].set(x),
            state.values.at[at].set(jnp.where(jnp.isnan(known["value"]), jnp.inf, known["value"])),
            state.slopes.at[at].set(_only(updates)),
            state.count + 1,
        )
        best = _chosen(state, _newest(state, state.values == jnp.min(state.values)))
        direction = -jnp.where(best.slope < 0, -1.0, 1.0).astype(x.dtype)
        length = _to_minimum(state, best, direction, radius)
        beside = _unknown(state, best, direction, looks)
        offset = jnp.where(length < shortest, beside, direction * length)
        step = jnp.where(offset == 0, 0.0, best.x + offset - x)
        return jax.tree.map(lambda leaf: step.reshape(leaf.shape), params), state

    return optax.GradientTransformationExtraArgs(init, update)


def _only(tree: Any) -> Float[Array, ""]:
    (leaf,) = jax.tree.leaves(tree)
    return leaf.reshape(())


def _newest(state: BracketState, among: Bool[Array, " k"]) -> Int[Array, ""]:
    """The index of the last point of some: on a plateau, the way on."""
    age = (state.count - 1 - jnp.arange(_MEMORY)) % _MEMORY
    return jnp.argmin(jnp.where(among, age, _MEMORY))


def _chosen(state: BracketState, index: Int[Array, ""]) -> _Point:
    return _Point(state.points[index], state.values[index], state.slopes[index])


def _neighbour(
    state: BracketState, best: _Point, side: Float[Array, ""]
) -> tuple[_Point, Float[Array, ""]]:
    """The nearest point on one side, and how far away it is: infinitely, where there is none."""
    away = side * (state.points - best.x)
    away = jnp.where((away > 0) & jnp.isfinite(state.points), away, jnp.inf)
    return _chosen(state, jnp.argmin(away)), jnp.min(away)


def _to_minimum(
    state: BracketState, best: _Point, direction: Float[Array, ""], radius: float
) -> Float[Array, ""]:
    """How far downhill the minimum seems to be."""
    ahead, length = _neighbour(state, best, direction)
    behind, back = _neighbour(state, best, -direction)
    # With slopes along the direction, of which that at the best point is not positive.
    slope, end = direction * best.slope, direction * ahead.slope
    bend = (slope - direction * behind.slope) / back
    convex = (bend > 0) & jnp.isfinite(behind.value)
    secant = jnp.where(convex, -slope / jnp.where(convex, bend, 1.0), radius)
    # Of slope·t + square·t² + cube·t³.
    rise = (ahead.value - best.value) / length
    cube, square = (slope + end - 2 * rise) / length**2, (3 * rise - 2 * slope - end) / length
    turn = square + jnp.sqrt(jnp.maximum(square**2 - 3 * cube * slope, 0.0))
    cubic = jnp.where(turn > 0, -slope / turn, length / 2)
    cubic = jnp.where(jnp.isfinite(cubic), jnp.minimum(cubic, 0.9 * length), length / 2)
    return jnp.where(jnp.isfinite(length), cubic, jnp.minimum(secant, radius))


def _unknown(
    state: BracketState, best: _Point, direction: Float[Array, ""], looks: np.ndarray
) -> Float[Array, ""]:
    """The first offset about which no point has been met, downhill before uphill; 0 without one."""
    offsets = jnp.stack([looks, -looks], axis=1).astype(direction.dtype).reshape(-1) * direction
    ratios = (state.points - best.x) / offsets[:, None]
    known = jnp.any((ratios >= 1 / _ABOUT) & (ratios <= _ABOUT), axis=1)
    return jnp.where(jnp.all(known), 0.0, offsets[jnp.argmin(known)])
