"""Hard thresholding pursuit."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._certificate import Iterate, iterate_at
from .._problem import Problem
from ..penalties import Cardinality
from ._base import AbstractSolver
from ._fista import lipschitz_constant
from ._local_search import check_subsets
from ._subset import least_squares


class HardThresholdingPursuit(AbstractSolver):
    """Least squares on the k largest coefficients of a gradient step, again and again.

    Two steps are tried: the one that is best for the gradient on the current support, which leaps,
    and one over the largest eigenvalue of the Hessian, from which the loss cannot rise. The better
    of the two is taken, until neither lowers the loss. For least squares with ``Cardinality(k)``;
    a step of ``max_steps`` is one support. ``LocalSearch`` takes longer and ends no higher from
    where this ends.

    Examples
    --------
    >>> import numpy as np, sparsejax as sj
    >>> X, y, penalty = np.eye(3), np.array([1.0, -2.0, 3.0]), sj.penalties.Cardinality(2)
    >>> problem = sj.Problem(X, y, penalty=penalty)
    >>> sj.solve(problem, sj.solvers.HardThresholdingPursuit()).coef.round(3).tolist()
    [0.0, -2.0, 3.0]

    Notes
    -----
    Foucart (SIAM J. Numer. Anal. 2011); the first step is that of its normalised variant.
    """

    default_max_steps: ClassVar[int] = 1000

    def check(self, problem: Problem) -> None:
        check_subsets(self, problem, (Cardinality,))

    def run(
        self, problem: Problem, start: Iterate, tol: Float[Array, ""], max_steps: Int[Array, ""]
    ) -> tuple[Iterate, dict[str, Any]]:
        del tol  # it ends by itself, in a stationary point
        loss, y = problem.loss, problem.y
        k = min(problem.penalty.k, *problem.X.shape)
        safe = 1 / lipschitz_constant(problem, loss.curvature_bound(y))
        from_zero = -problem.X.rmatvec(loss.gradient(problem.predict_zero(), y))
        rounding = 10 * jnp.finfo(safe.dtype).eps

        def fit(target: Float[Array, " p"]) -> tuple[Array, Array]:
            """Least squares on the support of the k largest entries, and its loss."""
            index = jax.lax.top_k(jnp.abs(target), k)[1]
            found = least_squares(problem, index, from_zero).coef
            coef = jnp.zeros_like(target).at[index].set(found)
            return coef, loss.value(problem.predict(coef), y)

        def unfinished(state: _State) -> Bool[Array, ""]:
            return state.moving & (state.steps < max_steps)

        def step(state: _State) -> _State:
            predictions = problem.predict(state.coef)
            pull = -problem.X.rmatvec(loss.gradient(predictions, y))
            direction = jnp.where(state.coef != 0, pull, 0.0)
            direction = jnp.where(jnp.any(direction != 0), direction, problem.penalty.prox(pull, 1))
            leap = _best_step(problem, direction)
            sizes = jnp.stack([leap, safe])[:, None]
            coefs, values = jax.vmap(fit)(state.coef + sizes * pull)
            best = jnp.argmin(values)
            moving = values[best] < state.value - rounding * jnp.abs(state.value)
            coef = jnp.where(moving, coefs[best], state.coef)
            return _State(
                coef, jnp.where(moving, values[best], state.value), state.steps + 1, moving
            )

        value = loss.value(start.predictions, y)
        first = _State(start.coef, value, jnp.array(0), jnp.array(True))
        final = jax.lax.while_loop(unfinished, step, first)
        return iterate_at(problem, final.coef), {"num_steps": final.steps}


class _State(eqx.Module):
    coef: Float[Array, " p"]
    value: Float[Array, ""]
    steps: Int[Array, ""]
    moving: Bool[Array, ""]


def _best_step(problem: Problem, direction: Float[Array, " p"]) -> Float[Array, ""]:
    """‖d‖²/(dᵀ∇²f d)."""
    moved = problem.X.matvec(direction)
    curvature = jnp.sum(problem.loss.row_weights(problem.y) * moved**2)
    return jnp.sum(direction**2) / jnp.where(curvature > 0, curvature, 1.0)
