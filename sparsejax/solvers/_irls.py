"""Iteratively reweighted least squares."""

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._certificate import Iterate, iterate_at, objective_at
from .._dual import generic_solver
from .._infeasible import least_squares_ray, lies_outside_range
from .._modules import select
from .._problem import Problem
from ..losses import AbstractQuadraticLoss, Equality
from ..penalties import L0, AbstractVariationalPenalty, RowL2
from ._base import AbstractSolver, check_one_target, is_concave
from ._coordinate_descent import CoordinateDescent
from ._prox_newton import quadratic_solver
from ._varpro._concave import RESTING, continuation_start, stationary_without
from ._varpro._finish import sparsified, without_resting
from ._varpro._ridge import WeightedRidge
from ._varpro._systems import AbstractSystem, Ridge, SystemName, system_of

_SHRINK = 0.1  # of ε, once ...
_SETTLED = 0.01  # ... the coefficients move by less than this part of it
_UNPENALISED = 1e4  # root of a weight so large that its ridge is negligible
_ROUGH = 1e-4  # the last ε, relative to the largest coefficient, where another solver finishes
_FINISHING_STEPS = 500


class _State(eqx.Module):
    coef: Float[Array, "p ..."]
    epsilon: Float[Array, ""]
    steps: Int[Array, ""]
    settled: Bool[Array, ""]  # at this ε


class IRLS(AbstractSolver):
    """Ridge regressions whose weights follow the coefficients, smoothed less and less.

    A penalty Σ h(|w_j|) that is concave in w² lies below the parabolas that touch it at v,

        h(√(w² + ε²)) ≤ constant + w²·h′(s)/(2s),   s = √(v² + ε²),

    so minimising the loss plus those parabolas, a linear system of the smaller side of the dense
    design, never raises the smoothed objective. Whenever the coefficients rest relative to ε, ε is
    divided by ten, from the size of the coefficients down to the root of rounding: the early,
    nearly convex problems lead past the local minima of the last. What is smaller than the last ε
    then becomes zero and the rest solves the problem on its support, by Newton's method or, for
    ``Equality``, as the solution of Xw = y. Convex penalties end with the certificate of any
    solver, concave ones in a point whose KKT violation is that of the problem itself, not of the
    smoothed one.

    For least squares and ``Equality``, with any concave penalty but ``L0`` and with the convex ones
    that VarPro takes. A step of ``max_steps`` is one linear system. From a warm start, ε begins at
    a tenth of the largest coefficient. A start that is stationary already, as zero is for ``Lq``,
    is returned where its objective is the lower one.

    Examples
    --------
    >>> import numpy as np, sparsejax as sj
    >>> loss, penalty = sj.losses.Equality(), sj.penalties.Lq(1.0, 0.5)
    >>> problem = sj.Problem(np.array([[1.0, 2.0]]), np.array([2.0]), loss, penalty)
    >>> sj.solve(problem, sj.solvers.IRLS(), tol=1e-5).coef.round(4).tolist()
    [0.0, 1.0]

    Notes
    -----
    Chartrand & Yin (ICASSP 2008), whose rule for ε this is; Daubechies, DeVore, Fornasier &
    Güntürk (2010).
    """

    default_max_steps: ClassVar[int] = 2000

    def check(self, problem: Problem) -> None:
        loss, penalty = problem.loss, problem.penalty
        name, other = type(penalty).__name__, generic_solver(problem)
        if not isinstance(loss, AbstractQuadraticLoss | Equality):
            raise TypeError(f"IRLS does not support {type(loss).__name__}: use Auto().")
        if isinstance(penalty, L0):
            raise TypeError(
                "IRLS does not support L0, which has no slope: use LocalSearch() with Squared."
            )
        if not is_concave(problem):
            if not isinstance(penalty, AbstractVariationalPenalty):
                raise TypeError(f"IRLS does not support {name}: use {other}().")
            penalty.variational_form(problem.X.shape[1])
        if not isinstance(penalty, RowL2):
            check_one_target(self, problem)

    def run(
        self, problem: Problem, start: Iterate, tol: Float[Array, ""], max_steps: Int[Array, ""]
    ) -> tuple[Iterate, dict[str, Any]]:
        stats: dict[str, Any] = {}
        done = start.error <= tol
        resting = done & (not (is_concave(problem) and problem.penalty.steep))
        limit = jnp.where(resting, 0, max_steps)
        if isinstance(problem.loss, Equality):
            stats["infeasible"] = lies_outside_range(problem, least_squares_ray(problem))
            limit = jnp.where(stats["infeasible"], 0, limit)
        system = system_of(problem, _smaller_side(problem))
        weigh = _weights_of(problem)
        coef, epsilon, steps = _continued(problem, system, weigh, start.coef, limit)
        ridge = _ridge_at(problem, system, weigh, coef, epsilon)
        if _is_polished(problem):
            found = _polished(problem, ridge, tol, max_steps)
        elif is_concave(problem):
            moving = jnp.abs(ridge.coef) > RESTING * epsilon
            found = stationary_without(problem, system, ridge, ~moving)
        else:
            outer = WeightedRidge(problem, _smaller_side(problem))
            found = sparsified(outer, outer.iterate(ridge), tol)
        lower = objective_at(problem, start.coef, start.predictions) <= objective_at(
            problem, found.coef, found.predictions
        )
        kept = resting | (done & lower) | ~(found.error < jnp.inf)
        iterate = select(kept, start, found)
        return iterate, {"num_steps": steps} | stats


