"""The default choice."""

from typing import Any, ClassVar

from jaxtyping import Array, Float, Int

from .._certificate import Iterate
from .._problem import Problem
from ..losses import (
    AbstractPointwiseLoss,
    AbstractQuadraticLoss,
    AbstractSmoothLoss,
    Cox,
    Equality,
)
from ._base import AbstractSolver, is_concave, is_relaxable
from ._convex import convex_solver, smooth_solver
from ._fista import FISTA
from ._irls import IRLS
from ._local_search import LocalSearch
from ._multi_stage import MultiStage
from ._prox_newton import quadratic_solver
from ._working_set import WorkingSet


class Auto(AbstractSolver):
    """Picks a solver for the problem; ``Solution.stats["solver"]`` names it.

    For least squares, working sets where the penalty allows, and VarPro for the trace norm of
    coefficients of dense designs whose smaller side can be diagonalised; for other smooth losses
    that are sums over samples, and for Cox, proximal Newton over the same, and for Multinomial with
    penalties of coefficients or rows, unless working sets would take too much memory; FISTA for
    other smooth ones, and for several targets where the curvature is bounded;
    Bregman for hard constraints where the penalty allows, unless they are many and sparse, FISTA
    for denoising by ``Analysis``, and PrimalDual for those, for other losses without a gradient and
    for other ``Analysis``, but VarPro where an intercept takes the loss's proximal operator from
    it. For concave penalties, working sets where the loss is quadratic
    (coordinate descent where the slope at zero is infinite) and proximal Newton over them where it
    is a smooth sum over samples or Cox, IRLS for hard constraints; else, and for groups, rows and
    singular values, FISTA where the curvature of the loss is bounded, else MultiStage. For
    ``Cardinality``, local search where the loss is quadratic, else FISTA.
    """

    default_max_steps: ClassVar[int] = WorkingSet.default_max_steps

    def choose(self, problem: Problem) -> AbstractSolver:
        if problem.penalty.is_convex:
            return convex_solver(problem)
        if is_concave(problem):
            if isinstance(problem.loss, AbstractQuadraticLoss):
                return quadratic_solver(problem)
            if isinstance(problem.loss, AbstractPointwiseLoss | Cox) and not problem.penalty.steep:
                return smooth_solver(problem)
        if isinstance(problem.loss, AbstractQuadraticLoss) and not is_relaxable(problem):
            return LocalSearch()
        if isinstance(problem.loss, Equality) and is_concave(problem):
            return IRLS()
        loss = problem.loss
        bounded = isinstance(loss, AbstractSmoothLoss) and loss.has_bounded_curvature
        return FISTA() if bounded or not is_relaxable(problem) else MultiStage()

    def check(self, problem: Problem) -> None:
        self.choose(problem).check(problem)

    def run(
        self, problem: Problem, start: Iterate, tol: Float[Array, ""], max_steps: Int[Array, ""]
    ) -> tuple[Iterate, dict[str, Any]]:
        return self.choose(problem).run(problem, start, tol, max_steps)
