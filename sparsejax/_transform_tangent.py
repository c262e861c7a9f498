"""Tangents of solutions whose penalty is a norm of a linear transform."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ._dual import Dual
from ._fixed_point import DENSE, solve_iteratively
from ._problem import Problem
from .designs import GridDifferences
from .designs._several import rmatvec
from .losses import AbstractSmoothLoss
from .penalties._analysis import Analysis
from .solvers._primal_dual_steps import step_sizes

_REFINEMENTS = 8


def has_transform_tangent(problem: Problem) -> bool:
    """Whether ``transform_tangent`` takes the problem."""
    penalty = problem.penalty
    if not isinstance(penalty, Analysis) or not isinstance(problem.loss, AbstractSmoothLoss):
        return False
    # The other way takes a proximal operator of the loss.
    small = penalty.operator.shape[1] <= DENSE or problem.loss.has_dual_on_ray
    return isinstance(penalty.operator, GridDifferences) or small


def transform_tangent(
    problem: Problem, coef: Float[Array, " p"], dual: Dual, problem_dot: Any
) -> Float[Array, " p"]:
    """The tangent of the solution ``coef`` for a tangent of the problem.

    Groups of rows of D whose force ζ is at its limit pull with strength·(Dw)_g/‖(Dw)_g‖, the others
    stay at zero: with I their rows, and A the derivative of ∇f + Dᵀ(forces that pull),

        A ẇ + D_Iᵀ ζ̇ = −∂θ(∇f + Dᵀζ) θ̇,    D_I ẇ = −(∂θ D_I θ̇) w.
    """
    assert dual.penalty is not None
    forces = jax.lax.stop_gradient(dual.penalty)
    moving = _moving(problem, coef, forces)

    def optimality(problem: Problem, coef: Float[Array, " p"]) -> tuple[Array, Array]:
        penalty = problem.penalty
        change = penalty.operator.matvec(coef)
        still = jnp.where(moving, 0.0, change)
        safe = jnp.where(moving, change, 1.0)
        pulling = penalty.strength * safe / penalty.spread(penalty.norms(safe))
        pulling = jnp.where(moving, pulling, forces)
        gradient = problem.loss.gradient(problem.predict(coef), problem.y)
        return rmatvec(problem.X, gradient) + penalty.operator.rmatvec(pulling), still

    explicit = lambda problem: optimality(problem, coef)  # noqa: E731
    _, (mismatch, opened) = eqx.filter_jvp(explicit, (problem,), (problem_dot,))
    # None is a tangent known to be zero before any number is seen.
    mismatch = jnp.zeros_like(coef) if mismatch is None else mismatch
    opened = jnp.zeros_like(forces) if opened is None else opened

    def move(direction: Float[Array, " p"]) -> Float[Array, " p"]:
        return jax.jvp(lambda w: optimality(problem, w)[0], (coef,), (direction,))[1]

    D = problem.penalty.operator
    if isinstance(D, GridDifferences):  # it has no parameters that could open what rests
        return _solve_on_regions(problem, coef, D, moving, move, -mismatch)
    return _solve_dense(D, moving, move, -mismatch, -opened)


def _moving(
    problem: Problem, coef: Float[Array, " p"], forces: Float[Array, " m"]
) -> Bool[Array, " m"]:
    """The rows of groups whose forces a step of ``PrimalDual`` would leave at their limit."""
    problem, coef = jax.lax.stop_gradient((problem, coef))
    penalty = problem.penalty
    weight, norms = step_sizes(problem)
    ahead = forces + weight / norms[1] * penalty.operator.matvec(coef)
    beyond = penalty.norms(ahead) > penalty.strength
    return penalty.spread(beyond | (penalty.strength == 0))


def _solve_dense(
    D: Any,
    moving: Bool[Array, " m"],
    move: Callable[[Float[Array, " p"]], Float[Array, " p"]],
    rhs: Float[Array, " p"],
    opening: Float[Array, " m"],
) -> Float[Array, " p"]:
    """ẇ of A ẇ + D_Iᵀ ζ̇ = rhs, D_I ẇ = opening, by the method of multipliers.

    A + ρ D_Iᵀ D_I is factorised for a ρ so large that a few corrections suffice. Forces along rows
    that depend on each other (loops of a grid) need not be unique for that.
    """
    identity = jnp.eye(rhs.size, dtype=rhs.dtype)
    resting = lambda w: jnp.where(moving, 0.0, D.matvec(w))  # noqa: E731
    matrix = jax.vmap(move, out_axes=1)(identity)
    square = jax.vmap(lambda e: D.rmatvec(resting(e)), out_axes=1)(identity)
    eps = jnp.finfo(rhs.dtype).eps
    size, other = (jnp.max(jnp.abs(jnp.diagonal(m))) for m in (matrix, square))
    size = jnp.where(size > 0, size, 1.0)
    rho = size / jnp.where(other > 0, other, 1.0) / jnp.sqrt(eps)
    stiff = matrix + rho * square + rhs.size * eps * size * identity
    factor = jax.scipy.linalg.cho_factor(stiff, lower=True)

    def refine(state: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], None]:
        tangent, forces = state
        left = rhs - matrix @ tangent - D.rmatvec(forces)
        open_ = opening - resting(tangent)
        step = jax.scipy.linalg.cho_solve(factor, left + rho * D.rmatvec(open_))
        return (tangent + step, forces + rho * (resting(step) - open_)), None

    start = jnp.zeros_like(rhs), jnp.zeros_like(opening)
    return jax.lax.scan(refine, start, length=_REFINEMENTS)[0][0]


def _solve_on_regions(
    problem: Problem,
    coef: Float[Array, " p"],
    D: GridDifferences,
    moving: Bool[Array, " m"],
    move: Callable[[Float[Array, " p"]], Float[Array, " p"]],
    rhs: Float[Array, " p"],
) -> Float[Array, " p"]:
    """ẇ of A ẇ + D_Iᵀ ζ̇ = rhs, D_I ẇ = 0: one number for each region of a flat picture.

    On these PᵀAP is solved with by conjugate gradients, P spreading the numbers over the cells.
    """
    labels = regions(D, ~moving)
    gather = lambda cells: jnp.zeros_like(cells).at[labels].add(cells)  # noqa: E731
    scale = 1 / jnp.sqrt(_diagonal(problem, coef, moving, gather))
    multiply = lambda x: scale * gather(move((scale * x)[labels]))  # noqa: E731
    return (scale * solve_iteratively(multiply, scale * gather(rhs), symmetric=True))[labels]


def _diagonal(
    problem: Problem,
    coef: Float[Array, " p"],
    moving: Bool[Array, " m"],
    gather: Callable[[Float[Array, " p"]], Float[Array, " p"]],
) -> Float[Array, " p"]:
    """About that of PᵀAP; one where there is nothing."""
    problem, coef = jax.lax.stop_gradient((problem, coef))
    penalty = problem.penalty
    change = jnp.where(moving, penalty.operator.matvec(coef), 1.0)
    norms = penalty.spread(penalty.norms(change))
    bending = penalty.strength / norms * (1 - (change / norms) ** 2)
    curvature = problem.loss.curvature(problem.predict(coef), problem.y)
    cells = problem.X.square_norms(curvature)
    cells += penalty.operator.square_norms(jnp.where(moving, bending, 0.0))
    found = gather(cells)
    return jnp.where(found > 0, found, 1.0)


def regions(D: GridDifferences, linked: Bool[Array, " m"]) -> Int[Array, " p"]:
    """For every cell of the grid, the first of those it is linked with, directly or through others.

    Both ends of a link take the lower label, as do the cells that they are labelled by, and labels
    are followed once; until nothing changes, which takes about log(p) rounds.
    """
    first, second = D.ends()
    cells = jnp.arange(D.shape[1])

    def lower(state: tuple[Array, Array]) -> tuple[Array, Array]:
        labels, _ = state
        a, b = labels[first], labels[second]
        low = jnp.where(linked, jnp.minimum(a, b), cells.size)
        new = labels.at[a].min(low).at[b].min(low)
        new = new[new]
        return new, jnp.any(new != labels)

    return jax.lax.while_loop(lambda state: state[1], lower, (cells, jnp.array(True)))[0]
