"""All features at once, for supports that no working set holds."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._certificate import Iterate
from .._problem import Problem
from ._fista import FISTA

_FISTA = FISTA(check_every=50)
_ITERATIONS = 1000  # of its, at the most, count as a step


def on_all_features(
    problem: Problem, start: Iterate, tol: Float[Array, ""], max_steps: Int[Array, ""]
) -> tuple[Iterate, Int[Array, ""], Int[Array, ""]]:
    """Where FISTA gets from ``start``, in how many steps of a working set, and iterations."""
    most = jnp.iinfo(max_steps.dtype).max // _ITERATIONS
    found, stats = _FISTA.run(problem, start, tol, _ITERATIONS * jnp.minimum(max_steps, most))
    iterations = stats["num_steps"]
    return found, -(-iterations // _ITERATIONS), iterations
