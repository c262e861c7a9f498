"""Variable projection: the Lasso as a smooth problem."""

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import optax
from jaxtyping import Array, Bool, Float, Int

from .._certificate import Iterate, iterate_at
from .._problem import Problem
from ..designs import Dense
from ..losses import AbstractQuadraticLoss
from ..penalties import AbstractVariationalPenalty
from ..penalties._block_matrix import BlockMatrix
from ._base import AbstractSolver, check_convex, check_one_target
from ._gram import AbstractGramSolver, GramProblem
from ._semismooth_newton import SemismoothNewton
from ._working_set import WorkingSet

_SUPPORTED = "use WorkingSet(), FISTA() or CoordinateDescent()"
_FINISH = 1e-6  # relative gap at which the support is taken as found


class _Projection(eqx.Module):
    """What the inner solve at v gives."""

    value: Float[Array, ""]
    coef: Float[Array, " p"]
    pull: Float[Array, " p"]


class VarPro(AbstractSolver, AbstractGramSolver):
    """Smooth bilevel programming: min over v of f(v) = min over u of a ridge regression.

    With slopes λ_j and ridge κ_j, λ|β| = min over v of (λβ²/v² + λv²)/2. For fixed v the problem
    is a weighted ridge with W = v²/(λ + κv²), and with A = diag(√h) X, M = I + A diag(W) Aᵀ,
    ξ = −AᵀM⁻¹√h y:

        f(v) = Σ λ v²/2 + yᵀ√h M⁻¹ √h y/2,   ∇f = λ v (1 − ξ²/(λ + κv²)²),   β = −W ξ.

    f is smooth with no spurious minima. It is minimised by L-BFGS; the gradient is the envelope
    formula above, never the derivative of the inner solve. The iterates β have no exact zeros:
    once the gap is small, the support is read off the KKT conditions and solved on exactly.

    As a solver this is the method of the paper on all features; ``WorkingSet(inner=VarPro())``
    restricts it to a certified working set.

    Parameters
    ----------
    inner
        The ridge's linear system: "primal" (p×p), "dual" (n×n), "cg" (products only), or "auto":
        the smaller of the first two for dense designs, "cg" for others.
    memory
        Pairs kept by L-BFGS.
    finish
        Whether to solve exactly on the support at the end.

    Notes
    -----
    Poon & Peyré, Smooth bilevel programming for sparse regularization (NeurIPS 2021).
    """

    inner: Literal["auto", "primal", "dual", "cg"] = eqx.field(default="auto", static=True)
    memory: int = eqx.field(default=10, static=True)
    finish: bool = eqx.field(default=True, static=True)

    default_max_steps: ClassVar[int] = 2000

    def __check_init__(self) -> None:
        if self.inner not in ("auto", "primal", "dual", "cg"):
            raise ValueError(f"`inner` must be auto, primal, dual or cg; got {self.inner!r}.")

    def check(self, problem: Problem) -> None:
        check_convex(self, problem)
        if not isinstance(problem.loss, AbstractQuadraticLoss):
            name = type(problem.loss).__name__
            raise TypeError(f"VarPro does not support {name}: {_SUPPORTED}.")
        if not isinstance(problem.penalty, AbstractVariationalPenalty):
            name = type(problem.penalty).__name__
            raise TypeError(f"VarPro does not support {name}: {_SUPPORTED}.")
        check_one_target(self, problem)
        problem.penalty.slopes_and_ridge(problem.X.shape[1])

    def run(
        self, problem: Problem, start: Iterate, tol: Float[Array, ""], max_steps: Int[Array, ""]
    ) -> tuple[Iterate, dict[str, Any]]:
        project = _projection(problem, self.inner)
        slopes, ridge = problem.penalty.slopes_and_ridge(problem.X.shape[1])
        goal = jnp.maximum(tol, _FINISH) if self.finish else tol

        def gap(projection: _Projection) -> Float[Array, ""]:
            return iterate_at(problem, projection.coef).gap

        first = _initial(start.coef, iterate_at(problem, jnp.zeros_like(start.coef)).pull)
        begun = jnp.where(start.gap <= tol, start.gap, jnp.inf)  # nothing to do for a good start
        projection, steps = _minimise(
            project, gap, slopes, ridge, first, begun, goal, max_steps, self.memory
        )
        moved = iterate_at(problem, projection.coef)
        # A start that is already good enough is kept.
        iterate = jax.tree.map(lambda a, b: jnp.where(moved.gap < start.gap, a, b), moved, start)
        if self.finish:
            # The KKT test: a coefficient off the support has a pull inside its slope.
            resting = jnp.abs(iterate.pull - ridge * iterate.coef) < 0.99 * slopes
            sparse = iterate_at(problem, jnp.where(resting, 0.0, iterate.coef))
            iterate, _ = WorkingSet().run(problem, sparse, tol, jnp.minimum(10, max_steps))
        return iterate, {"num_steps": steps}

    def solve_gram(
        self, problem: GramProblem, tol: Float[Array, ""]
    ) -> tuple[Float[Array, " k"], Int[Array, ""]]:
        size = problem.scale.shape[0]
        slopes, ridge = problem.penalty.slopes_and_ridge(size)
        slopes, ridge = slopes / problem.scale, ridge / problem.scale**2
        from_zero = problem.pull + problem.matvec(problem.start)

        def project(v: Float[Array, " k"]) -> _Projection:
            root = jnp.where(problem.inside, _root(v, slopes, ridge), 0.0)
            # √W vanishes nowhere, so the support is always one of the widths.
            one = jnp.ones_like(tol)
            factor = BlockMatrix(root)
            coef = root * problem.solve_shifted(factor, one, root * from_zero, problem.widths)
            pull = from_zero - problem.matvec(coef)
            # The constant half of the data's energy is left out: only differences matter.
            return _Projection(_finite_sum(slopes, v**2) / 2 - from_zero @ coef / 2, coef, pull)

        def gap(projection: _Projection) -> Float[Array, ""]:
            return problem.gap(projection.coef / problem.scale, projection.pull)

        first = _initial(problem.start, from_zero)
        goal = jnp.maximum(tol, _FINISH * problem.residual)
        limit = jnp.array(200)
        begun = jnp.full_like(tol, jnp.inf)
        projection, steps = _minimise(
            project, gap, slopes, ridge, first, begun, goal, limit, self.memory
        )
        closer = gap(projection) < problem.gap(problem.start_coef, problem.pull)
        resting = jnp.abs(projection.pull - ridge * projection.coef) < 0.99 * slopes
        coef = jnp.where(resting, 0.0, projection.coef / problem.scale)
        coef = jnp.where(closer & problem.inside, coef, problem.start_coef)
        coef, finishing = SemismoothNewton().solve_gram(problem.moved_to(coef), tol)
        return coef, steps + finishing


