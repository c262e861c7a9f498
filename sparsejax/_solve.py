"""The public functions of problems."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float

from ._adjoint import AbstractAdjoint, Implicit
from ._arguments import (
    checked_init,
    checked_max_steps,
    checked_problem,
    checked_solver,
    checked_tol,
)
from ._certificate import Iterate, iterate_at, kkt_of, objective_at, reachable
from ._dual import Dual, check_judged_by_coef, has_gradient
from ._modules import jit, replace
from ._problem import Problem, known, project_intercept
from ._solution import RESULTS, Solution, Stats, require_success
from ._strength_max import from_pull, from_ratios
from ._unbounded import is_unbounded, may_be_unbounded
from .losses import Equality
from .penalties import AbstractStrengthPenalty, Analysis
from .solvers import AbstractSolver, Auto
from .solvers._base import run_solver

_AUTO, _IMPLICIT = Auto(), Implicit()


def solve(
    problem: Problem,
    solver: AbstractSolver | None = None,
    tol: float | Float[Array, ""] = 1e-8,
    max_steps: int | None = None,
    init: Float[Array, "p ..."] | None = None,
    adjoint: AbstractAdjoint | None = None,
    throw: bool = True,
) -> Solution:
    """Minimise loss(X w + b, y) + penalty(w), with a certificate.

    One compiled call: another problem of the same shapes and kinds compiles nothing. Works under
    ``jit``, ``vmap``, ``grad``, ``jvp`` and their compositions.

    Parameters
    ----------
    problem
        What to solve.
    solver
        Any of ``sparsejax.solvers``; ``solvers.Auto()`` by default, which picks one by the loss and
        the penalty.
    tol
        Largest duality gap, relative to the objective at zero, that counts as converged. Never
        taken below the resolution of the dtype (1e-6 in float32, 1e-15 in float64). For concave
        penalties, the largest KKT violation, relative to the strength, and never below the
        resolution of the largest pull on the zero vector.
    max_steps
        Steps of the solver at most; each solver has its own default.
    init
        (p,) or (p, tasks) coefficients to start from (zeros by default).
    adjoint
        How to differentiate: ``Implicit()`` by default.
    throw
        Whether a solve that did not converge raises; if not, look at ``Solution.result``.

    Returns
    -------
    Solution
        Coefficients, intercept, objective, gap, KKT violation, result and statistics.

    Raises
    ------
    ValueError, TypeError
        For arguments out of range, or a solver that does not support the problem.
    RuntimeError
        If ``throw`` and the gap (or violation) did not fall below ``tol``.

    Examples
    --------
    >>> import numpy as np, sparsejax as sj
    >>> X, y = np.eye(3), np.array([3.0, -2.0, 0.1])
    >>> solution = sj.solve(sj.Problem(X, y, penalty=sj.penalties.L1(0.5)))
    >>> solution.coef.round(3).tolist()
    [1.5, -0.5, 0.0]
    >>> bool(solution.gap <= 1e-6)
    True

    Notes
    -----
    For double precision set ``JAX_ENABLE_X64=1``; in single, ask for 1e-6 or more. The first call
    at new shapes compiles, for seconds. For many strengths use ``path``, to choose one
    ``bilevel.tune`` or ``resampling.cross_validate``; derivatives by ``jax.grad`` and its like go
    through ``solve`` itself. docs/support.md says which solver takes what.
    """
    problem = checked_problem(problem)
    solver = _AUTO if solver is None else solver
    adjoint = _IMPLICIT if adjoint is None else adjoint
    if not isinstance(adjoint, AbstractAdjoint):
        raise TypeError(f"`adjoint` must be a sparsejax adjoint, as Implicit(); got {adjoint!r}.")
    goal = checked_tol(tol, problem.X.dtype)
    limit = checked_max_steps(max_steps)
    start = None if init is None else checked_init(init, problem)
    arguments = (problem, solver, goal, limit, start)
    traced = any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(arguments))
    solution, dual = _solve(*(_constant(arguments) if traced else arguments))
    if traced:
        solution = _differentiable(problem, solution, dual, solver, adjoint)
    if not throw:
        return solution
    coef = require_success(solution.coef, solution.result)
    if coef is solution.coef:
        return solution
    return eqx.tree_at(lambda s: s.coef, solution, coef)


def objective(
    problem: Problem, coef: Float[Array, "p ..."], intercept: Float[Array, "..."] | float = 0.0
) -> Float[Array, ""]:
    """loss(X·coef + intercept + offset, y) + penalty(coef).

    Examples
    --------
    >>> import numpy as np, sparsejax as sj
    >>> problem = sj.Problem(np.eye(2), np.ones(2), penalty=sj.penalties.L1(1.0))
    >>> float(sj.objective(problem, np.zeros(2)))
    0.5
    """
    problem = checked_problem(problem)
    coef = checked_init(coef, problem, name="coef")
    return _objective(problem, coef, jnp.asarray(intercept, problem.X.dtype))


def duality_gap(problem: Problem, coef: Float[Array, "p ..."]) -> Float[Array, ""]:
    """Upper bound on the suboptimality of ``coef``, relative to the objective at zero.

    Computed from a dual feasible point made by rescaling the residual; with an intercept the best
    one for ``coef`` is meant. ``TypeError`` for losses without a gradient, for ``Analysis`` and
    for concave penalties.

    Examples
    --------
    >>> import numpy as np, sparsejax as sj
    >>> problem = sj.Problem(np.eye(2), np.ones(2), penalty=sj.penalties.L1(0.25))
    >>> float(sj.duality_gap(problem, np.full(2, 0.5)))
    0.0
    """
    problem = checked_problem(problem)
    if not problem.penalty.is_convex:
        name = type(problem.penalty).__name__
        raise TypeError(f"{name} is not convex, so there is no duality gap: use kkt_violation().")
    return _evaluate(problem, checked_init(coef, problem, name="coef"))[0]


def kkt_violation(problem: Problem, coef: Float[Array, "p ..."]) -> Float[Array, ""]:
    """Largest distance of −∇loss to the penalty's subdifferential, relative to the strength.

    Examples
    --------
    >>> import numpy as np, sparsejax as sj
    >>> problem = sj.Problem(np.eye(2), np.ones(2), penalty=sj.penalties.L1(0.25))
    >>> float(sj.kkt_violation(problem, np.zeros(2)))
    1.0
    """
    problem = checked_problem(problem)
    return _evaluate(problem, checked_init(coef, problem, name="coef"))[1]


def strength_max(problem: Problem) -> Float[Array, ""]:
    """Smallest strength whose solution has every penalised coefficient zero.

    Unpenalised features (zero weights) and the intercept are fitted first. To the last digits where
    the loss has a gradient; else, and for ``Analysis``, by some ten solves: to about eight digits
    with penalties whose unit ball has corners, five with others (Cox: four).

    Raises
    ------
    TypeError
        If the penalty has no strength, for ``Equality``, and for a penalty that is not convex with
        a loss that has no gradient.

    Examples
    --------
    >>> import numpy as np, sparsejax as sj
    >>> problem = sj.Problem(np.eye(2), np.array([1.0, 4.0]), penalty=sj.penalties.L1(1.0))
    >>> float(sj.strength_max(problem))
    2.0
    """
    problem = checked_problem(problem)
    if not isinstance(problem.penalty, AbstractStrengthPenalty):
        raise TypeError(f"{type(problem.penalty).__name__} has no strength.")
    loss, penalty = type(problem.loss).__name__, type(problem.penalty).__name__
    if isinstance(problem.loss, Equality):
        raise TypeError("Equality has no strength at which targets need not be met.")
    if has_gradient(problem) and not isinstance(problem.penalty, Analysis):
        return from_pull(problem)
    if not problem.penalty.is_convex:
        raise TypeError(f"strength_max does not support {loss} with {penalty}, not convex.")
    return from_ratios(problem)


def _constant(arguments: Any) -> Any:
    """Without derivatives, which are not those of the solver's steps."""
    return jax.tree.map(lambda x: jax.lax.stop_gradient(x) if eqx.is_array(x) else x, arguments)


