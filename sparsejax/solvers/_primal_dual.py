"""The primal–dual hybrid gradient method."""

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._certificate import Iterate, iterate_at, objective_at, unit_of_gaps
from .._dual import Dual, first_dual, lacks_prox, needs_dual, within_range
from .._first_order import largest_eigenvalue, wave
from .._infeasible import least_squares_ray, lies_outside_range
from .._modules import replace, select
from .._problem import Problem, matvec, rmatvec
from ..losses import AbstractProximalLoss, Equality
from ..losses._profiled import unprofiled
from ..penalties import Analysis
from ._base import AbstractSolver, check_convex

# A restart: when the distance to the fixed point has shrunk to the first factor of what it was
# at the last one, or to the second but grows, or after that part of all steps.
_SUFFICIENT, _NECESSARY, _ARTIFICIAL = 0.2, 0.8, 0.36


class _Point(eqx.Module):
    """Coefficients w and dual blocks u_b, with Σ K_bᵀ u_b, for K = [X; D]."""

    coef: Float[Array, "p ..."]
    duals: tuple[Array, ...]
    pull: Float[Array, "p ..."]


class _State(eqx.Module):
    point: _Point
    anchor: _Point
    moved: _Point
    weight: Float[Array, ""]
    first: Float[Array, ""]
    last: Float[Array, ""]
    since: Int[Array, ""]
    steps: Int[Array, ""]
    best: Iterate
    infeasible: Bool[Array, ""]
    settled: Bool[Array, ""]


class PrimalDual(AbstractSolver):
    """Alternating proximal steps in w and in the dual u, of min f(Xw) + g(w), restarted.

    w⁺ = prox(w − τXᵀu) of g and u⁺ = prox(u + σX(2w⁺ − w)) of f*; for any loss and penalty with
    proximal operators. An ``Analysis`` penalty joins the loss: f(Xw) + s‖Dw‖₁ has the dual (u, ζ).
    The steps are reflected and averaged with the last restart (Halpern), and the ratio σ/τ is
    balanced at restarts, so that sharp problems (all linear programmes) converge linearly.

    Certificates come from the dual. Those of an ``Analysis`` penalty take longer than many steps,
    and wait until an estimate says that they will do. For ``Equality``, y outside the range of X is
    recognised by a ray u with Xᵀu = 0 and ⟨y, u⟩ ≠ 0, and ends as ``RESULTS.infeasible``.

    Parameters
    ----------
    check_every
        Iterations between two certificates; a step of ``max_steps`` is one iteration.

    Examples
    --------
    >>> import numpy as np, sparsejax as sj
    >>> loss, penalty = sj.losses.Equality(), sj.penalties.L1(1.0)
    >>> problem = sj.Problem(np.array([[1.0, 2.0]]), np.array([2.0]), loss, penalty)
    >>> sj.solve(problem, sj.solvers.PrimalDual(), tol=1e-5).coef.round(4).tolist()
    [0.0, 1.0]

    Notes
    -----
    Chambolle & Pock (2011); restarts and weights of PDLP (Applegate et al., 2021 and 2023), with
    the reflected Halpern steps of Lu & Yang (2024) in the place of averages.
    """

    check_every: int = eqx.field(default=40, static=True)

    default_max_steps: ClassVar[int] = 400_000

    def check(self, problem: Problem) -> None:
        check_convex(self, problem)
        loss = unprofiled(problem.loss)
        name, others = type(loss).__name__, "use FISTA() or ProxNewton()"
        transformed = isinstance(problem.penalty, Analysis)
        if not isinstance(loss, AbstractProximalLoss):
            if transformed:
                others = "no solver takes it with a penalty of a transform; FusedLasso is none"
            raise TypeError(
                f"PrimalDual does not support {name}, which has no proximal operator: {others}."
            )
        if lacks_prox(problem):
            if transformed:
                others = "use VarPro(), or a feature of ones in `X` that the penalty leaves alone"
            raise TypeError(f"PrimalDual does not support {name} with an intercept: {others}.")

    def run(
        self, problem: Problem, start: Iterate, tol: Float[Array, ""], max_steps: Int[Array, ""]
    ) -> tuple[Iterate, dict[str, Any]]:
        weight, norms = step_sizes(problem)
        method = _Method(problem, norms)
        constrained = isinstance(problem.loss, Equality)

        def unfinished(state: _State) -> Bool[Array, ""]:
            going = (state.best.gap > tol) & (state.steps < max_steps)
            return going & ~state.infeasible & ~state.settled

        def round_of_steps(state: _State) -> _State:
            # A fresh product: thousands of incremental updates would drift.
            fresh = method.at(state.point.coef, state.point.duals)
            state = replace(state, point=fresh)
            state = jax.lax.fori_loop(0, self.check_every, lambda _, s: method.advance(s), state)
            infeasible = state.infeasible
            if constrained:
                ray = state.moved.duals[0] - state.anchor.duals[0]
                infeasible = lies_outside_range(problem, ray)
            state = replace(state, infeasible=infeasible, settled=method.has_settled(state))
            if not isinstance(problem.penalty, Analysis):
                return certified(state)
            due = ~unfinished(state) | (_gap_of_parts(problem, state.moved) <= tol)
            return jax.lax.cond(due, certified, lambda state: state, state)

        def certified(state: _State) -> _State:
            found = _evaluated(problem, state.moved)
            better = (found.gap <= state.best.gap) | ~jnp.isfinite(state.best.gap)
            return replace(state, best=select(better, found, state.best))

        dual = first_dual(problem, start.predictions)
        if start.dual is not None:  # a correction that has failed may have left it far away
            dual = select(jnp.isfinite(start.gap), start.dual, dual)
        point = method.at(start.coef, _blocks(dual))
        zero, one, no = jnp.array(0), jnp.ones_like(start.gap), jnp.array(False)
        infeasible = lies_outside_range(problem, least_squares_ray(problem)) if constrained else no
        first = _State(point, point, point, weight, one, one, zero, zero, start, infeasible, no)
        final = jax.lax.while_loop(unfinished, round_of_steps, first)
        stats = {"num_steps": final.steps}
        if constrained:
            stats["infeasible"] = final.infeasible & ~(final.best.gap <= tol)
        return final.best, stats


