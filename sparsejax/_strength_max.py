"""The smallest strength that leaves nothing of what it penalises."""

from typing import cast

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ._arguments import checked_tol
from ._certificate import Iterate, iterate_at, objective_at_zero
from ._modules import replace, select
from ._problem import Problem, project_intercept
from .designs import Dense
from .designs._several import matvec, rmatvec
from .penalties import L1, AbstractStrengthPenalty, Analysis
from .solvers import Auto

_GROWTH = 4.0  # of the strength until nothing is left
_LEFT = 1e3  # of the tolerance: of less than that no ratio would have three digits
_STEPS = 100


@eqx.filter_jit
def from_pull(problem: Problem) -> Float[Array, ""]:
    """Where the pull on the null model says it all."""
    centred, _ = project_intercept(problem)
    zeros = jnp.zeros(problem.coef_shape, problem.X.dtype)
    start = iterate_at(centred, zeros)
    null_model = centred.penalty.null_model()
    null_space = centred.penalty.null_space(problem.X.shape[1])
    if null_model is not None:
        restricted = replace(centred, penalty=null_model)
        start = _run(restricted, iterate_at(restricted, zeros), 0.0)
    if null_space is None:
        return centred.penalty.strength_max(start.pull)
    # What no strength takes away is fitted first.
    free = L1(jnp.zeros((), problem.X.dtype))
    fitted = replace(centred, X=Dense(matvec(centred.X, null_space).T), penalty=free)
    zeros = jnp.zeros(fitted.coef_shape, problem.X.dtype)
    predictions = _run(fitted, iterate_at(fitted, zeros), 0.0).predictions
    gradient = centred.loss.gradient(predictions, centred.y)
    return centred.penalty.strength_max(-rmatvec(centred.X, gradient))


class _Point(eqx.Module):
    """Of what a solution is made: f(w), and g(w) at a strength of one."""

    coef: Float[Array, "p ..."]
    loss: Float[Array, ""]
    size: Float[Array, ""]


class _State(eqx.Module):
    strength: Float[Array, ""]
    best: _Point  # the last of which something is left
    base: Float[Array, ""]  # f of the null model, once it is known
    steps: Int[Array, ""]
    done: Bool[Array, ""]


@eqx.filter_jit
def from_ratios(problem: Problem) -> Float[Array, ""]:
    """sup over w of (f(w₀) − f(w))/g(w), w₀ what no strength takes away: by Dinkelbach's method.

    For penalties proportional to their strength. The strength grows until nothing is left, which
    is w₀; the ratio of the last solution before that is a strength at most as large as the one
    sought, the solution there has a ratio at least as large, and so on.
    """
    centred, _ = project_intercept(problem)
    penalty = cast(AbstractStrengthPenalty, centred.penalty)
    dtype = problem.X.dtype
    # Further digits of models by ``PrimalDual`` take minutes near the strength that is sought.
    least = 1e-8 if problem.loss.has_dual_on_ray else 1e-10
    tol = least if jnp.finfo(dtype).eps < 1e-10 else 1e-6
    zeros = jnp.zeros(problem.coef_shape, dtype)
    start = iterate_at(centred, zeros)
    unit = objective_at_zero(centred)
    plain = penalty.with_strength(jnp.ones((), dtype))

    def solved(strength: Float[Array, ""], coef: Float[Array, "p ..."]) -> _Point:
        model = replace(centred, penalty=penalty.with_strength(strength))
        found = _run(model, iterate_at(model, coef), tol)
        loss = centred.loss.value(found.predictions, centred.y)
        return _Point(found.coef, loss, plain.value(found.coef))

    def ratio(base: Float[Array, ""], point: _Point) -> Float[Array, ""]:
        some = point.size > 0
        return jnp.where(some, base - point.loss, 0.0) / jnp.where(some, point.size, 1.0)

    def step(state: _State) -> _State:
        point = solved(state.strength, state.best.coef)
        left = state.strength * point.size > _LEFT * tol * unit
        known = jnp.isfinite(state.base)
        base = jnp.where(known | left, state.base, point.loss + state.strength * point.size)
        best = select(left, point, state.best)
        higher = ratio(base, best)
        # By more than a solution may be wrong.
        lower = base - (best.loss + state.strength * best.size) > tol * unit
        # Before anything is found that is left, down again.
        back = jnp.where(higher > 0, higher, state.strength / _GROWTH)
        following = jnp.where(jnp.isfinite(base), back, _GROWTH * state.strength)
        done = known & (higher > 0) & ~lower
        return _State(following, best, base, state.steps + 1, done)

    slope = jax.grad(lambda z: centred.loss.value(z, centred.y))(start.predictions)
    pull = rmatvec(centred.X, slope)
    # Where the penalty is flat at zero something is left always.
    flat = jnp.array(False)
    if not isinstance(penalty, Analysis):
        flat = jnp.isinf(penalty.strength_max(pull))
    guess = jnp.max(jnp.abs(pull))  # of the right order
    nothing = _Point(zeros, jnp.zeros((), dtype), jnp.zeros((), dtype))
    unknown = jnp.full((), jnp.inf, dtype)
    first = _State(guess, nothing, unknown, jnp.array(0), flat | ~(guess > 0))
    final = jax.lax.while_loop(lambda s: ~s.done & (s.steps < _STEPS), step, first)
    found = jnp.where(flat, jnp.inf, jnp.maximum(ratio(final.base, final.best), 0.0))
    # What was not found must not look like a strength.
    return jnp.where(final.done, found, jnp.nan)


def _run(problem: Problem, start: Iterate, tol: float) -> Iterate:
    """The solution by the solver of choice; 0: to the last digit."""
    solver = Auto().choose(problem)
    least = checked_tol(tol, problem.X.dtype)
    return solver.run(problem, start, least, jnp.array(solver.default_max_steps))[0]
