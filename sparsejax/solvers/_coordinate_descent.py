"""Cyclic coordinate descent with Anderson extrapolation."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._certificate import Iterate, iterate_at, objective_at
from .._dual import generic_solver
from .._problem import Problem
from ..losses import AbstractQuadraticLoss
from ..penalties import AbstractGroupSeparablePenalty, AbstractSeparablePenalty
from ._base import AbstractSolver, check_one_target, unfinished_at

BLOCK = 32


class CoordinateDescent(AbstractSolver):
    """Exact minimisation over one coefficient after the other, all of them in turn.

    Coordinates are visited in blocks whose small Gram matrix is formed on the way, so that any
    design will do: within a block the pull is updated in O(block), between blocks through the
    predictions. Every ``memory`` epochs the last iterates are extrapolated, and the result kept
    if it lowers the objective. A step of ``max_steps`` is one epoch.

    Parameters
    ----------
    memory
        Epochs between two extrapolations and certificates.

    Notes
    -----
    Bertrand & Massias, Anderson acceleration of coordinate descent (AISTATS 2021).
    """

    memory: int = eqx.field(default=5, static=True)

    default_max_steps: ClassVar[int] = 10_000

    def check(self, problem: Problem) -> None:
        if not isinstance(problem.loss, AbstractQuadraticLoss):
            name = type(problem.loss).__name__
            raise TypeError(
                f"CoordinateDescent does not support {name}: use {generic_solver(problem)}."
            )
        if not isinstance(problem.penalty, AbstractSeparablePenalty):
            name = type(problem.penalty).__name__
            raise TypeError(
                f"CoordinateDescent does not support {name}: use {generic_solver(problem)}."
            )
        check_one_target(self, problem)

    def run(
        self, problem: Problem, start: Iterate, tol: Float[Array, ""], max_steps: Int[Array, ""]
    ) -> tuple[Iterate, dict[str, Any]]:
        def unfinished(state: tuple[Iterate, Array]) -> Bool[Array, ""]:
            iterate, steps = state
            return unfinished_at(problem, iterate, tol, steps) & (steps < max_steps)

        def round_of_epochs(state: tuple[Iterate, Array]) -> tuple[Iterate, Array]:
            iterate, steps = state

            def epoch(coef: Float[Array, " p"], _: None) -> tuple[Array, Array]:
                coef = _epoch(problem, coef)
                return coef, coef

            coef, history = jax.lax.scan(epoch, iterate.coef, length=self.memory)
            history = jnp.concatenate([iterate.coef[None], history])
            guess = extrapolation_weights(jnp.diff(history, axis=0)) @ history[1:]
            better = _objective(problem, guess) < _objective(problem, coef)
            return iterate_at(problem, jnp.where(better, guess, coef)), steps + self.memory

        iterate, steps = jax.lax.while_loop(unfinished, round_of_epochs, (start, jnp.array(0)))
        return iterate, {"num_steps": steps}


def _objective(problem: Problem, coef: Float[Array, " p"]) -> Float[Array, ""]:
    return objective_at(problem, coef, problem.predict(coef))


def _epoch(problem: Problem, coef: Float[Array, " p"]) -> Float[Array, " p"]:
    p = coef.shape[0]

    def block(i: Int[Array, ""], state: tuple[Array, Array]) -> tuple[Array, Array]:
        coef, predictions = state
        index = i * BLOCK + jnp.arange(BLOCK)
        columns = problem.X.columns(index)
        gram = problem.loss.gram(columns, columns, problem.y)
        pull = -columns @ problem.loss.gradient(predictions, problem.y)
        before = coef.at[index].get(mode="fill", fill_value=0.0)
        change = sweep_block(problem.penalty.restrict(index), gram, pull, before)
        predictions = predictions + change @ columns
        return coef.at[index].set(before + change, mode="drop"), predictions

    start = (coef, problem.X.matvec(coef))
    return jax.lax.fori_loop(0, -(-p // BLOCK), block, start)[0]


def sweep_block(
    penalty: AbstractGroupSeparablePenalty,
    gram: Float[Array, "b b"],
    pull: Float[Array, "b ..."],
    coef: Float[Array, "b ..."],
) -> Float[Array, "b ..."]:
    """How far one pass over the rows of a block moves them."""
    curvature = jnp.diagonal(gram)
    steps = 1 / jnp.where(curvature > 0, curvature, 1.0)

    def visit(j: Int[Array, ""], change: Float[Array, "b ..."]) -> Float[Array, "b ..."]:
        # Rows yet to be visited have not moved: what the others pull is one product.
        now = pull[j] - gram[j] @ change
        moved = penalty.restrict(j[None]).prox((coef[j] + steps[j] * now)[None], steps[j])
        return change.at[j].set(moved[0] - coef[j])

    return jax.lax.fori_loop(0, coef.shape[0], visit, jnp.zeros_like(coef))


def extrapolation_weights(steps: Float[Array, "m p ..."]) -> Float[Array, " m"]:
    """Of the last iterates, each a step from the one before: they combine to the shortest step."""
    steps = steps.reshape(steps.shape[0], -1)
    products = steps @ steps.T
    trace, size = jnp.trace(products), products.shape[0]
    unit = products / jnp.where(trace > 0, trace, 1.0)  # a fixed point has no steps
    ridge = 1e-10 * jnp.eye(size, dtype=products.dtype)
    weights = jnp.linalg.solve(unit + ridge, jnp.ones(size, products.dtype))
    return weights / jnp.sum(weights)
