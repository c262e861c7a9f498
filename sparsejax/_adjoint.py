"""Derivatives of solutions."""

import abc
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float

from ._dual import Dual, needs_dual
from ._fixed_point import fixed_point_tangent, proximal_step
from ._problem import Problem
from ._saddle_tangent import saddle_tangent
from ._support_tangent import fit_tangent, support_tangent
from ._transform_tangent import has_transform_tangent, transform_tangent
from .losses import Equality
from .penalties import AbstractConcavePenalty, AbstractNewtonPenalty, Cardinality
from .solvers import AbstractSolver
from .solvers._fista import lipschitz_constant


class AbstractAdjoint(eqx.Module):
    """How a solve is differentiated."""

    @abc.abstractmethod
    def coef(
        self,
        problem: Problem,
        solver: AbstractSolver,
        found: Float[Array, "p ..."],
        dual: Dual | None,
    ) -> Float[Array, "p ..."]:
        """What the solver found, constants, as a differentiable function of the problem."""


class Implicit(AbstractAdjoint):
    """The implicit function theorem on the generalised support.

    For penalties that are sums over coefficients or groups of them: off the support S the
    solution is locally constant (or pinned to a bound); on it the optimality condition
    X_Sᵀ∇f(X_S w_S) + ∇g_S(w_S) = 0 is differentiated. One linear solve of the size of the support
    gives the derivative with respect to strengths, weights, bounds, ratios, sample weights, X, y
    and offsets, in forward and reverse mode and to any order, at a cost that does not depend on
    how the solution was found. Where a coefficient is just about to enter or leave the support,
    this is the derivative from one side.

    For others, and for several targets, the fixed point w = prox(w − t∇f(w)) is differentiated:
    one linear solve with the derivative of the proximal operator. For ``Analysis`` the rows of D
    whose forces are below their limit stay at zero: on a grid these make regions of one value.
    Where the loss has no gradient, or D is of another kind and has more than 2048 columns, it is
    the fixed point (w, u) of a step of ``PrimalDual``.

    Notes
    -----
    Bertrand et al. (ICML 2020; JMLR 2022). Duplicate columns in the support make the derivative
    ambiguous; then it is the one of a ridge at the size of rounding.
    """

    def coef(
        self,
        problem: Problem,
        solver: AbstractSolver,
        found: Float[Array, "p ..."],
        dual: Dual | None,
    ) -> Float[Array, "p ..."]:
        return _implicit_coef(problem, (solver, found, dual))


class Unrolled(AbstractAdjoint):
    """Differentiates proximal-gradient steps begun at the solution.

    Every step moves the derivative nearer to that of ``Implicit()``, at the rate at which the
    method would converge. It asks for nothing but a proximal operator and a gradient; its memory
    in reverse mode grows with the number of steps.

    Parameters
    ----------
    num_steps
        How many.

    Notes
    -----
    Bolte, Pauwels & Vaiter, One-step differentiation of iterative algorithms (NeurIPS 2023).
    """

    num_steps: int = eqx.field(default=100, static=True)

    def __check_init__(self) -> None:
        if self.num_steps < 1:
            raise ValueError(f"`num_steps` must be at least 1; got {self.num_steps}.")

    def coef(
        self,
        problem: Problem,
        solver: AbstractSolver,
        found: Float[Array, "p ..."],
        dual: Dual | None,
    ) -> Float[Array, "p ..."]:
        if needs_dual(problem):
            raise TypeError(
                "Unrolled() needs a loss with a gradient and a penalty with a proximal operator: "
                f"{type(problem.loss).__name__} and {type(problem.penalty).__name__} are "
                "differentiated by Implicit()."
            )
        solver.check_differentiable()
        size = _step_at(jax.lax.stop_gradient(problem), found)

        def step(coef: Float[Array, "p ..."], _: None) -> tuple[Float[Array, "p ..."], None]:
            return proximal_step(problem, coef, size), None

        moved, _ = jax.lax.scan(step, found, length=self.num_steps)
        # The value is the solver's to the last digit; only the derivative is that of the steps.
        return found + (moved - jax.lax.stop_gradient(moved))


@eqx.filter_custom_jvp
def _implicit_coef(
    problem: Problem, how: tuple[AbstractSolver, Float[Array, "p ..."], Dual | None]
) -> Float[Array, "p ..."]:
    del problem
    return how[1]


@_implicit_coef.def_jvp
def _implicit_coef_jvp(primals: Any, tangents: Any) -> Any:
    problem, (solver, found, dual) = primals
    solver.check_differentiable()
    coef = _implicit_coef(problem, (solver, found, dual))
    return coef, _coef_tangent(problem, coef, dual, tangents[0])


def _coef_tangent(
    problem: Problem, coef: Float[Array, "p ..."], dual: Dual | None, problem_dot: Any
) -> Float[Array, "p ..."]:
    concave = isinstance(problem.penalty, AbstractConcavePenalty)
    if isinstance(problem.penalty, Cardinality) or (concave and isinstance(problem.loss, Equality)):
        return fit_tangent(problem, coef, problem_dot)
    if dual is not None:
        tangent = transform_tangent if has_transform_tangent(problem) else saddle_tangent
        return tangent(problem, coef, dual, problem_dot)
    if isinstance(problem.penalty, AbstractNewtonPenalty) and coef.ndim == 1:
        return support_tangent(problem, coef, problem_dot)
    return fixed_point_tangent(problem, coef, problem_dot, _step_at(problem, coef))


def _step_at(problem: Problem, coef: Float[Array, "p ..."]) -> Float[Array, ""]:
    """Of a proximal-gradient step near ``coef``: the curvature elsewhere may have no bound."""
    curvature = problem.loss.curvature(problem.predict(coef), problem.y)
    return 1 / lipschitz_constant(problem, curvature)