def _root(
    v: Float[Array, " p"], slopes: Float[Array, " p"], ridge: Float[Array, " p"]
) -> Float[Array, " p"]:
    """√W; an unpenalised feature gets a root so large that its ridge is negligible."""
    denominator = jnp.sqrt(slopes + ridge * v**2)
    penalised = jnp.where(jnp.isinf(slopes), 0.0, v / jnp.where(slopes > 0, denominator, 1.0))
    bare = jnp.where(ridge > 0, 1 / jnp.sqrt(jnp.where(ridge > 0, ridge, 1.0)), 1e4)
    return jnp.where(slopes > 0, penalised, bare)


def _gradient(
    v: Float[Array, " p"],
    pull: Float[Array, " p"],
    slopes: Float[Array, " p"],
    ridge: Float[Array, " p"],
) -> Float[Array, " p"]:
    """λ v (1 − ξ²/(λ + κv²)²), zero where v has no say (no slope, or an infinite one)."""
    active = (slopes > 0) & jnp.isfinite(slopes)
    curvature = jnp.where(active, slopes + ridge * v**2, 1.0)
    return jnp.where(active, slopes * v * (1 - (pull / curvature) ** 2), 0.0)


def _initial(coef: Float[Array, " p"], pull: Float[Array, " p"]) -> Float[Array, " p"]:
    """√|β|, floored because a zero never recovers; √|Xᵀy| where there is no warm start."""
    cold = jnp.sqrt(jnp.abs(pull)) + jnp.sqrt(jnp.finfo(pull.dtype).eps)
    warm = jnp.sqrt(jnp.abs(coef))
    return jnp.where(jnp.any(coef != 0), jnp.maximum(warm, 0.1 * jnp.max(warm)), cold)


class _State(eqx.Module):
    v: Float[Array, " p"]
    optimiser: Any
    gap: Float[Array, ""]
    steps: Int[Array, ""]
    change: Float[Array, ""]


def _minimise(
    project: Callable[[Float[Array, " p"]], _Projection],
    gap_of: Callable[[_Projection], Float[Array, ""]],
    slopes: Float[Array, " p"],
    ridge: Float[Array, " p"],
    first: Float[Array, " p"],
    begun: Float[Array, ""],
    tol: Float[Array, ""],
    max_steps: Int[Array, ""],
    memory: int,
) -> tuple[_Projection, Int[Array, ""]]:
    """L-BFGS on f, from a point of gap ``begun``, until the gap is small or v rests."""
    optimiser = optax.lbfgs(memory_size=memory)

    def value(v: Float[Array, " p"]) -> Float[Array, ""]:
        # The envelope theorem, stated so that automatic differentiation finds just it.
        projection = jax.lax.stop_gradient(project(v))
        gradient = _gradient(jax.lax.stop_gradient(v), projection.pull, slopes, ridge)
        return projection.value + jnp.vdot(gradient, v - jax.lax.stop_gradient(v))

    value_and_grad = optax.value_and_grad_from_state(value)

    def unfinished(state: _State) -> Bool[Array, ""]:
        return (state.gap > tol) & (state.steps < max_steps) & (state.change > 0)

    def step(state: _State) -> _State:
        current, gradient = value_and_grad(state.v, state=state.optimiser)
        updates: Any
        updates, optimiser_state = optimiser.update(
            gradient, state.optimiser, state.v, value=current, grad=gradient, value_fn=value
        )
        v = state.v + updates
        change = jnp.max(jnp.abs(v - state.v))
        # A certificate costs an inner solve of its own, so not every step gets one.
        steps = state.steps + 1
        due = (steps % 5 == 0) | (steps >= max_steps) | (change == 0)
        gap = jax.lax.cond(due, lambda: gap_of(project(v)), lambda: state.gap)
        return _State(v, optimiser_state, gap, steps, change)

    moving = jnp.full_like(tol, jnp.inf)
    begun = begun.astype(tol.dtype)
    state = _State(first, optimiser.init(first), begun, jnp.array(0), moving)
    final = jax.lax.while_loop(unfinished, step, state)
    return project(final.v), final.steps


