"""The choice for convex problems, which those of other problems come down to."""

from .._dual import lacks_prox, needs_dual
from .._problem import Problem
from ..designs import Dense, Sparse
from ..designs._base import underlying
from ..losses import AbstractPointwiseLoss, AbstractQuadraticLoss, Cox, Equality
from ..losses._tilted import bare
from ..penalties import AbstractNewtonPenalty, Analysis, Nuclear
from ._base import AbstractSolver
from ._bregman import Bregman
from ._fista import FISTA, is_denoising
from ._models import has_classes, shape_of_model
from ._primal_dual import PrimalDual
from ._prox_newton import ProxNewton, quadratic_solver
from ._varpro import VarPro, per_task
from ._widths import possible_widths

_FACTORISED = 3000  # targets to be met, up to which a dense system of them is soon solved
_SPARSE = 128  # the same where products with X take next to nothing ...
_WIDE = 512  # ... and where there are many more features than targets, as in basis pursuit
_DIAGONALISED = 1000  # side of a design up to which its eigenvectors are soon found
_ENTRIES = 2**26  # of the columns of the largest working set of a multinomial model


def convex_solver(problem: Problem) -> AbstractSolver:
    """The solver of choice where the penalty is convex."""
    pointwise = isinstance(bare(problem.loss), AbstractPointwiseLoss)
    if needs_dual(problem):
        if _is_pursuit(problem):
            return Bregman()
        if isinstance(problem.penalty, Analysis):
            if is_denoising(problem):
                return FISTA()
            if problem.loss.has_dual_on_ray:
                return ProxNewton()
            if pointwise and lacks_prox(problem):
                return VarPro()
        return PrimalDual()
    if isinstance(problem.loss, AbstractQuadraticLoss):
        return VarPro() if _is_thin(problem) else quadratic_solver(problem)
    return smooth_solver(problem)


def smooth_solver(problem: Problem) -> AbstractSolver:
    """The solver of choice for a smooth loss that is not quadratic."""
    if isinstance(problem.loss, Cox):  # whose models are exact
        return ProxNewton()
    if has_classes(problem):
        return ProxNewton() if _holds_classes(shape_of_model(problem)) else FISTA()
    if not isinstance(bare(problem.loss), AbstractPointwiseLoss):
        return FISTA()
    # Models of several targets go to FISTA as well.
    several = problem.loss.outputs(problem.y) and problem.loss.has_bounded_curvature
    return FISTA() if several else ProxNewton()


def _holds_classes(model: Problem) -> bool:
    """Whether there is such a model of all classes at once, and memory for its working sets."""
    if model.penalty is None:
        return False
    return model.X.shape[0] * possible_widths(model)[-1] <= _ENTRIES


def _is_pursuit(problem: Problem) -> bool:
    """Whether targets are to be met by few coefficients, and few enough to factorise."""
    n, p = problem.X.shape
    most = _FACTORISED
    if isinstance(underlying(problem.X), Sparse):
        most = _WIDE if p >= 8 * n else _SPARSE
    constrained = isinstance(problem.loss, Equality) and n <= most
    newton = isinstance(problem.penalty, AbstractNewtonPenalty)
    return constrained and newton and not problem.loss.outputs(problem.y)


def _is_thin(problem: Problem) -> bool:
    """Whether the solution has low rank, and the design is one whose basis is worth finding."""
    if not isinstance(problem.penalty, Nuclear):
        return False
    if problem.penalty.shape is not None:
        design = per_task(problem.X)
        return design is not None and design.X.shape[1] <= _DIAGONALISED
    return min(problem.X.shape) <= _DIAGONALISED and isinstance(underlying(problem.X), Dense)