@jit
def _solve(
    problem: Problem,
    solver: AbstractSolver,
    tol: Float[Array, ""],
    max_steps: Array,
    init: Float[Array, "p ..."] | None,
) -> tuple[Solution, Dual | None]:
    # Here because it depends on kinds and shapes alone: once per compilation is enough.
    solver = checked_solver(solver, problem)
    max_steps = jnp.where(max_steps < 0, solver.default_max_steps, max_steps)
    centred, centring = project_intercept(problem)
    tol = reachable(centred, tol)
    if init is None:
        init = jnp.zeros(problem.coef_shape, problem.X.dtype)
    start = centred.penalty.into_domain(init)
    final, stats = run_solver(centred, solver, start, tol, max_steps)
    none = jnp.zeros(final.coef.shape[1:], tol.dtype)
    solution = Solution(
        final.coef,
        none if centring is None else centring.intercept(final.coef),
        objective_at(centred, final.coef, final.predictions),
        final.gap,
        kkt_of(centred, final),
        result_of(centred, final, tol, stats, max_steps),
        Stats(type(solver).__name__, stats),
    )
    return solution, final.dual


@jit
def _differentiable(
    problem: Problem,
    solution: Solution,
    dual: Dual | None,
    solver: AbstractSolver,
    adjoint: AbstractAdjoint,
) -> Solution:
    """The same solution as a function of the problem.

    A program of its own: one that holds the solver too would be compiled for every set of arguments
    that somebody differentiates in.
    """
    solver = checked_solver(solver, problem)
    centred, centring = project_intercept(problem)
    coef = adjoint.coef(centred, solver, solution.coef, dual)
    intercept = solution.intercept
    if centring is not None:
        intercept = known(type(centring).intercept, (centring, coef), intercept)
    objective = known(_centred_objective, (centred, coef), solution.objective)
    return replace(solution, coef=coef, intercept=intercept, objective=objective)


