"""Hyperparameters by gradient descent through the solution."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from .._arguments import checked_problem
from .._problem import Problem
from .._solution import Solution
from .._solve import solve
from ..penalties import AbstractStrengthPenalty
from ._criteria import AbstractCriterion


class History(eqx.Module):
    """One row a step.

    Attributes
    ----------
    values
        (steps,) the criterion.
    parameters
        The tuned leaves, with a leading axis of ``steps``.
    """

    values: Float[Array, " steps"]
    parameters: Any


class Tuned(eqx.Module):
    """The outcome of ``tune``.

    Attributes
    ----------
    problem
        The problem with the best parameters met on the way.
    solution
        Its solution, at the full tolerance.
    history
        The criterion and the parameters at every step.
    """

    problem: Problem
    solution: Solution
    history: History


def tune(
    problem: Problem,
    criterion: AbstractCriterion,
    steps: int = 30,
    optimizer: optax.GradientTransformation | None = None,
    where: Callable[[Problem], Any] | None = None,
    tol: float = 1e-8,
) -> Tuned:
    """Minimise a criterion over positive parameters of a problem by its hypergradient.

    The parameters are moved on the logarithmic scale, so that they stay positive and a step means
    the same at any size. Every inner solve starts from the one before; all steps run in one
    compiled call. The best parameters met are returned, not the last.

    Parameters
    ----------
    problem
        Where to start: the values of the tuned leaves must be positive.
    criterion
        ``Holdout(X, y)``, ``KFold(k)`` or ``Folds(train, test)``.
    steps
        Evaluations of the criterion and its gradient.
    optimizer
        An Optax transformation; by default Adam on the logarithms, with a step that decays from
        0.5 to 0.02.
    where
        Picks the leaves to tune; the strength of the penalty by default.
    tol
        Tolerance of the inner solves.

    Returns
    -------
    Tuned
        The tuned problem, its solution and the history.

    Raises
    ------
    ValueError
        If ``steps`` is below one, or the folds do not fit the samples.
    TypeError
        If there is no strength to tune and ``where`` is not given.

    Examples
    --------
    >>> import numpy as np, sparsejax as sj
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(40, 5))
    >>> y = X[:, 0] + 0.1 * rng.normal(size=40)
    >>> problem = sj.Problem(X, y, penalty=sj.penalties.L1(0.5))
    >>> tuned = sj.bilevel.tune(problem, sj.bilevel.KFold(4), steps=20)
    >>> bool(tuned.problem.penalty.strength < 0.5)
    True
    """
    problem = checked_problem(problem)
    if not isinstance(criterion, AbstractCriterion):
        raise TypeError(f"`criterion` must be a sparsejax criterion; got {criterion!r}.")
    if steps < 1:
        raise ValueError(f"`steps` must be at least 1; got {steps}.")
    if where is None:
        if not isinstance(problem.penalty, AbstractStrengthPenalty):
            raise TypeError(
                f"{type(problem.penalty).__name__} has no strength: say with `where` what to tune."
            )
        where = _strength
    if optimizer is None:
        optimizer = optax.adam(optax.exponential_decay(0.5, steps, 0.04))
    best, history = _descend(problem, criterion, steps, optimizer, where, tol)
    tuned = eqx.tree_at(where, problem, best)
    return Tuned(tuned, solve(tuned, tol=tol), history)


def _strength(problem: Problem) -> Float[Array, ""]:
    return problem.penalty.strength


@eqx.filter_jit
def _descend(
    problem: Problem,
    criterion: AbstractCriterion,
    steps: int,
    optimizer: optax.GradientTransformation,
    where: Callable[[Problem], Any],
    tol: float,
) -> tuple[Any, History]:
    def evaluate(logs: Any, init: Array) -> tuple[Array, Array]:
        moved = eqx.tree_at(where, problem, jax.tree.map(jnp.exp, logs))
        return criterion.value(moved, init, tol)

    def step(carry: tuple, _: None) -> tuple[tuple, tuple]:
        logs, state, init, best_value, best = carry
        (value, init), gradient = jax.value_and_grad(evaluate, has_aux=True)(logs, init)
        # Past the largest useful strength the criterion is flat: no gradient, no step.
        gradient = jax.tree.map(lambda g: jnp.where(jnp.isfinite(g), g, 0.0), gradient)
        better = value < best_value
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), logs, best)
        updates, state = optimizer.update(gradient, state, logs)
        carry = (
            optax.apply_updates(logs, updates),
            state,
            init,
            jnp.minimum(value, best_value),
            best,
        )
        return carry, (value, logs)

    logs = jax.tree.map(jnp.log, where(problem))
    infinite = jnp.array(jnp.inf, problem.X.dtype)
    first = (logs, optimizer.init(logs), criterion.start(problem), infinite, logs)
    (*_, best), (values, visited) = jax.lax.scan(step, first, length=steps)
    return jax.tree.map(jnp.exp, best), History(values, jax.tree.map(jnp.exp, visited))
