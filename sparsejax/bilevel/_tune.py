"""Hyperparameters by gradient descent through the solution."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from .._arguments import checked_problem
from .._checks import check_integer, is_concrete
from .._modules import select
from .._problem import Problem
from .._solution import Solution
from .._solve import solve
from ..penalties import AbstractStrengthPenalty
from ._bracket_steps import bracket_steps
from ._criteria import AbstractCriterion
from ._trust_steps import trust_steps

# One object each, so that tuning again compiles nothing. A percent is enough of many logarithms.
_OF_ONE, _OF_LOGARITHMS, _OF_OTHERS = (
    bracket_steps(),
    trust_steps(shortest=1e-2),
    trust_steps(shortest=1e-3),
)


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
    positive: bool = True,
    callback: Callable[[int, float, Any], None] | None = None,
) -> Tuned:
    """Minimise a criterion over parameters of a problem by its hypergradient.

    Positive parameters are moved on the logarithmic scale, so that they stay positive and a step
    means the same at any size. Every inner solve starts from the one before; all steps run in one
    compiled call. The best parameters met are returned, not the last. Where the criterion is flat,
    as it is at strengths so large that no coefficient is left, all parameters go down. Once the
    optimizer has no further step to take, the criterion is not evaluated again: the history stays
    as it is. This is a descent: the criterion may have a lower minimum further away.

    Parameters
    ----------
    problem
        Where to start.
    criterion
        ``Holdout(X, y)``, ``KFold(k)``, ``Folds(train, test)`` or ``SURE(sigma)``.
    steps
        Evaluations of the criterion and its gradient at most.
    optimizer
        An Optax transformation of the logarithms; by default ``bracket_steps()`` of one parameter
        and ``trust_steps(shortest=0.01)`` of several, or ``trust_steps(shortest=0.001)`` of leaves
        that are not positive. Updates that are all zero end the descent.
    where
        Picks the leaves to tune: one strength (that of the penalty, by default), one for every
        feature, sample weights, or whatever else is in the problem.
    tol
        Tolerance of the inner solves.
    positive
        Whether the leaves are positive; if not, they are moved as they are.
    callback
        Called with the step, the criterion and the parameters after every evaluation, to show
        progress. Another function compiles the descent anew.

    Returns
    -------
    Tuned
        The tuned problem, its solution and the history.

    Raises
    ------
    ValueError
        If ``steps`` is below one, the folds do not fit the samples, or a leaf that is told to be
        positive is not.
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

    Notes
    -----
    A linear transform of X can be learned like any other leaf: with ``T = lx.MatrixLinearOperator``
    of an initial matrix, ``Problem(lx.MatrixLinearOperator(X) @ T, ...)`` is X·T, whose matrix is
    ``where=lambda problem: problem.X.operator.operator2.matrix``; products and sums of operators
    make it of low rank. It needs ``positive=False``, and ``KFold`` or ``Folds``: ``Holdout`` has an
    X of its own, which is not transformed. Columns cost a product each.
    """
    problem = checked_problem(problem)
    if not isinstance(criterion, AbstractCriterion):
        raise TypeError(f"`criterion` must be a sparsejax criterion; got {criterion!r}.")
    criterion = criterion.checked(problem)
    check_integer("steps", steps)
    if where is None:
        if not isinstance(problem.penalty, AbstractStrengthPenalty):
            raise TypeError(
                f"{type(problem.penalty).__name__} has no strength: say with `where` what to tune."
            )
        where = _strength
    if positive:
        _check_positive(where(problem))
    if optimizer is None:
        optimizer = _default_optimizer(where(problem), positive)
    best, history = _descend(problem, criterion, steps, optimizer, where, tol, positive, callback)
    tuned = eqx.tree_at(where, problem, best)
    solution = solve(tuned, tol=tol)
    if callback is not None:
        jax.effects_barrier()  # so that all calls have been made
    return Tuned(tuned, solution, history)


def _default_optimizer(leaves: Any, positive: bool) -> optax.GradientTransformation:
    if not positive:
        return _OF_OTHERS
    return _OF_ONE if optax.tree.size(leaves) == 1 else _OF_LOGARITHMS


def _strength(problem: Problem) -> Float[Array, ""]:
    return problem.penalty.strength


def _check_positive(leaves: Any) -> None:
    for leaf in jax.tree.leaves(leaves):
        if is_concrete(leaf) and not bool(jnp.all(leaf > 0)):
            raise ValueError(
                "`where` picks a leaf that is not positive everywhere, and so has no logarithm: "
                "start from positive values, or pass `positive=False`."
            )


class _State(eqx.Module):
    """Where the descent stands; ``params`` are those to be evaluated next."""

    params: Any
    optimizer: Any
    init: Array  # of the inner solves
    best_value: Float[Array, ""]
    best: Any
    settled: Bool[Array, ""]


@eqx.filter_jit
def _descend(
    problem: Problem,
    criterion: AbstractCriterion,
    steps: int,
    optimizer: optax.GradientTransformation,
    where: Callable[[Problem], Any],
    tol: float,
    positive: bool,
    callback: Callable[[int, float, Any], None] | None,
) -> tuple[Any, History]:
    transform = optax.with_extra_args_support(optimizer)
    outward = jnp.exp if positive else lambda leaf: leaf

    def evaluate(params: Any, init: Array) -> tuple[Array, Array]:
        moved = eqx.tree_at(where, problem, jax.tree.map(outward, params))
        return criterion.value(moved, init, tol)

    def differentiate(params: Any, init: Array) -> tuple[Array, Any, Array, Array | None]:
        """Forward for one parameter, which tells for no more how the coefficients change."""
        if optax.tree.size(params) > 1:
            (value, coefs), gradient = jax.value_and_grad(evaluate, has_aux=True)(params, init)
            return value, gradient, coefs, None
        ones = optax.tree.ones_like(params)
        (value, coefs), (slope, change) = jax.jvp(lambda p: evaluate(p, init), (params,), (ones,))
        return value, optax.tree.scale(slope, ones), coefs, change

    def ahead(coefs: Array, change: Array | None, updates: Any) -> Array:
        """Where the coefficients are to be after a step: their path is straight, or nearly so."""
        if change is None:
            return coefs
        (step,) = jax.tree.leaves(updates)
        step = (jnp.expm1(step) if positive else step).reshape(())
        return coefs + jnp.where(jnp.isfinite(change), change, 0.0) * step

    def descend(state: _State, count: Int[Array, ""]) -> tuple[_State, tuple[Array, Any]]:
        params = state.params
        value, gradient, coefs, change = differentiate(params, state.init)
        if callback is not None:
            jax.debug.callback(callback, count, value, jax.tree.map(outward, params))
        gradient = jax.tree.map(lambda g: jnp.where(jnp.isfinite(g), g, 0.0), gradient)
        if positive:
            gradient = _downhill(gradient)
        updates, inner = transform.update(gradient, state.optimizer, params, value=value)
        better = value < state.best_value
        best = select(better, params, state.best)
        least = jnp.minimum(value, state.best_value)
        settled = optax.tree.norm(updates, ord=jnp.inf) == 0
        moved = optax.apply_updates(params, updates)
        init = ahead(coefs, change, updates)
        return _State(moved, inner, init, least, best, settled), (value, params)

    def stay(state: _State, _: Int[Array, ""]) -> tuple[_State, tuple[Array, Any]]:
        return state, (state.best_value, state.best)

    def step(state: _State, count: Int[Array, ""]) -> tuple[_State, tuple[Array, Any]]:
        return jax.lax.cond(state.settled, stay, descend, state, count)

    params = jax.tree.map(jnp.log, where(problem)) if positive else where(problem)
    first = _State(
        params,
        transform.init(params),
        criterion.start(problem),
        jnp.array(jnp.inf, problem.X.dtype),
        params,
        jnp.array(False),
    )
    final, (values, visited) = jax.lax.scan(step, first, jnp.arange(steps))
    return jax.tree.map(outward, final.best), History(values, jax.tree.map(outward, visited))


def _downhill(gradient: Any) -> Any:
    """The gradient, or all ones where it vanishes: a flat criterion has lost every coefficient."""
    flat = jnp.all(jnp.array([jnp.all(g == 0) for g in jax.tree.leaves(gradient)]))
    return jax.tree.map(lambda g: jnp.where(flat, 1.0, g), gradient)
