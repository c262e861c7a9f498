"""Variable projection for powers of coefficients, which are not convex."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..._certificate import Iterate, iterate_at, objective_at
from ..._dual import Dual
from ..._modules import select
from ..._problem import Problem
from ...designs._several import matvec, rmatvec
from ...losses import Equality
from ...penalties._base import per_row
from .._on_support import force_on_support, stationary_on_support
from ._minimise import AbstractOuterProblem, minimise
from ._ridge import WeightedRidge
from ._systems import AbstractSystem, Ridge, SystemName

_SHRINK = 0.3  # of ε, once the coefficients rest relative to it
_WARM = 0.1  # the first ε of a warm start, relative to the largest coefficient
_SETTLED = 0.1  # by how much of ε the best weights would still move the coefficients
_STEPS = 30  # of L-BFGS at one ε
RESTING = 100  # times ε: a coefficient at rest is smaller, unless its pull is within 5e-5 of slope


class SmoothedRidge(AbstractOuterProblem):
    """f(v) = min over w of a weighted ridge + ε² Σ_j 1/(2 W_j(v)): w² + ε² takes the place of w².

    Its minimum over v is the loss plus Σ h(√(w² + ε²)). No weight tends to zero, from where it
    would never return.
    """

    ridge: WeightedRidge
    epsilon: Float[Array, ""]

    def project(self, v: Any, near: Any) -> Ridge:
        ridge = self.ridge.project(v, near)
        return eqx.tree_at(lambda r: r.value, ridge, ridge.value + self._barrier(v))

    def envelope(self, v: Any, projection: Ridge) -> Float[Array, ""]:
        return self.ridge.envelope(v, projection) + self._barrier(v)

    def gap(self, projection: Ridge) -> Float[Array, ""]:
        """How far the best weights of the coefficients would move them, relative to ε."""
        moved = self.at(projection.coef).coef - projection.coef
        return jnp.max(jnp.abs(moved)) / self.epsilon

    def at(self, coef: Float[Array, " p"]) -> Ridge:
        """The ridge with the best weights of some coefficients."""
        return self.ridge.project(self.best(coef), None)

    def best(self, coef: Float[Array, " p"]) -> Any:
        """The v of the minimum over v."""
        level = self.ridge.problem.loss.first_level(self.ridge.problem.y)
        return self.ridge.form.best(jnp.sqrt(coef**2 + self.epsilon**2)), level

    def _barrier(self, v: Any) -> Float[Array, ""]:
        return jnp.sum((self.epsilon / self.ridge.form.root(v[0])) ** 2) / 2


def stationary_without(
    problem: Problem, system: AbstractSystem, ridge: Ridge, resting: Bool[Array, " p"]
) -> Iterate:
    """Exact zeros for what rests, and a stationary point with the support of the others.

    Where targets cannot be met without what seems to rest, as many coefficients stay as there are
    targets: one at the end of its way to zero may be as small as one that rests.
    """
    if not isinstance(problem.loss, Equality):
        coef = jnp.where(resting, 0.0, ridge.coef)
        return iterate_at(problem, stationary_on_support(problem, coef))
    smaller = jnp.argsort(jnp.argsort(-jnp.abs(ridge.coef))) >= problem.X.shape[0]
    supports = jnp.stack([resting, smaller])
    found = jax.lax.map(lambda zero: _vertex(problem, system, ridge, zero), supports)
    few, many = found.error
    choice = jnp.where(few <= jnp.maximum(many, jnp.finfo(few.dtype).eps ** 0.75), 0, 1)
    return jax.tree.map(lambda both: both[choice], found)


def _vertex(
    problem: Problem, system: AbstractSystem, ridge: Ridge, zero: Bool[Array, " p"]
) -> Iterate:
    """The solution of Xw = y with these zeros, of independent columns whatever the weights."""
    root = jnp.where(zero, 0.0, jnp.sqrt(jnp.abs(ridge.coef)))
    coef = system.solve(root, 0.0).coef
    assert ridge.residual is not None
    roots = jnp.sqrt(problem.loss.row_weights(problem.y))
    force = force_on_support(problem, coef, -roots * ridge.residual)
    return iterate_at(problem, coef, dual=Dual(force, None))


def continuation_start(
    problem: Problem, start: Float[Array, "p ..."]
) -> tuple[Float[Array, "p ..."], Float[Array, ""], Float[Array, ""]]:
    """The coefficients to begin at, the size of the largest, and the first ε."""
    warm = jnp.any(start != 0)
    coef = jnp.where(warm, start, _first_guess(problem))
    size = jnp.max(jnp.abs(coef))
    size = jnp.where(size > 0, size, 1.0)
    return coef, size, jnp.where(warm, _WARM, 1.0) * size


def _first_guess(problem: Problem) -> Float[Array, "p ..."]:
    """The best step from zero along the gradient of least squares: only its size matters."""
    factors = per_row(problem.loss.row_weights(problem.y), problem.y)
    pull = rmatvec(problem.X, factors * (problem.y - problem.predict_zero()))
    moved = matvec(problem.X, pull)
    curvature = jnp.sum(factors * moved**2)
    return pull * jnp.sum(pull**2) / jnp.where(curvature > 0, curvature, 1.0)


def solve_concave(
    problem: Problem,
    start: Iterate,
    tol: Float[Array, ""],
    max_steps: Int[Array, ""],
    system: SystemName,
    memory: int,
) -> tuple[Iterate, Int[Array, ""]]:
    """A local minimum, and the steps it took; the start where that is stationary and lower."""
    ridge = WeightedRidge(problem, system)
    first, size, widest = continuation_start(problem, start.coef)
    last = jnp.finfo(size.dtype).eps ** 0.5 * size
    zero, settled = jnp.array(0), jnp.array(_SETTLED, size.dtype)

    def unfinished(state: tuple[Array, Array, Array]) -> Bool[Array, ""]:
        _, epsilon, steps = state
        return (epsilon > last) & (steps < max_steps)

    def narrow(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        coef, epsilon, steps = state
        outer = SmoothedRidge(ridge, epsilon)
        limit = jnp.minimum(_STEPS, max_steps - steps)
        far = jnp.full_like(settled, jnp.inf)
        found, taken = minimise(outer, outer.best(coef), far, settled, limit, memory)
        return found.coef, _SHRINK * epsilon, steps + taken

    coef, epsilon, steps = jax.lax.while_loop(unfinished, narrow, (first, widest, zero))
    ended = SmoothedRidge(ridge, epsilon).at(coef)
    resting = jnp.abs(ended.coef) <= RESTING * epsilon
    found = stationary_without(problem, ridge.system, ended, resting)
    before = objective_at(problem, start.coef, start.predictions)
    lower = before <= objective_at(problem, found.coef, found.predictions)
    kept = ((start.error <= tol) & lower) | ~jnp.isfinite(found.error)
    return select(kept, start, found), steps
