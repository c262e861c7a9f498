"""Newton's method on the signed support, made global by proximal-point steps."""

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
    best: "_Candidate"


class _Candidate(eqx.Module):
    coef: Float[Array, " k"]  # in the units of the penalty
    pull: Float[Array, " k"]
    gap: Float[Array, ""]

    def better(self, other: "_Candidate", factor: float = 1.0) -> "_Candidate":
        """The other, if its gap is at most ``factor`` times this one's."""
        chosen = other.gap <= factor * self.gap
        return jax.tree.map(lambda mine, its: jnp.where(chosen, its, mine), self, other)


class SemismoothNewton(AbstractGramSolver):
    """Newton's method on the signed support, globalised by proximal-point steps, in Gram form.

    The step b⁺ = argmin ½(b−b₀)ᵀG(b−b₀) − cᵀ(b−b₀) + g(b) + ‖b − b_k‖²/(2σ) is found on its dual,
    a smooth convex function whose variable is kept as a coefficient vector z. With
    v = b_k + σ(c − G(z − b₀)), u = prox_σg(v) and E = ∂prox(v)/∂v its Newton equation is

        (I + σ E G) dz = u − z,

    a Cholesky solve on the features with E ≠ 0. Before the first step and after every other, where
    the support seems settled, Newton's method on the optimality condition itself (σ = ∞) is
    tried: it ends at rounding within a few solves, or is given up as soon as the gap does not
    shrink. Cost an iteration: O(k² + |support|³/3).

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
    the working set that is the z above, and n drops out. The limit σ = ∞ is the primal-dual
    active set method of Hintermüller, Ito & Kunisch (SIAM J. Optim. 2002).
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
        gap = problem.gap(problem.start_coef, problem.pull)
        given = _Candidate(problem.start_coef, problem.pull, gap)
        best, count = _polish(problem, given, largest, tol)
        start = problem.scale * best.coef
        state = _State(start, start, best.pull, first, count, jnp.array(0), best)

        def unfinished(state: _State) -> Bool[Array, ""]:
            going = (state.count < self.max_iterations) & (state.idle < 3)
            return (state.best.gap > tol) & going

        def iterate(state: _State) -> _State:
            return self._iterate(problem, state, largest, tol)

        final = jax.lax.while_loop(unfinished, iterate, state)
        return final.best.coef, final.count

    def _iterate(
        self, problem: GramProblem, state: _State, largest: float, tol: Float[Array, ""]
    ) -> _State:
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
        current = _Candidate(coef, pull, problem.gap(coef, pull))
        # Not worse is better: a later point is nearer even where the gap no longer resolves it.
        best = state.best.better(current, 1 + 100 * float(jnp.finfo(u.dtype).eps))

        def recentre() -> _State:
            polished, count = _polish(problem, current, largest, tol)
            centre = problem.scale * polished.coef
            step = jnp.minimum(state.step * self.growth, largest)
            idle = state.idle + (state.step >= largest)
            count = state.count + 1 + count
            return _State(centre, centre, polished.pull, step, count, idle, best.better(polished))

        def newton() -> _State:
            point, new_pull, step = _newton_step(problem, state, v, change, curved)
            return _State(state.centre, point, new_pull, step, state.count + 1, state.idle, best)

        return jax.lax.cond(solved, recentre, newton)


def _polish(
    problem: GramProblem, start: _Candidate, largest: float, tol: Float[Array, ""]
) -> tuple[_Candidate, Int[Array, ""]]:
    """Newton's method on the optimality condition while it helps, and the solves that it took."""
    near = problem.prox_derivative(problem.scale * start.coef + start.pull, jnp.array(1.0)) != 0
    moving = problem.penalty.support(start.coef) & problem.inside
    settled = jnp.sum(near != moving) <= jnp.sum(moving) // 10

    def step(state: tuple[_Candidate, _Candidate, Array, Array]) -> tuple:
        best, current, count, _ = state
        new = _support_step(problem, current, largest)
        # The first solve may raise the gap a little: the signs that it gets wrong are repaired by
        # the second. Beyond that, only what shrinks the gap goes on.
        promising = new.gap <= jnp.where(count == 0, 10.0, 0.7) * best.gap
        return best.better(new), new, count + 1, promising & (new.gap > tol)

    going = settled & (start.gap > tol)
    state = (start, start, jnp.array(0), going)
    best, _, count, _ = jax.lax.while_loop(lambda state: state[3], step, state)
    return best, count


def _support_step(problem: GramProblem, current: _Candidate, largest: float) -> _Candidate:
    """From the support of a proximal-gradient step, the exact solution on it.

    Solves (G + ∇²g) δ = c − ∇g, up to a ridge at the size of rounding.
    """
    u = problem.scale * current.coef
    coef = problem.prox_coef(u + current.pull, jnp.ones((), u.dtype))
    b = problem.scale * coef
    pull = current.pull - problem.matvec(b - u)
    slope = problem.penalty.local_gradient(coef) / problem.scale
    sigma = jnp.asarray(largest, b.dtype)
    root = jnp.sqrt(problem.prox_derivative(b + sigma * slope, sigma))
    mismatch = jnp.where(root > 0, pull - slope, 0.0)
    change = root * problem.solve_shifted(root, 1 / sigma, root * mismatch, problem.support_sizes)
    moved = problem.penalty.prox(coef + change / problem.scale, jnp.finfo(b.dtype).tiny)
    pull = pull - problem.matvec(problem.scale * (moved - coef))
    gap = problem.gap(moved, pull)
    return _Candidate(moved, pull, jnp.where(jnp.isnan(gap), jnp.inf, gap))


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
