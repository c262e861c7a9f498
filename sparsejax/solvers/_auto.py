"""The default choice."""

from typing import Any, ClassVar

from jaxtyping import Array, Float, Int

from .._certificate import Iterate
from .._dual import needs_dual
from .._problem import Problem
from ..designs._dense import is_dense
from ..losses import AbstractPointwiseLoss, AbstractQuadraticLoss
from ..losses._profiled import Profiled
from ..penalties import Nuclear
from ._base import AbstractSolver
from ._fista import FISTA
from ._primal_dual import PrimalDual
from ._prox_newton import ProxNewton, quadratic_solver
from ._varpro import VarPro
from ._working_set import WorkingSet

_DIAGONALISED = 1000  # side of a design up to which its eigenvectors are soon found


class Auto(AbstractSolver):
    """Picks a solver for the problem; ``Solution.stats["solver"]`` names it.

    For least squares, working sets where the penalty allows, and VarPro for the trace norm of
    coefficients of dense designs whose smaller side can be diagonalised; for other smooth losses
    that are sums over samples, proximal Newton over the same; FISTA for other smooth ones;
    PrimalDual for losses without a gradient and for ``Analysis`` penalties.
    """

    default_max_steps: ClassVar[int] = WorkingSet.default_max_steps

    def choose(self, problem: Problem) -> AbstractSolver:
        if needs_dual(problem):
            return PrimalDual()
        if isinstance(problem.loss, AbstractQuadraticLoss):
            return VarPro() if _is_thin(problem) else quadratic_solver(problem)
        loss = problem.loss.loss if isinstance(problem.loss, Profiled) else problem.loss
        return ProxNewton() if isinstance(loss, AbstractPointwiseLoss) else FISTA()

    def check(self, problem: Problem) -> None:
        self.choose(problem).check(problem)

    def run(
        self, problem: Problem, start: Iterate, tol: Float[Array, ""], max_steps: Int[Array, ""]
    ) -> tuple[Iterate, dict[str, Any]]:
        return self.choose(problem).run(problem, start, tol, max_steps)


def _is_thin(problem: Problem) -> bool:
    """Whether the solution has low rank, and the design is one whose basis is worth finding."""
    small = min(problem.X.shape) <= _DIAGONALISED
    return isinstance(problem.penalty, Nuclear) and small and is_dense(problem.X)