def _projection(problem: Problem, inner: str) -> Callable[[Float[Array, " p"]], _Projection]:
    """The inner solve: the ridge regression at v by the system asked for."""
    n, p = problem.X.shape
    if inner == "auto":
        dense = isinstance(_base(problem.X), Dense)
        inner = ("dual" if n < p else "primal") if dense else "cg"
    slopes, ridge = problem.penalty.slopes_and_ridge(p)
    root_weights = jnp.sqrt(problem.loss.row_weights(problem.y))
    target = root_weights * problem.y
    build = {"primal": _primal, "dual": _dual, "cg": _conjugate_gradient}[inner]
    return build(problem, slopes, ridge, root_weights, target)


def _base(design: Any) -> Any:
    return _base(design.base) if hasattr(design, "base") else design


def _primal(
    problem: Problem, slopes: Array, ridge: Array, root_weights: Array, target: Array
) -> Callable[[Float[Array, " p"]], _Projection]:
    columns = problem.X.all_columns() * root_weights
    gram, from_zero = columns @ columns.T, columns @ target
    energy = target @ target

    def project(v: Float[Array, " p"]) -> _Projection:
        root = _root(v, slopes, ridge)
        matrix = root[:, None] * gram * root + jnp.eye(v.shape[0], dtype=v.dtype)
        factor = jax.scipy.linalg.cho_factor(matrix, lower=True)
        coef = root * jax.scipy.linalg.cho_solve(factor, root * from_zero)
        value = _finite_sum(slopes, v**2) / 2 + (energy - from_zero @ coef) / 2
        return _Projection(value, coef, from_zero - gram @ coef)

    return project


def _dual(
    problem: Problem, slopes: Array, ridge: Array, root_weights: Array, target: Array
) -> Callable[[Float[Array, " p"]], _Projection]:
    columns = problem.X.all_columns() * root_weights
    identity = jnp.eye(target.shape[0], dtype=target.dtype)

    def project(v: Float[Array, " p"]) -> _Projection:
        scaled = _root(v, slopes, ridge)[:, None] * columns
        factor = jax.scipy.linalg.cho_factor(scaled.T @ scaled + identity, lower=True)
        residual = jax.scipy.linalg.cho_solve(factor, target)
        pull = columns @ residual
        value = _finite_sum(slopes, v**2) / 2 + target @ residual / 2
        return _Projection(value, _root(v, slopes, ridge) ** 2 * pull, pull)

    return project


def _conjugate_gradient(
    problem: Problem, slopes: Array, ridge: Array, root_weights: Array, target: Array
) -> Callable[[Float[Array, " p"]], _Projection]:
    eps = jnp.finfo(target.dtype).eps
    solver = lx.CG(rtol=float(eps) ** 0.75, atol=0.0, max_steps=1000)

    def project(v: Float[Array, " p"]) -> _Projection:
        weights = _root(v, slopes, ridge) ** 2

        def pull_of(a: Float[Array, " n"]) -> Float[Array, " p"]:
            return problem.X.rmatvec(root_weights * a)

        def multiply(a: Float[Array, " n"]) -> Float[Array, " n"]:
            return a + root_weights * problem.X.matvec(weights * pull_of(a))

        operator = lx.FunctionLinearOperator(
            multiply, jax.eval_shape(lambda: target), lx.positive_semidefinite_tag
        )
        residual = lx.linear_solve(operator, target, solver, throw=False).value
        pull = pull_of(residual)
        # Accurate to second order in the error of the inexact solve, unlike yᵀa/2.
        dual = target @ residual - residual @ residual / 2 - weights @ pull**2 / 2
        return _Projection(_finite_sum(slopes, v**2) / 2 + dual, weights * pull, pull)

    return project


def _finite_sum(slopes: Float[Array, " p"], squares: Float[Array, " p"]) -> Float[Array, ""]:
    """Σ slopes·squares without the features that an infinite slope has taken out."""
    return jnp.sum(jnp.where(jnp.isinf(slopes), 0.0, slopes * squares))
