"""The choice for convex problems, which those of other problems come down to."""

from .._dual import needs_dual
from .._problem import Problem
from ..designs._dense import is_dense
from ..losses import AbstractPointwiseLoss, AbstractQuadraticLoss
from ..losses._profiled import Profiled
from ..penalties import Analysis, Nuclear
from ._base import AbstractSolver
from ._fista import FISTA, is_denoising
from ._primal_dual import PrimalDual
from ._prox_newton import ProxNewton, quadratic_solver
from ._varpro import VarPro

_DIAGONALISED = 1000  # side of a design up to which its eigenvectors are soon found


def convex_solver(problem: Problem) -> AbstractSolver:
    """The solver of choice where the penalty is convex."""
    if needs_dual(problem):
        analysis = isinstance(problem.penalty, Analysis)
        return FISTA() if analysis and is_denoising(problem) else PrimalDual()
    if isinstance(problem.loss, AbstractQuadraticLoss):
        return VarPro() if _is_thin(problem) else quadratic_solver(problem)
    loss = problem.loss.loss if isinstance(problem.loss, Profiled) else problem.loss
    return ProxNewton() if isinstance(loss, AbstractPointwiseLoss) else FISTA()


def _is_thin(problem: Problem) -> bool:
    """Whether the solution has low rank, and the design is one whose basis is worth finding."""
    small = min(problem.X.shape) <= _DIAGONALISED
    return isinstance(problem.penalty, Nuclear) and small and is_dense(problem.X)
