"""Arguments of the public functions, checked and in the dtype of the problem."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._arrays import as_inexact, cast_floats
from ._checks import check_finite, is_concrete
from ._problem import Problem
from .solvers import AbstractSolver


def checked_problem(problem: Any) -> Problem:
    """The problem in one dtype, with finite strengths."""
    if not isinstance(problem, Problem):
        raise TypeError(f"`problem` must be a sparsejax.Problem; got {type(problem).__name__}.")
    return cast_floats(problem, problem.X.dtype)


def checked_solver(solver: Any, problem: Problem) -> AbstractSolver:
    """The solver that will do the work, known to support the problem."""
    if not isinstance(solver, AbstractSolver):
        raise TypeError(f"`solver` must be a sparsejax solver; got {solver!r}.")
    solver = solver.choose(problem)
    solver.check(problem)
    return solver


def checked_tol(tol: Any, dtype: Any) -> Any:
    """A positive tolerance that the dtype can reach.

    NumPy's where the number is known: dispatching to JAX would take as long as a small solve.
    """
    tol = np.asarray(tol) if isinstance(tol, float) else as_inexact(tol, "tol")
    if tol.ndim:
        raise ValueError(f"`tol` must be a scalar; got an array of shape {tol.shape}.")
    if is_concrete(tol) and not float(tol) >= 0:
        raise ValueError(f"`tol` must be nonnegative and not NaN; got {float(tol):g}.")
    maximum = np.maximum if isinstance(tol, np.ndarray) else jnp.maximum
    return maximum(tol, jnp.finfo(dtype).resolution).astype(dtype)


def checked_max_steps(max_steps: Any) -> Any:
    """The number of steps as an array, so that another one compiles nothing; −1 for None."""
    if max_steps is None:
        return np.asarray(-1)
    integer = isinstance(max_steps, int | np.integer) or (
        isinstance(max_steps, jax.Array) and jnp.issubdtype(max_steps.dtype, jnp.integer)
    )
    if not integer:
        raise TypeError(f"`max_steps` must be an integer; got {max_steps!r}.")
    if isinstance(max_steps, int | np.integer) and max_steps < 0:
        raise ValueError(f"`max_steps` must be nonnegative; got {max_steps}.")
    return np.asarray(max_steps) if isinstance(max_steps, int) else jnp.asarray(max_steps)


def checked_init(init: Any, problem: Problem, name: str = "init") -> Float[Array, "p ..."]:
    """Coefficients of the right shape and dtype."""
    init = as_inexact(init, name).astype(problem.X.dtype)
    if init.shape != problem.coef_shape:
        raise ValueError(f"`{name}` must have shape {problem.coef_shape}; got {init.shape}.")
    check_finite(name, init)
    return init
