"""The ℓ1 norm that touches a concave penalty from above."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._modules import replace
from .._problem import Problem
from ..penalties import L1


def touching_at(problem: Problem, coef: Float[Array, " p"]) -> Problem:
    """The problem with Σ h′(|coef_j|)·|w_j| in place of Σ h(|w_j|)."""
    weights = problem.penalty.slope(coef)
    return replace(problem, penalty=L1(jnp.ones((), weights.dtype), weights))