def _centred_objective(centred: Problem, coef: Float[Array, "p ..."]) -> Float[Array, ""]:
    return objective_at(centred, coef, centred.predict(coef))


def result_of(
    problem: Problem, iterate: Iterate, tol: Array, stats: dict[str, Any], max_steps: Array
) -> RESULTS:
    """How a solve ended; successful only if the certificate says so."""
    out_of_steps = stats["num_steps"] >= max_steps
    result = RESULTS.where(out_of_steps, RESULTS.max_steps_reached, RESULTS.stagnated)
    result = RESULTS.where(iterate.error <= tol, RESULTS.successful, result)
    result = RESULTS.where(stats.get("infeasible", jnp.array(False)), RESULTS.infeasible, result)
    if may_be_unbounded(problem):
        result = RESULTS.where(is_unbounded(problem, iterate), RESULTS.unbounded, result)
    finite = jnp.isfinite(iterate.error) & jnp.all(jnp.isfinite(iterate.coef))
    broken = ~finite & jnp.any(~jnp.isfinite(iterate.pull))
    result = RESULTS.where(broken, RESULTS.nonfinite, result)
    valid = problem.penalty.is_valid() & problem.loss.is_valid()
    return RESULTS.where(valid, result, RESULTS.invalid)


@eqx.filter_jit
def _objective(
    problem: Problem, coef: Float[Array, "p ..."], intercept: Float[Array, "..."]
) -> Float[Array, ""]:
    loss = problem.loss.value(problem.predict(coef, intercept), problem.y)
    return loss + problem.penalty.value(coef)


@eqx.filter_jit
def _evaluate(
    problem: Problem, coef: Float[Array, "p ..."]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    check_judged_by_coef(problem, "A certificate")
    centred, _ = project_intercept(problem)
    iterate = iterate_at(centred, coef)
    return iterate.gap, kkt_of(centred, iterate)