def _smaller_side(problem: Problem) -> SystemName:
    n, p = problem.X.shape
    return "dual" if n < p or isinstance(problem.loss, Equality) else "primal"


Weigh = Callable[[Float[Array, "p ..."]], Float[Array, " p"]]  # sizes -> roots of W


def _weights_of(problem: Problem) -> Weigh:
    """W of the parabolas w²/(2W) that touch the penalty at given sizes, as its root."""
    penalty = problem.penalty
    if not is_concave(problem):
        form = penalty.variational_form(problem.X.shape[1])
        return lambda size: form.root(form.best(size))

    def weigh(size: Float[Array, " p"]) -> Float[Array, " p"]:
        slope = penalty.slope(size)
        curved = slope > 0
        return jnp.where(curved, jnp.sqrt(size / jnp.where(curved, slope, 1.0)), _UNPENALISED)

    return weigh


def _ridge_at(
    problem: Problem,
    system: AbstractSystem,
    weigh: Weigh,
    coef: Float[Array, "p ..."],
    epsilon: Float[Array, ""],
) -> Ridge:
    """The minimiser of the loss plus the parabolas that touch at ``coef``."""
    noise = 0.0 if isinstance(problem.loss, Equality) else 1.0
    return system.solve(weigh(jnp.sqrt(coef**2 + epsilon**2)), noise)


def _continued(
    problem: Problem,
    system: AbstractSystem,
    weigh: Weigh,
    start: Float[Array, "p ..."],
    limit: Int[Array, ""],
) -> tuple[Float[Array, "p ..."], Float[Array, ""], Int[Array, ""]]:
    """The coefficients at the last ε, that ε, and the steps taken."""
    coef, size, widest = continuation_start(problem, start)
    last = (_ROUGH if _is_polished(problem) else jnp.finfo(size.dtype).eps ** 0.5) * size

    def unfinished(state: _State) -> Bool[Array, ""]:
        return (state.steps < limit) & ~(state.settled & (state.epsilon <= last))

    def step(state: _State) -> _State:
        epsilon = jnp.where(
            state.settled, jnp.maximum(_SHRINK * state.epsilon, last), state.epsilon
        )
        coef = _ridge_at(problem, system, weigh, state.coef, epsilon).coef
        settled = jnp.max(jnp.abs(coef - state.coef)) <= _SETTLED * epsilon
        return _State(coef, epsilon, state.steps + 1, settled)

    first = _State(coef, widest, jnp.array(0), jnp.array(False))
    final = jax.lax.while_loop(unfinished, step, first)
    return final.coef, final.epsilon, final.steps


def _is_polished(problem: Problem) -> bool:
    """Whether another solver finishes: least squares whose penalty has a kink of finite slope.

    How far a coefficient at rest is from zero does not tell there, but how strong its pull is.
    """
    steep = is_concave(problem) and problem.penalty.steep
    return not (steep or isinstance(problem.loss, Equality))


def _polished(
    problem: Problem, ridge: Ridge, tol: Float[Array, ""], max_steps: Int[Array, ""]
) -> Iterate:
    """The solution near by, which has exact zeros."""
    limit = jnp.minimum(_FINISHING_STEPS, max_steps)
    if is_concave(problem):
        return CoordinateDescent().run(problem, iterate_at(problem, ridge.coef), tol, limit)[0]
    sparse = iterate_at(problem, without_resting(problem.penalty, ridge.coef, ridge.pull))
    return quadratic_solver(problem).run(problem, sparse, tol, limit)[0]
