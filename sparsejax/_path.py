"""Solutions along a decreasing sequence of strengths."""

import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._arguments import checked_max_steps, checked_problem, checked_solver, checked_tol
from ._arrays import as_inexact
from ._certificate import Iterate, iterate_at, judged, reachable
from ._checks import check_integer, check_nonnegative, is_concrete
from ._problem import Problem, project_intercept
from ._solution import RESULTS, require_success
from ._solve import result_of, strength_max
from .penalties import AbstractStrengthPenalty
from .solvers import AbstractSolver, Auto


class Path(eqx.Module):
    """Solutions at several strengths, one row each.

    Attributes
    ----------
    strengths
        (k,) strengths in the order given.
    coefs, intercepts
        (k, p) coefficients and (k,) intercepts, with another axis where there are several tasks.
    gaps
        (k,) relative duality gaps, NaN for concave penalties.
    results
        (k,) members of ``RESULTS``.
    """

    strengths: Float[Array, " k"]
    coefs: Float[Array, "k p ..."]
    intercepts: Float[Array, "k ..."]
    gaps: Float[Array, " k"]
    results: RESULTS


def path(
    problem: Problem,
    num: int = 100,
    ratio: float = 1e-2,
    strengths: Float[Array, " k"] | None = None,
    tol: float = 1e-6,
    solver: AbstractSolver | None = None,
    max_steps: int | None = None,
    throw: bool = True,
) -> Path:
    """Solve at every strength, each from the solution before, in one compiled call.

    Parameters
    ----------
    problem
        The problem; the strength of its penalty is not used.
    num, ratio
        A geometric sequence of ``num`` strengths from ``strength_max`` down to ``ratio`` times it.
    strengths
        (k,) strengths to use instead; decreasing ones make the best warm starts.
    tol, solver, max_steps, throw
        As in ``solve``, at every strength.

    Raises
    ------
    ValueError
        For a ``num`` below one, a ``ratio`` outside (0, 1], or negative or NaN strengths.
    TypeError
        If the penalty has no strength.
    RuntimeError
        If ``throw`` and a strength did not converge; the message says which.

    Examples
    --------
    >>> import numpy as np, sparsejax as sj
    >>> problem = sj.Problem(np.eye(2), np.array([2.0, 1.0]), penalty=sj.penalties.L1(1.0))
    >>> sj.path(problem, strengths=[1.0, 0.5]).coefs.tolist()
    [[0.0, 0.0], [1.0, 0.0]]
    """
    problem = checked_problem(problem)
    grid = checked_strengths(problem, num, ratio, strengths)
    solver = checked_solver(Auto() if solver is None else solver, problem)
    goal = checked_tol(tol, problem.X.dtype)
    limit = checked_max_steps(solver.default_max_steps if max_steps is None else max_steps)
    solutions = _path(problem, grid, solver, goal, limit)
    if not throw:
        return solutions
    coefs = require_success(solutions.coefs, solutions.results)
    return eqx.tree_at(lambda s: s.coefs, solutions, coefs)


def checked_strengths(
    problem: Problem, num: int, ratio: float, strengths: Float[Array, " k"] | None
) -> Float[Array, " k"]:
    """The strengths given, or a geometric sequence down from the largest that matters."""
    if not isinstance(problem.penalty, AbstractStrengthPenalty):
        raise TypeError(f"{type(problem.penalty).__name__} has no strength to make a path over.")
    if strengths is not None:
        strengths = as_inexact(strengths, "strengths")
        check_nonnegative("strengths", strengths, ndim=1, finite=True)
        if strengths.shape[0] == 0:
            raise ValueError("`strengths` must not be empty.")
        return strengths.astype(problem.X.dtype)
    check_integer("num", num)
    if not 0 < ratio <= 1:
        raise ValueError(f"`ratio` must lie in (0, 1]; got {ratio}.")
    factors = np.geomspace(1.0, ratio, num) if num > 1 else np.ones(1)
    largest = strength_max(problem)
    if is_concrete(largest) and not np.isfinite(largest):
        raise ValueError(
            "No strength makes every coefficient zero (a ridge penalty never does): pass "
            "`strengths`."
        )
    return largest * jnp.asarray(factors, problem.X.dtype)


@eqx.filter_jit
def _path(
    problem: Problem,
    strengths: Float[Array, " k"],
    solver: AbstractSolver,
    tol: Float[Array, ""],
    max_steps: Array,
) -> Path:
    problem, strengths = eqxi.nondifferentiable(
        (problem, strengths), name="sparsejax.path (differentiate `solve`, under `vmap`, instead)"
    )
    centred, centring = project_intercept(problem)

    def one(previous: Iterate, strength: Float[Array, ""]) -> tuple[Iterate, tuple]:
        penalty = centred.penalty.with_strength(strength)
        current = eqx.tree_at(lambda p: p.penalty, centred, penalty)
        # The predictions and the pull of the previous solution still hold; its gap does not.
        start = judged(current, previous.coef, previous.predictions, previous.pull, previous.dual)
        goal = reachable(current, tol)
        iterate, stats = solver.run(current, start, goal, max_steps)
        result = result_of(current, iterate, goal, stats, max_steps)
        return iterate, (iterate.coef, iterate.gap, result)

    zeros = jnp.zeros(centred.coef_shape, centred.X.dtype)
    _, (coefs, gaps, results) = jax.lax.scan(one, iterate_at(centred, zeros), strengths)
    if centring is None:
        intercepts = jnp.zeros((*strengths.shape, *zeros.shape[1:]), zeros.dtype)
    else:
        intercepts = jax.vmap(centring.intercept)(coefs)
    return Path(strengths, coefs, intercepts, gaps, results)
