"""The default choice."""

from typing import Any, ClassVar

from jaxtyping import Array, Float, Int

from .._certificate import Iterate
from .._problem import Problem
from ..losses import AbstractQuadraticLoss, AbstractSmoothLoss, Equality
from ._base import AbstractSolver, is_concave
from ._convex import convex_solver
from ._coordinate_descent import CoordinateDescent
from ._fista import FISTA
from ._irls import IRLS
from ._multi_stage import MultiStage
from ._working_set import WorkingSet


class Auto(AbstractSolver):
    """Picks a solver for the problem; ``Solution.stats["solver"]`` names it.

    For least squares, working sets where the penalty allows, and VarPro for the trace norm of
    coefficients of dense designs whose smaller side can be diagonalised; for other smooth losses
    that are sums over samples, proximal Newton over the same; FISTA for other smooth ones;
    PrimalDual for losses without a gradient and for ``Analysis`` penalties. For concave penalties,
    coordinate descent where the loss is quadratic, IRLS for hard constraints, FISTA where the
    curvature of the loss is bounded, else MultiStage.
    """

    default_max_steps: ClassVar[int] = WorkingSet.default_max_steps

    def choose(self, problem: Problem) -> AbstractSolver:
        if not is_concave(problem):
            return convex_solver(problem)
        if isinstance(problem.loss, AbstractQuadraticLoss):
            return CoordinateDescent()
        if isinstance(problem.loss, Equality):
            return IRLS()
        loss = problem.loss
        bounded = isinstance(loss, AbstractSmoothLoss) and loss.has_bounded_curvature
        return FISTA() if bounded else MultiStage()

    def check(self, problem: Problem) -> None:
        self.choose(problem).check(problem)

    def run(
        self, problem: Problem, start: Iterate, tol: Float[Array, ""], max_steps: Int[Array, ""]
    ) -> tuple[Iterate, dict[str, Any]]:
        return self.choose(problem).run(problem, start, tol, max_steps)
