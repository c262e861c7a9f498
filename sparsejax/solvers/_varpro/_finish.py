"""Exact zeros, which variable projection only tends to."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._certificate import Iterate, iterate_at
from ..._modules import select
from ...losses import Equality
from ...penalties import AbstractVariationalPenalty
from ...penalties._base import per_row
from ...penalties._groups import row_norms
from ._ridge import WeightedRidge
from ._smooth import SmoothRidge

_RESTING = 0.99  # of the force that moves a coefficient: below it, the coefficient is zero


def without_resting(
    penalty: AbstractVariationalPenalty, coef: Float[Array, "p ..."], pull: Float[Array, "p ..."]
) -> Float[Array, "p ..."]:
    """Without what the KKT conditions say is zero, a pull that moves nothing, and without rounding.

    Of a group that moves, single coefficients may still tend to zero.
    """
    sizes = row_norms(coef)
    resting = penalty.saturation(jnp.zeros_like(coef), pull) < _RESTING
    resting |= sizes <= jnp.finfo(coef.dtype).eps ** 0.75 * jnp.max(sizes)
    return jnp.where(per_row(resting, coef), 0.0, coef)


def sparsified(
    outer: WeightedRidge | SmoothRidge, iterate: Iterate, tol: Float[Array, ""]
) -> Iterate:
    """With exact zeros, and for interpolation the solution on the support, if that is no worse."""
    problem = outer.problem
    coef = without_resting(problem.penalty, iterate.coef, iterate.pull)
    if isinstance(outer, WeightedRidge) and isinstance(problem.loss, Equality):
        # On a support of independent columns there is one solution, whatever the weights.
        coef = outer.system.solve(jnp.sqrt(row_norms(coef)), 0.0).coef
    sparse = iterate_at(problem, coef, dual=iterate.dual)
    kept = sparse.gap <= jnp.maximum(iterate.gap, tol)
    return select(kept, sparse, iterate)
