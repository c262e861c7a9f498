"""The steps of the primal–dual hybrid gradient method."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._certificate import Iterate
from .._dual import Dual
from .._first_order import largest_eigenvalue, wave
from .._modules import replace, select
from .._problem import Problem
from ..designs._several import matvec, rmatvec
from ..losses import Equality
from ..penalties import Analysis

# A restart: when the distance to the fixed point has shrunk to the first factor of what it was
# at the last one, or to the second but grows, or after that part of all steps.
_SUFFICIENT, _NECESSARY, _ARTIFICIAL = 0.2, 0.8, 0.36


class Point(eqx.Module):
    """Coefficients w and dual blocks u_b, with Σ K_bᵀ u_b, for K = [X; D]."""

    coef: Float[Array, "p ..."]
    duals: tuple[Array, ...]
    pull: Float[Array, "p ..."]


class State(eqx.Module):
    """The last step, the last restart, and what has been found."""

    point: Point
    anchor: Point
    moved: Point
    weight: Float[Array, ""]
    first: Float[Array, ""]
    last: Float[Array, ""]
    since: Int[Array, ""]
    steps: Int[Array, ""]
    best: Iterate
    infeasible: Bool[Array, ""]
    settled: Bool[Array, ""]


class Method:
    """The steps of the method for one problem, given a weight and the norms of the blocks of K."""

    def __init__(
        self, problem: Problem, weight: Float[Array, ""], norms: tuple[Float[Array, ""], ...]
    ):
        self.problem, self.first_weight, self.norms = problem, weight, norms
        self.operators, self.proxes = _operators(problem), _conjugate_proxes(problem)

    def at(self, coef: Array, duals: tuple[Array, ...]) -> Point:
        """A point with its product."""
        parts = [transpose(u) for (_, transpose), u in zip(self.operators, duals, strict=True)]
        return Point(coef, duals, sum(parts[1:], parts[0]))

    def step(self, point: Point, weight: Float[Array, ""]) -> Point:
        """The step of Chambolle and Pock, which leaves solutions where they are."""
        coef = _primal_step(self.problem, point.coef, point.pull, 1 / (weight * sum(self.norms)))
        ahead = 2 * coef - point.coef
        blocks = zip(self.proxes, point.duals, self.operators, self.norms, strict=True)
        duals = []
        for prox, dual, (multiply, _), norm in blocks:
            sigma = weight / norm
            duals.append(prox(dual + sigma * multiply(ahead), sigma))
        # Without a barrier XLA computes them anew for each of their uses.
        return self.at(coef, jax.lax.optimization_barrier(tuple(duals)))

    def lengths(self, before: Point, after: Point) -> tuple[Array, Array, Array]:
        """Squares of both parts of a move at weight one, and twice their product."""
        change = jax.tree.map(jnp.subtract, after, before)
        primal = sum(self.norms) * jnp.sum(change.coef**2)
        pairs = zip(self.norms, change.duals, strict=True)
        dual = sum(norm * jnp.sum(block**2) for norm, block in pairs)
        return primal, jnp.asarray(dual), 2 * jnp.vdot(change.coef, change.pull)

    def advance(self, state: State) -> State:
        """A step, then a restart where one is due, else the reflection towards the anchor."""
        moved = self.step(state.point, state.weight)
        primal, dual, cross = self.lengths(state.point, moved)
        square = state.weight * primal - cross + dual / state.weight
        distance = jnp.sqrt(jnp.maximum(square, 0.0))
        first = jnp.where(state.since == 0, distance, state.first)
        shrunk = distance <= _SUFFICIENT * first
        growing = (distance <= _NECESSARY * first) & (distance > state.last)
        long = state.since >= _ARTIFICIAL * state.steps + 10
        restart = (shrunk | growing | long) & (state.since > 0)
        rebalanced = lambda: self._rebalanced(state, moved)  # noqa: E731
        weight = jax.lax.cond(restart, rebalanced, lambda: state.weight)
        ahead = jnp.asarray((state.since + 1) / (state.since + 2), distance.dtype)

        def combined(new: Array, old: Array, anchor: Array) -> Array:
            return jnp.where(restart, new, ahead * (2 * new - old) + (1 - ahead) * anchor)

        return replace(
            state,
            point=jax.tree.map(combined, moved, state.point, state.anchor),
            anchor=select(restart, moved, state.anchor),
            moved=moved,
            weight=weight,
            first=first,
            last=distance,
            since=jnp.where(restart, 0, state.since + 1),
            steps=state.steps + 1,
        )

    def has_settled(self, state: State) -> Bool[Array, ""]:
        """Whether the last move was rounding."""
        primal, dual = self._sizes(state.moved)
        size = jnp.sqrt(state.weight * primal + dual / state.weight)
        return state.last <= jnp.finfo(size.dtype).eps / 4 * size

    def _sizes(self, point: Point) -> tuple[Array, Array]:
        """Squares of both parts of a point at weight one."""
        return self.lengths(jax.tree.map(jnp.zeros_like, point), point)[:2]

    def _rebalanced(self, state: State, moved: Point) -> Float[Array, ""]:
        """The weight, half way (in logarithms) to the one that balances the last moves.

        Where only one part has moved (all duals at their ends, all coefficients zero), the other
        counts as moved by a little: rounding says nothing, and so little that it would never move
        again is too much.
        """
        primal, dual, _ = self.lengths(state.anchor, moved)
        size, dual_size = self._sizes(moved)
        natural = self.first_weight**2
        least = jnp.finfo(primal.dtype).eps * jnp.maximum(size, dual_size / natural)
        usable = (primal > least) | (dual > least * natural)
        usable &= jnp.isfinite(primal) & jnp.isfinite(dual)
        primal, dual = jnp.maximum(primal, least), jnp.maximum(dual, least * natural)
        balance = jnp.sqrt(jnp.where(usable, dual / primal, 1.0))
        return jnp.where(usable, jnp.sqrt(state.weight * balance), state.weight)


def blocks_of(dual: Dual) -> tuple[Array, ...]:
    """u, and ζ where there is one."""
    return (dual.loss,) if dual.penalty is None else (dual.loss, dual.penalty)


def dual_of(blocks: tuple[Array, ...]) -> Dual:
    """The inverse of ``blocks_of``."""
    u, *forces = blocks
    return Dual(u, forces[0] if forces else None)


def _primal_step(problem: Problem, coef: Array, pull: Array, tau: Array) -> Array:
    if isinstance(problem.penalty, Analysis):
        return coef - tau * pull
    return problem.penalty.prox(coef - tau * pull, tau)


def step_sizes(problem: Problem) -> tuple[Float[Array, ""], tuple[Float[Array, ""], ...]]:
    """What ``saddle_step`` needs to converge: a weight, and the norms of the blocks of K."""
    start = wave(problem.coef_shape, problem.X.dtype)
    norms = tuple(_norm(*pair, start) for pair in _operators(problem))
    return _first_weight(problem, norms[0]), norms


def saddle_step(
    problem: Problem,
    coef: Float[Array, "p ..."],
    dual: Dual,
    sizes: tuple[Float[Array, ""], tuple[Float[Array, ""], ...]],
) -> tuple[Float[Array, "p ..."], Dual]:
    """One step of the method, which leaves solutions where they are; differentiable."""
    weight, norms = sizes
    method = Method(problem, weight, norms)
    moved = method.step(method.at(coef, blocks_of(dual)), weight)
    return moved.coef, dual_of(moved.duals)


def _operators(problem: Problem) -> list[tuple[Callable, Callable]]:
    """Products with the blocks of K and with their transposes."""
    X = problem.X
    pairs: list[tuple[Callable, Callable]] = [(lambda w: matvec(X, w), lambda u: rmatvec(X, u))]
    if isinstance(problem.penalty, Analysis):
        D = problem.penalty.operator
        pairs.append((D.matvec, D.rmatvec))
    return pairs


def _conjugate_proxes(problem: Problem) -> list[Callable[[Array, Array], Array]]:
    """(v, σ) → argmin ‖u − v‖²/2 + σ·f*(u), by Moreau's identity, for every block."""
    offset = problem.predict_zero()

    def loss(v: Array, sigma: Array) -> Array:
        return v - sigma * (problem.loss.prox(v / sigma + offset, 1 / sigma, problem.y) - offset)

    if not isinstance(problem.penalty, Analysis):
        return [loss]
    return [loss, lambda v, sigma: problem.penalty.nearest_force(v)]


def _norm(multiply: Callable, transpose: Callable, start: Array) -> Float[Array, ""]:
    """Largest singular value, two per cent added."""
    return 1.02 * jnp.sqrt(largest_eigenvalue(lambda w: transpose(multiply(w)), start))


def _first_weight(problem: Problem, norm: Float[Array, ""]) -> Float[Array, ""]:
    """A guess of ‖u‖/‖w‖: w of the size of y/‖X‖, and ⟨u, y⟩ of the size of the objective."""
    y = problem.y
    square = jnp.sum(y**2)
    square = jnp.where(square > 0, square, 1.0)
    value = problem.loss.value(problem.predict_zero(), y)
    if isinstance(problem.loss, Equality):
        value = problem.penalty.value(rmatvec(problem.X, y) / norm**2)
    value = jnp.where(jnp.isfinite(value) & (value > 0), value, 1.0)
    return value * norm / square
