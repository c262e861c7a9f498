"""Variable projection for powers of coefficients, which are not convex."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..._certificate import Iterate, iterate_at, objective_at
from ..._dual import Dual
from ..._problem import Problem
from ...losses import Equality
from .._on_support import force_on_support, stationary_on_support
from ._minimise import AbstractOuterProblem, minimise
from ._ridge import WeightedRidge
from ._systems import AbstractSystem, Ridge, SystemName


class ConcaveRidge(AbstractOuterProblem):
    """A weighted ridge, judged by the stationary point that has the support it tends to."""

    ridge: WeightedRidge

    def project(self, v: Any, near: Any) -> Ridge:
        return self.ridge.project(v, near)

    def envelope(self, v: Any, projection: Ridge) -> Float[Array, ""]:
        return self.ridge.envelope(v, projection)

    def gap(self, projection: Ridge) -> Float[Array, ""]:
        """The KKT violation."""
        return self.iterate(projection).error

    def iterate(self, projection: Ridge) -> Iterate:
        """The stationary point."""
        size = jnp.abs(projection.coef)
        resting = size <= jnp.finfo(size.dtype).eps ** 0.5 * jnp.max(size)
        return stationary_without(self.ridge.problem, self.ridge.system, projection, resting)


def stationary_without(
    problem: Problem, system: AbstractSystem, ridge: Ridge, resting: Bool[Array, " p"]
) -> Iterate:
    """Exact zeros for what rests, and a stationary point with the support of the others."""
    if not isinstance(problem.loss, Equality):
        coef = jnp.where(resting, 0.0, ridge.coef)
        return iterate_at(problem, stationary_on_support(problem, coef))
    # On a support of independent columns there is one solution, whatever the weights.
    root = jnp.where(resting, 0.0, jnp.sqrt(jnp.abs(ridge.coef)))
    coef = system.solve(root, 0.0).coef
    assert ridge.residual is not None
    roots = jnp.sqrt(problem.loss.row_weights(problem.y))
    force = force_on_support(problem, coef, -roots * ridge.residual)
    return iterate_at(problem, coef, dual=Dual(force, None))


def solve_concave(
    problem: Problem,
    start: Iterate,
    tol: Float[Array, ""],
    max_steps: Int[Array, ""],
    system: SystemName,
    memory: int,
) -> tuple[Iterate, Int[Array, ""]]:
    """A local minimum, and the steps it took; the start where that is stationary and lower."""
    outer = ConcaveRidge(WeightedRidge(problem, system))
    first, begun = outer.ridge.first(start.coef), jnp.full_like(tol, jnp.inf)
    projection, steps = minimise(outer, first, begun, tol, max_steps, memory)
    found = outer.iterate(projection)
    before = objective_at(problem, start.coef, start.predictions)
    lower = before <= objective_at(problem, found.coef, found.predictions)
    kept = ((start.error <= tol) & lower) | ~jnp.isfinite(found.error)
    return jax.tree.map(lambda old, new: jnp.where(kept, old, new), start, found), steps