class _Method:
    """The steps of the method for one problem, given the norms of the blocks of K."""

    def __init__(self, problem: Problem, norms: tuple[Float[Array, ""], ...]):
        self.problem, self.norms = problem, norms
        self.operators, self.proxes = _operators(problem), _conjugate_proxes(problem)

    def at(self, coef: Array, duals: tuple[Array, ...]) -> _Point:
        """A point with its product."""
        parts = [transpose(u) for (_, transpose), u in zip(self.operators, duals, strict=True)]
        return _Point(coef, duals, sum(parts[1:], parts[0]))

    def step(self, point: _Point, weight: Float[Array, ""]) -> _Point:
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

    def lengths(self, before: _Point, after: _Point) -> tuple[Array, Array, Array]:
        """Squares of both parts of a move at weight one, and twice their product."""
        change = jax.tree.map(jnp.subtract, after, before)
        primal = sum(self.norms) * jnp.sum(change.coef**2)
        pairs = zip(self.norms, change.duals, strict=True)
        dual = sum(norm * jnp.sum(block**2) for norm, block in pairs)
        return primal, jnp.asarray(dual), 2 * jnp.vdot(change.coef, change.pull)

    def advance(self, state: _State) -> _State:
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

    def has_settled(self, state: _State) -> Bool[Array, ""]:
        """Whether the last move was rounding."""
        zero = jax.tree.map(jnp.zeros_like, state.moved)
        primal, dual, _ = self.lengths(zero, state.moved)
        size = jnp.sqrt(state.weight * primal + dual / state.weight)
        return state.last <= jnp.finfo(size.dtype).eps / 4 * size

    def _rebalanced(self, state: _State, moved: _Point) -> Float[Array, ""]:
        """The weight, half way (in logarithms) to the one that balances the last moves."""
        primal, dual, _ = self.lengths(state.anchor, moved)
        usable = (primal > 0) & (dual > 0) & jnp.isfinite(primal) & jnp.isfinite(dual)
        balance = jnp.sqrt(jnp.where(usable, dual, 1.0) / jnp.where(usable, primal, 1.0))
        return jnp.where(usable, jnp.sqrt(state.weight * balance), state.weight)


def _blocks(dual: Dual) -> tuple[Array, ...]:
    return (dual.loss,) if dual.penalty is None else (dual.loss, dual.penalty)


def _dual_of(blocks: tuple[Array, ...]) -> Dual:
    u, *forces = blocks
    return Dual(u, forces[0] if forces else None)


def _evaluated(problem: Problem, point: _Point) -> Iterate:
    dual = _dual_of(point.duals) if needs_dual(problem) else None
    return iterate_at(problem, point.coef, dual=dual)


def _gap_of_parts(problem: Problem, point: _Point) -> Float[Array, ""]:
    """An estimate of the gap of an ``Analysis`` penalty, without making the dual feasible.

    It leaves out what the correction costs, which vanishes faster than the gap.
    """
    dual = within_range(problem, _dual_of(point.duals))
    predictions = problem.predict(point.coef)
    data = problem.loss.fenchel_gap(predictions, dual.loss, problem.y)
    gap = data + problem.penalty.force_gap(point.coef, dual.penalty)
    return gap / unit_of_gaps(problem, objective_at(problem, point.coef, predictions))


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
    method = _Method(problem, norms)
    moved = method.step(method.at(coef, _blocks(dual)), weight)
    return moved.coef, _dual_of(moved.duals)


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
