"""Multi-stage convex relaxation: a concave penalty as a sequence of weighted ℓ1 norms."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._certificate import Iterate
from .._dual import needs_dual
from .._modules import replace
from .._problem import Problem
from ._base import AbstractSolver, is_concave, is_relaxable, unfinished_at
from ._convex import convex_solver
from ._fista import FISTA
from ._touching import Relaxation

_STEPS_OF_FISTA = 1000  # a stage at the most: its gap may rest at rounding, above the goal


class _State(eqx.Module):
    iterate: Iterate
    steps: Int[Array, ""]
    inner: Int[Array, ""]
    gaps: Float[Array, " k"]  # of the stages; NaN for those to come


class MultiStage(AbstractSolver):
    """Minimise the convex norm that touches the concave penalty from above, again and again.

    Every stage solves min_w loss + Σ_j h′(|v_j|)·|w_j| for the solution v of the stage before: from
    zero, the first is the Lasso of the same strength (``GroupL2`` for ``Grouped`` penalties,
    ``RowL2`` for ``Rows``). For ``Spectral``, it is h′(0)·‖W‖_* − ⟨T, W⟩ with
    T = U diag(h′(0) − h′(σ)) Vᵀ of V = U diag(σ) Vᵀ: the nuclear norm at other targets, or with a
    tilted loss, for which the design is formed densely. (Where no slope is left of some singular
    values or rows, few losses but least squares have a dual point that certifies a stage.)
    The objective never rises, each stage is certified by its duality gap
    (``Solution.stats["gaps"]``), and all are one compiled call. A step of ``max_steps`` is one
    stage.

    Parameters
    ----------
    stages
        None: as many as it takes to be stationary, which ``tol`` judges by the KKT violation. Or
        their number: then ``tol`` is for the gap of every stage, ``Solution.gap`` is the largest
        of them, and the result, stationary or not, cannot be differentiated.
    inner
        Solves the stages; by default what ``Auto()`` would choose for them.

    Raises
    ------
    ValueError
        If ``stages`` is below one.

    Examples
    --------
    >>> import numpy as np, sparsejax as sj
    >>> problem = sj.Problem(np.eye(2), np.array([3.0, 1.5]), penalty=sj.penalties.MCP(0.5, 2.0))
    >>> [sj.solve(problem, sj.solvers.MultiStage(k)).coef.round(3).tolist() for k in (1, 2)]
    [[2.0, 0.5], [3.0, 1.0]]

    Notes
    -----
    Zhang (NIPS 2008; JMLR 11, 2010); local linear approximation of Zou & Li (2008).
    """

    stages: int | None = eqx.field(default=None, static=True)
    inner: AbstractSolver | None = None

    default_max_steps: ClassVar[int] = 500

    def __check_init__(self) -> None:
        if self.stages is not None and self.stages < 1:
            raise ValueError(f"`stages` must be at least 1; got {self.stages}.")

    def check(self, problem: Problem) -> None:
        name = type(problem.penalty).__name__
        if not is_relaxable(problem):
            raise TypeError(
                f"MultiStage does not support {name}, which is not concave: use Auto()."
            )
        if problem.penalty.steep:
            others = "FISTA() or CoordinateDescent()" if is_concave(problem) else "FISTA()"
            raise TypeError(
                f"MultiStage does not support {name}, whose slope at zero is infinite, so that no "
                f"stage would leave it: use {others}."
            )
        zero = jnp.zeros(problem.coef_shape, problem.X.dtype)
        if problem.penalty.tilt(zero) is not None and needs_dual(problem):
            raise TypeError(
                f"MultiStage does not support {name} with {type(problem.loss).__name__}, which has "
                "no gradient."
            )
        relaxed = Relaxation.of(problem).at(zero)
        self._solver(relaxed).check(relaxed)

    def check_differentiable(self) -> None:
        if self.stages is not None:
            raise TypeError(
                "MultiStage(stages=...) may end before it is stationary and has no derivative: use "
                "MultiStage()."
            )

    def _solver(self, relaxed: Problem) -> AbstractSolver:
        return convex_solver(relaxed) if self.inner is None else self.inner.choose(relaxed)

    def run(
        self, problem: Problem, start: Iterate, tol: Float[Array, ""], max_steps: Int[Array, ""]
    ) -> tuple[Iterate, dict[str, Any]]:
        to_the_end = self.stages is None
        size = self.default_max_steps if self.stages is None else self.stages
        limit = max_steps if to_the_end else jnp.minimum(size, max_steps)
        relaxation = Relaxation.of(problem)
        # A gap is of the order of the square of the violation.
        goal = tol**2 if to_the_end else tol
        # Where even that is too large, nothing but rounding ends a stage.
        exact = to_the_end and not needs_dual(problem)

        def unfinished(state: _State) -> Bool[Array, ""]:
            going = state.steps < limit
            if not to_the_end:
                return going
            return going & unfinished_at(problem, state.iterate, tol, state.steps)

        def stage(state: _State) -> _State:
            last = state.iterate
            relaxed = relaxation.at(last.coef)
            solver = self._solver(relaxed)
            begun = relaxation.seen_from(relaxed, last)
            most = solver.default_max_steps
            if to_the_end and isinstance(solver, FISTA):
                most = _STEPS_OF_FISTA
            sharper = jnp.where(begun.gap <= goal, -1.0, goal) if exact else goal
            found, stats = solver.run(relaxed, begun, sharper, jnp.array(most))
            return _State(
                relaxation.seen_from(problem, found),
                state.steps + 1,
                state.inner + stats["num_steps"],
                state.gaps.at[state.steps].set(found.gap, mode="drop"),
            )

        zero = jnp.array(0)
        first = _State(start, zero, zero, jnp.full(size, jnp.nan, tol.dtype))
        final = jax.lax.while_loop(unfinished, stage, first)
        iterate, steps = final.iterate, final.steps
        if not to_the_end:  # judged by its stages, all of which must have been solved
            gap = jnp.where(steps == size, jnp.max(final.gaps), jnp.inf)
            iterate = replace(iterate, gap=gap, kkt=None)
        counts = {"num_steps": steps, "num_inner_steps": final.inner, "gaps": final.gaps}
        return iterate, counts
