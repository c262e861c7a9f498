"""The choice for convex problems, which those of other problems come down to."""

from .._dual import needs_dual
from .._problem import Problem
from ..losses import AbstractPointwiseLoss, AbstractQuadraticLoss
from ..losses._profiled import Profiled
from ._base import AbstractSolver
from ._fista import FISTA
from ._primal_dual import PrimalDual
from ._prox_newton import ProxNewton, quadratic_solver


def convex_solver(problem: Problem) -> AbstractSolver:
    """The solver of choice where the penalty is convex."""
    if needs_dual(problem):
        return PrimalDual()
    if isinstance(problem.loss, AbstractQuadraticLoss):
        return quadratic_solver(problem)
    loss = problem.loss.loss if isinstance(problem.loss, Profiled) else problem.loss
    return ProxNewton() if isinstance(loss, AbstractPointwiseLoss) else FISTA()
