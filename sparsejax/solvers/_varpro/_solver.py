"""Variable projection as a solver."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..._certificate import Iterate, iterate_at
from ..._dual import generic_solver
from ..._infeasible import least_squares_ray, lies_outside_range
from ..._modules import select
from ..._problem import Problem
from ...losses import (
    AbstractQuadraticLoss,
    AbstractSmoothLoss,
    AbstractVariationalLoss,
    Equality,
)
from ...losses._profiled import Profiled
from ...penalties import (
    AbstractVariationalPenalty,
    Analysis,
    Lq,
    Nuclear,
    RowL2,
    TotalVariation,
)
from .._base import AbstractSolver, check_convex, check_one_target
from .._gram import AbstractGramSolver, GramProblem
from .._primal_dual import PrimalDual
from .._prox_newton import ProxNewton, quadratic_solver
from .._semismooth_newton import SemismoothNewton
from ._concave import solve_concave
from ._finish import sparsified, without_resting
from ._gram_ridge import GramRidge
from ._low_rank import per_task
from ._minimise import minimise
from ._ridge import WeightedRidge, first_blocks
from ._smooth import SmoothRidge, has_diagonal_curvature
from ._smooth_transform import SmoothTransform
from ._systems import SystemName
from ._thin import solve_thin
from ._transform_ridge import TransformRidge, check_transform

_SYSTEMS = ("auto", "primal", "dual", "cg")
_FINISH = 1e-6  # relative gap at which the support is taken as found
_ROUGH = 200  # steps after which the forces of a transform are looked for by other means ...
_CERTIFYING = 2000  # ... and how many of those

_Outer = WeightedRidge | SmoothRidge | TransformRidge | SmoothTransform


class _State(eqx.Module):
    iterate: Iterate
    steps: Int[Array, ""]
    attempts: Int[Array, ""]


class VarPro(AbstractSolver, AbstractGramSolver):
    """Smooth bilevel programming: min over v of f(v) = min over u of a ridge regression.

    Penalties that are sums of norms are minima of weighted ridges,

        g(w) = min over v of Σ_j w_j²/(2 W_j(v)) + cost(v),

    such as λ|w| = min (λw²/v² + λv²)/2. For fixed v the problem is a linear system: with
    A = diag(√h) X, M = cI + A diag(W) Aᵀ, a = M⁻¹√h y and ξ = Aᵀa,

        f(v) = cost(v) + yᵀ√h a/2,   ∇f = ∇cost − (∇W)ᵀξ²/2,   w = Wξ,

    where the noise c is 1 for least squares, 0 for interpolation (``Equality``), and one more
    variable for the square root. f is smooth with no spurious minima. It is minimised by L-BFGS;
    the gradient is the envelope formula above, never the derivative of the inner solve. The
    iterates have no exact zeros: once the gap is small, the support is read off the KKT conditions
    and solved on; for the square root, what is off it becomes zero.

    For other smooth losses L the inner problem, min over u of L(X(√W⊙u)) + ‖u‖²/2, takes Newton's
    method, and ∇f = ∇cost − (∇√W)⊙u⊙ξ with ξ = −Xᵀ∇L.

    Of powers |w|^q (``Lq``), not convex, a local minimum is found, past others: w² + ε² takes the
    place of w² above, for an ε that shrinks from the size of the coefficients to the root of
    rounding, as in ``IRLS``. What is then of the size of ε is set to zero, and the stationary point
    with the support that is left is judged by its KKT violation. Other starts lead to others:
    ``jax.vmap`` over ``init``, and keep the lowest objective.

    For the trace norm w = UV takes the place of w = u⊙v, with factors that grow until the pull has
    no singular value above the strength. The tasks share a design, or have each their own
    (``designs.PerTask``).

    For ``Analysis`` and ``TotalVariation`` the ridge is one of Dw, and its multipliers a = Dw/W are
    solved for, so that W may vanish; besides least squares and its like, ``Quantile`` is taken
    (TV-L1), with a weight for every sample too, and smooth losses that are sums over samples, by
    Newton's method. Those that end at zero only come near. The forces of ``Analysis`` may not be
    unique, and v then settles slowly: from those found so far, ``PrimalDual`` goes on.

    As a solver this is the method of the paper on all features; ``WorkingSet(inner=VarPro())``
    restricts it to a certified working set.

    Parameters
    ----------
    inner
        The ridge's linear system: "primal" (p×p), "dual" (n×n), "cg" (products only), or "auto":
        the smaller of the first two for dense designs, "cg" for others. Of no import for the trace
        norm, whose system is as wide as the factor, and for losses that take Newton's method, whose
        systems are solved by products. Of D, "cg" is for denoising (X = I), where "auto" takes it
        too but for chains, which are tridiagonal; all else has dense systems of n + m − p.
    memory
        Pairs kept by L-BFGS.
    finish
        Whether to end with exact zeros and, for losses that are sums over samples, an exact solve
        on the support; for ``Analysis`` with steps of ``PrimalDual``.

    Notes
    -----
    Poon & Peyré, Smooth bilevel programming for sparse regularization (NeurIPS 2021).
    """

    inner: SystemName = eqx.field(default="auto", static=True)
    memory: int = eqx.field(default=10, static=True)
    finish: bool = eqx.field(default=True, static=True)

    default_max_steps: ClassVar[int] = 2000

    def __check_init__(self) -> None:
        if self.inner not in _SYSTEMS:
            raise ValueError(f"`inner` must be auto, primal, dual or cg; got {self.inner!r}.")

    def check(self, problem: Problem) -> None:
        loss, penalty = problem.loss, problem.penalty
        if isinstance(penalty, Lq):
            self._check_power(problem)
            return
        check_convex(self, problem)
        if isinstance(penalty, Analysis | TotalVariation):
            check_transform(problem, self.inner)
            return
        low_rank = isinstance(penalty, Nuclear)
        taken = AbstractVariationalLoss | AbstractSmoothLoss
        if not isinstance(loss, AbstractQuadraticLoss if low_rank else taken):
            pair = f"{type(loss).__name__} with {type(penalty).__name__}"
            raise TypeError(f"VarPro does not support {pair}: use Auto().")
        if low_rank:
            if (per_task(problem.X) is None) is not (penalty.shape is None):
                raise TypeError(
                    "VarPro takes a `shape` of Nuclear with designs.PerTask: use FISTA()."
                )
            return
        if not isinstance(penalty, AbstractVariationalPenalty):
            name, other = type(penalty).__name__, generic_solver(problem)
            raise TypeError(f"VarPro does not support {name}: use {other}().")
        if loss.outputs(problem.y) and not isinstance(penalty, RowL2):
            name = type(penalty).__name__
            raise TypeError(f"VarPro takes one target for {name}: use FISTA() for several.")
        self._check_system(problem)
        penalty.variational_form(problem.X.shape[1])

    def _check_power(self, problem: Problem) -> None:
        if not isinstance(problem.loss, AbstractQuadraticLoss | Equality):
            raise TypeError(f"VarPro does not support {type(problem.loss).__name__} with Lq.")
        check_one_target(self, problem)
        self._check_system(problem)

    def _check_system(self, problem: Problem) -> None:
        if isinstance(problem.loss, Equality) and self.inner == "primal":
            raise TypeError("VarPro(inner='primal') does not support Equality: use 'dual'.")

    def run(
        self, problem: Problem, start: Iterate, tol: Float[Array, ""], max_steps: Int[Array, ""]
    ) -> tuple[Iterate, dict[str, Any]]:
        if isinstance(problem.penalty, Nuclear):
            iterate, steps = solve_thin(problem, start, tol, max_steps, self.memory)
            return iterate, {"num_steps": steps}
        limit, stats = max_steps, {}
        if isinstance(problem.loss, Equality):
            infeasible = lies_outside_range(problem, least_squares_ray(problem))
            limit, stats = jnp.where(infeasible, 0, max_steps), {"infeasible": infeasible}
        if isinstance(problem.penalty, Lq):
            solved = solve_concave(problem, start, tol, limit, self.inner, self.memory)
            return solved[0], {"num_steps": solved[1]} | stats
        outer = self._outer(problem)
        exact = self._exact_solver(problem)
        attempts = 1 if exact is None else 2

        def attempt(state: _State) -> _State:
            old = state.iterate
            begun = jnp.where(old.gap <= tol, old.gap, jnp.inf)  # nothing to do for a good start
            first, left = outer.first(old.coef), limit - state.steps
            # Where no exact solve comes of the support found, L-BFGS goes all the way.
            last = state.attempts == attempts - 1
            goal = jnp.where(last, tol, jnp.maximum(tol, _FINISH))
            if isinstance(exact, PrimalDual):
                left = jnp.where(last, left, jnp.minimum(left, _ROUGH))
            projection, steps = minimise(outer, first, begun, goal, left, self.memory)
            moved = outer.iterate(projection)
            # A start that is already good enough is kept.
            best = select(moved.gap < old.gap, moved, old)
            if isinstance(exact, PrimalDual):
                best, _ = exact.run(problem, best, tol, jnp.minimum(_CERTIFYING, max_steps))
            elif exact is not None:
                coef = without_resting(problem.penalty, best.coef, best.pull)
                sparse = iterate_at(problem, coef)
                best, _ = exact.run(problem, sparse, tol, jnp.minimum(10, max_steps))
            elif self.finish and not isinstance(outer, TransformRidge | SmoothTransform):
                best = sparsified(outer, best, tol)
            return _State(best, state.steps + steps, state.attempts + 1)

        def unfinished(state: _State) -> Bool[Array, ""]:
            return (state.iterate.gap > tol) & (state.attempts < attempts)

        zero = jnp.array(0)
        final = jax.lax.while_loop(unfinished, attempt, _State(start, zero, zero))
        return final.iterate, {"num_steps": final.steps} | stats

    def _outer(self, problem: Problem) -> _Outer:
        variational = isinstance(problem.loss, AbstractVariationalLoss)
        if isinstance(problem.penalty, Analysis | TotalVariation):
            smooth = not variational and isinstance(problem.loss, AbstractSmoothLoss)
            return (SmoothTransform if smooth else TransformRidge)(problem, self.inner)
        return WeightedRidge(problem, self.inner) if variational else SmoothRidge(problem)

    def _exact_solver(self, problem: Problem) -> AbstractSolver | None:
        """What solves on the support, once that is found, or finds the forces of a transform.

        Around loops of a grid these are what the ratios of weights say that all vanish: descent in
        v is long to settle them, when the coefficients have all their digits.
        """
        if self.finish and isinstance(problem.penalty, Analysis):
            return None if isinstance(problem.loss, Profiled) else PrimalDual()
        if not self.finish or not isinstance(problem.penalty, AbstractVariationalPenalty):
            return None
        if isinstance(problem.loss, AbstractQuadraticLoss):
            return quadratic_solver(problem)
        return ProxNewton() if has_diagonal_curvature(problem) else None

    def solve_gram(
        self, problem: GramProblem, tol: Float[Array, ""]
    ) -> tuple[Float[Array, " k"], Int[Array, ""]]:
        if problem.start_coef.ndim > 1:
            raise TypeError("WorkingSet(VarPro()) takes one target: use WorkingSet(GramFISTA()).")
        outer = GramRidge(problem)
        first = first_blocks(outer.form, problem.start, outer.from_zero)
        goal = jnp.maximum(tol, _FINISH * problem.residual)
        begun, limit = jnp.full_like(tol, jnp.inf), jnp.array(200)
        projection, steps = minimise(outer, first, begun, goal, limit, self.memory)
        closer = outer.gap(projection) < problem.gap(problem.start_coef, problem.pull)
        pull = projection.pull * problem.scale
        coef = without_resting(problem.penalty, projection.coef / problem.scale, pull)
        coef = jnp.where(closer & problem.inside, coef, problem.start_coef)
        coef, finishing = SemismoothNewton().solve_gram(problem.moved_to(coef), tol)
        return coef, steps + finishing
