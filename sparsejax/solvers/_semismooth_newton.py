"""Newton's method on the signed support, made global by proximal-point steps."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._modules import select
from .._problem import Problem
from ..penalties import AbstractNewtonPenalty
from ._gram import MANY, AbstractGramSolver, GramProblem
from ._gram_coordinate_descent import GramCoordinateDescent
from ._gram_fista import GramFISTA
from ._group_blocks import has_blocks

_APPROACH_OF_GROUPS = GramFISTA(max_iterations=60)
_SWEEPS_OF_GROUPS = GramCoordinateDescent(max_iterations=40)
_NEAR = 1e-3  # share of the gap that is left to Newton's method by sweeps over groups
_APPROACH_OF_MANY = GramCoordinateDescent(max_iterations=40)


class _Candidate(eqx.Module):
    coef: Float[Array, " k"]  # in the units of the penalty
    pull: Float[Array, " k"]
    gap: Float[Array, ""]


class _State(eqx.Module):
    centre: Float[Array, " k"]  # of the current proximal-point step
    point: Float[Array, " k"]  # the dual variable, written as a coefficient vector
    pull: Float[Array, " k"]  # at ``point``
    step: Float[Array, ""]  # the proximal-point step size σ
    trials: Int[Array, ""]  # of solving on the support alone; zero during a proximal-point step
    attempt: _Candidate  # the best of these trials
    best: _Candidate
    count: Int[Array, ""]
    idle: Int[Array, ""]  # proximal-point steps taken at the largest σ


class SemismoothNewton(AbstractGramSolver):
    """Newton's method on the signed support, globalised by proximal-point steps, in Gram form.

    The step b⁺ = argmin ½(b−b₀)ᵀG(b−b₀) − cᵀ(b−b₀) + g(b) + ‖b − b_k‖²/(2σ) is found on its dual,
    a smooth convex function whose variable is kept as a coefficient vector z. With
    v = b_k + σ(c − G(z − b₀)), u = prox_σg(v) and E = ∂prox(v)/∂v its Newton equation is

        (I + σ E G) dz = u − z,

    a Cholesky solve on the features with E ≠ 0. Before the first step and after each, where the
    support seems settled, Newton's method on the optimality condition itself (σ = ∞) is
    tried: it ends at rounding within a few solves, or is given up as soon as the gap does not
    shrink. Cost an iteration: O(k² + |support|³/3).

    Parameters
    ----------
    first_step, growth
        σ of the first proximal-point step, and the factor from one to the next, for a Gram
        matrix of unit diagonal.
    max_iterations
        Newton iterations a working set at the most.
    approach
        How to come near a support that is not settled, before Newton's method. By default
        a few sweeps over blocks of groups (on CPU, where there are far fewer samples than features
        can be in the support; else ``GramFISTA``) where coefficients are coupled, whose supports
        are larger than those of single features, and so is the price of Newton's method;
        ``GramCoordinateDescent`` in working sets of over 1024 features in double precision on CPU,
        where a factorisation takes as long as dozens of its sweeps; else nothing.

    Notes
    -----
    Li, Sun & Toh (SIAM J. Optim. 2018) work with the residual as dual variable; in the span of
    the working set that is the z above, and n drops out. The limit σ = ∞ is the primal-dual
    active set method of Hintermüller, Ito & Kunisch (SIAM J. Optim. 2002).
    """

    first_step: float = eqx.field(default=10.0, static=True)
    growth: float = eqx.field(default=5.0, static=True)
    max_iterations: int = eqx.field(default=200, static=True)
    approach: AbstractGramSolver | None = None

    def check(self, problem: Problem) -> None:
        if not isinstance(problem.penalty, AbstractNewtonPenalty):
            name = type(problem.penalty).__name__
            raise TypeError(f"SemismoothNewton does not support {name}: use GramFISTA().")
        if problem.loss.outputs(problem.y):
            raise TypeError("SemismoothNewton takes one target: use GramFISTA() for several.")
        if self.approach is not None:
            self.approach.check(problem)

    def solve_gram(
        self, problem: GramProblem, tol: Float[Array, ""]
    ) -> tuple[Float[Array, " k"], Int[Array, ""]]:
        approach = self.approach or _approach_of(problem)
        if approach is not None:
            problem = _approached(problem, approach, tol)
        largest = problem.curvature.longest_step
        first = jnp.asarray(min(self.first_step, largest), problem.scale.dtype)
        gap = problem.gap(problem.start_coef, problem.pull)
        given = _Candidate(problem.start_coef, problem.pull, gap)
        start, zero = problem.start, jnp.array(0)
        # Divided by the growth that comes with every new centre.
        state = _State(
            start, start, given.pull, first / self.growth, zero, given, given, zero, zero
        )
        state = self._try_support(problem, state, given, largest)

        def unfinished(state: _State) -> Bool[Array, ""]:
            going = (state.count < self.max_iterations) & (state.idle < 3)
            # On the support alone, each solve doubles the digits.
            wanted = jnp.where(state.trials > 0, tol, jnp.maximum(tol, problem.enough))
            return (state.best.gap > wanted) & going

        def iterate(state: _State) -> _State:
            return self._iterate(problem, state, largest)

        final = jax.lax.while_loop(unfinished, iterate, state)
        return final.best.coef, final.count

    def _iterate(self, problem: GramProblem, state: _State, largest: float) -> _State:
        """One linear solve: for the dual's Newton step, or on the support alone (σ = ∞).

        Both are written as one computation, because the solve is what takes long to compile.
        """
        alone = state.trials > 0
        sigma = jnp.where(alone, 1.0, state.step)
        v = jnp.where(alone, state.point, state.centre) + sigma * state.pull
        coef = problem.prox_coef(v, sigma)
        u = problem.scale * coef
        change = u - state.point
        curved = problem.matvec(change)
        current = _candidate(problem, coef, state.pull - curved)
        solved = ~alone & _is_solved(state, u, curved)
        # On the support alone (G + ∇²g) δ = c − ∇g is solved, up to a ridge at rounding.
        slope = problem.penalty.local_gradient(coef) / problem.scale
        limit = jnp.where(alone, largest, state.step)
        root = select(alone, problem.support_root(coef, limit), problem.prox_root(v, limit))
        residual = jnp.where(alone, current.pull - slope, curved)

        def stay() -> tuple[Float[Array, " k"], ...]:
            return coef, jnp.zeros_like(u), jnp.zeros_like(u)

        def move() -> tuple[Float[Array, " k"], ...]:
            rhs = root.matvec(residual)
            solution = problem.solve_shifted(root, 1 / limit, rhs, problem.support_sizes)
            correction = root.matvec(solution)
            moved = problem.penalty.into_domain(coef + correction / problem.scale)
            onward = problem.scale * (moved - coef)
            direction = jnp.where(alone, onward, change - correction)
            return moved, direction, problem.matvec(direction)

        moved, direction, curved_direction = jax.lax.cond(solved, stay, move)
        best = select(alone, state.best, _better(state.best, current))
        counted = eqx.tree_at(lambda s: (s.count, s.best), state, (state.count + 1, best))

        def newton() -> _State:
            return _newton_step(problem, counted, v, direction, curved_direction)

        def arrived() -> _State:
            return self._try_support(problem, counted, current, largest)

        def on_support() -> _State:
            new = _candidate(problem, moved, current.pull - curved_direction)
            return self._after_trial(problem, counted, new, largest)

        case = jnp.where(alone, 2, solved.astype(int))
        return jax.lax.switch(case, [newton, arrived, on_support])

    def _try_support(
        self, problem: GramProblem, state: _State, current: _Candidate, largest: float
    ) -> _State:
        """Go on by solving on the support where it seems settled, else from a new centre."""
        trying = eqx.tree_at(
            lambda s: (s.point, s.pull, s.trials, s.attempt),
            state,
            (problem.scale * current.coef, current.pull, jnp.array(1), current),
        )
        settled = _is_settled(problem, current.coef, current.pull)
        return select(settled, trying, self._recentre(problem, state, current, largest))

    def _after_trial(
        self, problem: GramProblem, state: _State, new: _Candidate, largest: float
    ) -> _State:
        """Another trial while they help.

        The first may raise the gap a little: the signs that it gets wrong are repaired by the
        second. Beyond that, only what shrinks the gap goes on.
        """
        promising = new.gap <= jnp.where(state.trials == 1, 10.0, 0.7) * state.attempt.gap
        attempt = _better(state.attempt, new)
        again = eqx.tree_at(
            lambda s: (s.point, s.pull, s.trials, s.attempt),
            state,
            (problem.scale * new.coef, new.pull, state.trials + 1, attempt),
        )
        onward = select(promising, again, self._recentre(problem, state, attempt, largest))
        return eqx.tree_at(lambda s: s.best, onward, _better(state.best, new))

    def _recentre(
        self, problem: GramProblem, state: _State, centre: _Candidate, largest: float
    ) -> _State:
        """The next proximal-point step, with a larger σ."""
        u = problem.scale * centre.coef
        return eqx.tree_at(
            lambda s: (s.centre, s.point, s.pull, s.step, s.trials, s.idle),
            state,
            (
                u,
                u,
                centre.pull,
                jnp.minimum(state.step * self.growth, largest),
                jnp.array(0),
                state.idle + (state.step >= largest),
            ),
        )


def _approach_of(problem: GramProblem) -> AbstractGramSolver | None:
    # Sweeps are many small products, which accelerators are slow at.
    on_cpu = jax.default_backend() == "cpu"
    if problem.penalty.groups_of_coordinates is not None:
        return _SWEEPS_OF_GROUPS if on_cpu and has_blocks(problem) else _APPROACH_OF_GROUPS
    # In single precision their rounding costs the last digits: gaps of 4e-6 where Newton's method
    # alone comes to 1e-6.
    size, dtype = problem.scale.shape[0], problem.scale.dtype
    many = size > MANY and dtype == jnp.float64 and on_cpu
    return _APPROACH_OF_MANY if many else None


def _approached(
    problem: GramProblem, approach: AbstractGramSolver, tol: Float[Array, ""]
) -> GramProblem:
    """The same problem told from nearer to its solution."""
    settled = _is_settled(problem, problem.start_coef, problem.pull)
    if approach is _SWEEPS_OF_GROUPS:
        tol = jnp.maximum(tol, _NEAR * problem.gap(problem.start_coef, problem.pull))
    near = lambda: approach.solve_gram(problem, tol)[0]  # noqa: E731
    return problem.moved_to(jax.lax.cond(settled, lambda: problem.start_coef, near))


def _is_settled(
    problem: GramProblem, coef: Float[Array, " k"], pull: Float[Array, " k"]
) -> Bool[Array, ""]:
    """Whether a proximal step from here would hardly change the support."""
    near = problem.prox_root(problem.scale * coef + pull, jnp.array(1.0)).diagonal != 0
    moving = problem.penalty.support(coef) & problem.inside
    return jnp.sum(near != moving) <= 2 + jnp.sum(moving) // 10


def _candidate(
    problem: GramProblem, coef: Float[Array, " k"], pull: Float[Array, " k"]
) -> _Candidate:
    gap = problem.gap(coef, pull)
    return _Candidate(coef, pull, jnp.where(jnp.isnan(gap), jnp.inf, gap))


def _better(old: _Candidate, new: _Candidate) -> _Candidate:
    """Not worse is better: a later point is nearer even where the gap no longer resolves it."""
    return select(new.gap <= old.gap * (1 + 100 * jnp.finfo(old.gap.dtype).eps), new, old)


def _is_solved(state: _State, u: Float[Array, " k"], curved: Float[Array, " k"]) -> Bool[Array, ""]:
    """Whether u solves the proximal-point step: ``curved`` is the residual of its optimality."""
    moved = jnp.max(jnp.abs(u - state.centre)) / state.step
    # Of the pull itself, and of its multiple by which u differs from the centre.
    rounding = (64 + state.step) * jnp.finfo(u.dtype).eps * jnp.max(jnp.abs(state.pull))
    return jnp.max(jnp.abs(curved)) <= jnp.maximum(0.1 * moved, rounding)


def _newton_step(
    problem: GramProblem,
    state: _State,
    v: Float[Array, " k"],
    direction: Float[Array, " k"],
    curved: Float[Array, " k"],
) -> _State:
    """A damped Newton step on the dual; where the factorisation fails, a smaller σ instead."""
    length = _line_search(problem, state, v, direction, curved)
    failed = ~jnp.all(jnp.isfinite(direction))
    point = jnp.where(failed, state.point, state.point + length * direction)
    pull = jnp.where(failed, state.pull, state.pull - length * curved)
    step = jnp.where(failed, state.step / 100, state.step)
    return eqx.tree_at(lambda s: (s.point, s.pull, s.step), state, (point, pull, step))


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
