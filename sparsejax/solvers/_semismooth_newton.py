"""Proximal-point steps solved by Newton's method on the signed support."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._problem import Problem
from ._gram import GramProblem


class AbstractGramSolver(eqx.Module):
    """Solves the problem of a working set."""

    @abc.abstractmethod
    def check(self, problem: Problem) -> None:
        """``TypeError`` naming what to use instead where the penalty does not fit."""

    @abc.abstractmethod
    def solve_gram(
        self, problem: GramProblem, tol: Float[Array, ""]
    ) -> tuple[Float[Array, " k"], Int[Array, ""]]:
        """Coefficients of gap ≤ tol, or as near as rounding allows, and the iterations taken."""


class _State(eqx.Module):
    centre: Float[Array, " k"]  # of the current proximal-point step
    point: Float[Array, " k"]  # the dual variable, written as a coefficient vector
    pull: Float[Array, " k"]  # at ``point``
    step: Float[Array, ""]  # the proximal-point step size σ
    count: Int[Array, ""]
    idle: Int[Array, ""]  # proximal-point steps taken at the largest σ
    best: Float[Array, " k"]  # coefficients, in the units of the penalty
    gap: Float[Array, ""]


class SemismoothNewton(AbstractGramSolver):
    """The semismooth-Newton augmented Lagrangian method in Gram form.

    The step b⁺ = argmin ½(b−b₀)ᵀG(b−b₀) − cᵀ(b−b₀) + g(b) + ‖b − b_k‖²/(2σ) is found on its dual,
    a smooth convex function whose variable is kept as a coefficient vector z. With
    v = b_k + σ(c − G(z − b₀)), u = prox_σg(v) and E = ∂prox(v)/∂v its Newton equation is

        (I + σ E G) dz = u − z,

    a Cholesky solve on the features with E ≠ 0. σ grows, so that the last steps are Newton's
    method on the signed support and end at rounding. Cost an iteration: O(k² + |support|³/3).

    Parameters
    ----------
    first_step, growth
        σ of the first proximal-point step, and the factor from one to the next, for a Gram
        matrix of unit diagonal.
    max_iterations
        Newton iterations a working set at the most.

    Notes
    -----
    Li, Sun & Toh (SIAM J. Optim. 2018) work with the residual as dual variable; in the span of
    the working set that is the z above, and n drops out.
    """

    first_step: float = eqx.field(default=100.0, static=True)
    growth: float = eqx.field(default=10.0, static=True)
    max_iterations: int = eqx.field(default=100, static=True)

    def check(self, problem: Problem) -> None:
        del problem  # every separable penalty

    def solve_gram(
        self, problem: GramProblem, tol: Float[Array, ""]
    ) -> tuple[Float[Array, " k"], Int[Array, ""]]:
        eps = jnp.finfo(problem.gram.dtype).eps
        largest = float(0.01 / (eps * problem.gram.shape[0]))
        first = jnp.asarray(min(self.first_step, largest), problem.gram.dtype)
        state = _State(
            problem.start,
            problem.start,
            problem.pull,
            first,
            jnp.array(0),
            jnp.array(0),
            problem.start_coef,
            problem.gap(problem.start_coef, problem.pull),
        )

        def unfinished(state: _State) -> Bool[Array, ""]:
            return (state.gap > tol) & (state.count < self.max_iterations) & (state.idle < 3)

        def iterate(state: _State) -> _State:
            return self._iterate(problem, state, largest)

        final = jax.lax.while_loop(unfinished, iterate, state)
        return _finish(problem, final.best, final.gap, largest), final.count

    def _iterate(self, problem: GramProblem, state: _State, largest: float) -> _State:
        v = state.centre + state.step * state.pull
        coef = problem.prox_coef(v, state.step)
        u = problem.scale * coef
        change = u - state.point
        curved = problem.matvec(change)
        # u solves the proximal-point step up to the residual ``curved`` in its optimality.
        moved = jnp.max(jnp.abs(u - state.centre)) / state.step
        rounding = 64 * jnp.finfo(u.dtype).eps * jnp.max(jnp.abs(state.pull))
        solved = jnp.max(jnp.abs(curved)) <= jnp.maximum(0.1 * moved, rounding)
        pull = state.pull - curved
        gap = problem.gap(coef, pull)
        # Not worse is better: a later point is nearer even where the gap no longer resolves it.
        better = gap <= state.gap * (1 + 100 * jnp.finfo(u.dtype).eps)

        def recentre() -> tuple[Array, ...]:
            step = jnp.minimum(state.step * self.growth, largest)
            return u, u, pull, step, state.idle + (state.step >= largest)

        def newton() -> tuple[Array, ...]:
            point, new_pull, step = _newton_step(problem, state, v, change, curved)
            return state.centre, point, new_pull, step, state.idle

        centre, point, new_pull, step, idle = jax.lax.cond(solved, recentre, newton)
        return _State(
            centre,
            point,
            new_pull,
            step,
            state.count + 1,
            idle,
            jnp.where(better, coef, state.best),
            jnp.where(better, gap, state.gap),
        )


def _finish(
    problem: GramProblem, coef: Float[Array, " k"], gap: Float[Array, ""], step: float
) -> Float[Array, " k"]:
    """Solve exactly on the support, and keep the result if the gap says that it is better.

    The proximal-point steps know the coefficients only to rounding times σ. The optimality
    condition on the support, (G + ∇²g) δ = c − ∇g, is free of σ but for a ridge of 1/σ.
    """
    b = problem.scale * coef
    slope = problem.penalty.local_gradient(coef) / problem.scale
    pull = problem.pull - problem.matvec(b - problem.start)
    sigma = jnp.asarray(step, b.dtype)
    root = jnp.sqrt(problem.prox_derivative(b + sigma * slope, sigma))
    mismatch = jnp.where(root > 0, pull - slope, 0.0)
    change = root * problem.solve_shifted(root, 1 / sigma, root * mismatch, problem.support_sizes)
    moved = problem.penalty.prox(coef + change / problem.scale, jnp.finfo(b.dtype).tiny)
    moved_pull = pull - problem.matvec(problem.scale * (moved - coef))
    better = problem.gap(moved, moved_pull) < jnp.minimum(gap, problem.gap(coef, pull))
    return jnp.where(better, moved, coef)


def _newton_step(
    problem: GramProblem,
    state: _State,
    v: Float[Array, " k"],
    change: Float[Array, " k"],
    curved: Float[Array, " k"],
) -> tuple[Float[Array, " k"], Float[Array, " k"], Float[Array, ""]]:
    """One damped Newton step on the dual; where the factorisation fails, a smaller σ instead."""
    root = jnp.sqrt(problem.prox_derivative(v, state.step))
    sizes = problem.support_sizes
    correction = problem.solve_shifted(root, 1 / state.step, root * curved, sizes)
    direction = change - root * correction
    curved_direction = problem.matvec(direction)
    length = _line_search(problem, state, v, direction, curved_direction)
    failed = ~jnp.all(jnp.isfinite(direction))
    point = jnp.where(failed, state.point, state.point + length * direction)
    pull = jnp.where(failed, state.pull, state.pull - length * curved_direction)
    return point, pull, jnp.where(failed, state.step / 100, state.step)


def _line_search(
    problem: GramProblem,
    state: _State,
    v: Float[Array, " k"],
    direction: Float[Array, " k"],
    curved: Float[Array, " k"],
) -> Float[Array, ""]:
    """The longest of a few step lengths that decreases the slope of the dual along the ray.

    The dual is convex and its slope costs O(k) once G·direction is known, so all lengths are
    tried at once: no loop, no further product with G.
    """
    lengths = 0.7 ** jnp.arange(30, dtype=v.dtype)
    constant, linear = curved @ state.point, direction @ curved

    def slope(length: Float[Array, ""]) -> Float[Array, ""]:
        u = problem.prox(v - length * state.step * curved, state.step)
        return constant + length * linear - curved @ u

    slopes = jax.vmap(slope)(lengths)
    enough = (slopes <= 0) | (jnp.abs(slopes) <= 0.1 * jnp.abs(slope(jnp.zeros_like(linear))))
    return jnp.where(jnp.any(enough), lengths[jnp.argmax(enough)], lengths[-1])
