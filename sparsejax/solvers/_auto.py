"""The default choice."""

from typing import Any, ClassVar

from jaxtyping import Array, Float, Int

from .._certificate import Iterate
from .._problem import Problem
from ..losses import AbstractQuadraticLoss
from ..penalties import AbstractSeparablePenalty
from ._base import AbstractSolver
from ._fista import FISTA
from ._working_set import WorkingSet

_WORKING_SET = WorkingSet()  # making one takes as long as a small solve


class Auto(AbstractSolver):
    """Picks a solver for the problem; ``Solution.stats["solver"]`` names it.

    Working sets where the penalty is separable and the loss quadratic, FISTA otherwise.
    """

    default_max_steps: ClassVar[int] = WorkingSet.default_max_steps

    def choose(self, problem: Problem) -> AbstractSolver:
        separable = isinstance(problem.penalty, AbstractSeparablePenalty)
        if separable and isinstance(problem.loss, AbstractQuadraticLoss):
            return _WORKING_SET
        return FISTA()

    def check(self, problem: Problem) -> None:
        self.choose(problem).check(problem)

    def run(
        self, problem: Problem, start: Iterate, tol: Float[Array, ""], max_steps: Int[Array, ""]
    ) -> tuple[Iterate, dict[str, Any]]:
        return self.choose(problem).run(problem, start, tol, max_steps)
