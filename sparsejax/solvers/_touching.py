"""The convex problem that touches another from above."""

from jaxtyping import Array, Float

from .._modules import replace
from .._problem import Problem


def touching_at(problem: Problem, coef: Float[Array, " p"]) -> Problem:
    """The problem with the convex penalty that touches its own at ``coef``."""
    return replace(problem, penalty=problem.penalty.touching(coef))
