"""The default choice."""

from typing import Any, ClassVar

from jaxtyping import Array, Float, Int

from .._certificate import Iterate
from .._dual import needs_dual
from .._problem import Problem
from ..losses import AbstractPointwiseLoss, AbstractQuadraticLoss
from ..losses._profiled import Profiled
from ._base import AbstractSolver, is_concave
from ._coordinate_descent import CoordinateDescent
from ._fista import FISTA
from ._primal_dual import PrimalDual
from ._prox_newton import ProxNewton, quadratic_solver
from ._working_set import WorkingSet


class Auto(AbstractSolver):
    """Picks a solver for the problem; ``Solution.stats["solver"]`` names it.

    For least squares, working sets where the penalty allows; for other smooth losses that are
    sums over samples, proximal Newton over the same; FISTA for other smooth ones; PrimalDual for
    losses without a gradient and for ``Analysis`` penalties. For concave penalties, coordinate
    descent where the loss is quadratic, else FISTA.
    """

    default_max_steps: ClassVar[int] = WorkingSet.default_max_steps

    def choose(self, problem: Problem) -> AbstractSolver:
        if needs_dual(problem):
            return PrimalDual()
        if is_concave(problem):
            quadratic = isinstance(problem.loss, AbstractQuadraticLoss)
            return CoordinateDescent() if quadratic else FISTA()
        if isinstance(problem.loss, AbstractQuadraticLoss):
            return quadratic_solver(problem)
        loss = problem.loss.loss if isinstance(problem.loss, Profiled) else problem.loss
        return ProxNewton() if isinstance(loss, AbstractPointwiseLoss) else FISTA()

    def check(self, problem: Problem) -> None:
        self.choose(problem).check(problem)

    def run(
        self, problem: Problem, start: Iterate, tol: Float[Array, ""], max_steps: Int[Array, ""]
    ) -> tuple[Iterate, dict[str, Any]]:
        return self.choose(problem).run(problem, start, tol, max_steps)
