"""What a solver must be able to do."""

import abc
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Bool, Float, Int

from .._certificate import Iterate, iterate_at
from .._problem import Problem
from .._unbounded import is_unbounded, may_be_unbounded
from ..penalties import AbstractConcavePenalty, AbstractRelaxablePenalty

_TAKE_CONCAVE = "use FISTA(), CoordinateDescent() or MultiStage()"


class AbstractSolver(eqx.Module):
    """Brings the error of a problem without intercept below a tolerance.

    That is the duality gap or, of concave penalties, the KKT violation: ``Iterate.error``.
    """

    default_max_steps: eqx.AbstractClassVar[int]

    @abc.abstractmethod
    def check(self, problem: Problem) -> None:
        """``TypeError`` naming the solvers to use instead where the problem does not fit."""

    @abc.abstractmethod
    def run(
        self, problem: Problem, start: Iterate, tol: Float[Array, ""], max_steps: Int[Array, ""]
    ) -> tuple[Iterate, dict[str, Any]]:
        """From ``start`` to an iterate with error ≤ tol if that takes at most ``max_steps`` steps.

        The iterate returned must be evaluated afresh (``iterate_at``), never updated from sums:
        its error is the certificate that users see. The statistics hold at least ``num_steps``.
        """

    def choose(self, problem: Problem) -> "AbstractSolver":
        """The solver that does the work: itself, but for ``Auto``."""
        del problem
        return self

    @property
    def together(self) -> bool:
        """Whether ``vmap`` batches ``run``; if not, problems run one after the other."""
        return False

    def check_differentiable(self) -> None:  # most solvers have nothing to refuse
        """``TypeError`` where what the solver returns need not be a solution of its problem."""


def run_solver(
    problem: Problem,
    solver: AbstractSolver,
    start: Float[Array, "p ..."],
    tol: Float[Array, ""],
    max_steps: Int[Array, ""],
) -> tuple[Iterate, dict[str, Any]]:
    """Run the solver; under ``vmap`` one problem after the other, unless it works ``together``.

    Most solvers branch on the size of the support. Batched, every branch would run for every
    problem, and every problem as long as the slowest.
    """
    if solver.together:
        return solver.run(problem, iterate_at(problem, start), tol, max_steps)
    arrays, static = eqx.partition((problem, solver, start), eqx.is_array)

    @jax.custom_batching.sequential_vmap
    def run(arrays: Any, tol: Array, max_steps: Array) -> tuple[Iterate, dict[str, Any]]:
        problem, solver, start = eqx.combine(arrays, static)
        return solver.run(problem, iterate_at(problem, start), tol, max_steps)

    return run(arrays, tol, max_steps)


def check_one_target(solver: AbstractSolver, problem: Problem) -> None:
    """``TypeError`` for several targets."""
    if problem.loss.outputs(problem.y):
        raise TypeError(f"{type(solver).__name__} takes one target: use FISTA() for several.")


def is_concave(problem: Problem) -> bool:
    """Whether the penalty is a sum of concave functions of sizes."""
    return isinstance(problem.penalty, AbstractConcavePenalty)


def is_relaxable(problem: Problem) -> bool:
    """Whether convex penalties touch it from above."""
    return isinstance(problem.penalty, AbstractRelaxablePenalty)


def check_convex(solver: AbstractSolver, problem: Problem) -> None:
    """``TypeError`` for penalties that are not convex."""
    if not problem.penalty.is_convex:
        name, penalty = type(solver).__name__, type(problem.penalty).__name__
        others = _TAKE_CONCAVE if is_concave(problem) else "use Auto()"
        raise TypeError(f"{name} does not support {penalty}, which is not convex: {others}.")


def unfinished_at(
    problem: Problem, iterate: Iterate, tol: Float[Array, ""], steps: Int[Array, ""]
) -> Bool[Array, ""]:
    """Whether to go on from an iterate.

    At least once where zero is stationary for every strength: a step may still leave it. Not where
    coefficients would grow for ever.
    """
    going = iterate.error > tol
    if is_relaxable(problem) and problem.penalty.steep:
        going = going | (steps == 0)
    return going & ~is_unbounded(problem, iterate) if may_be_unbounded(problem) else going
