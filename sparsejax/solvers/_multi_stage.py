"""Multi-stage convex relaxation: a concave penalty as a sequence of weighted ℓ1 norms."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._certificate import Iterate, judged
from .._modules import replace
from .._problem import Problem
from ._base import AbstractSolver, is_relaxable
from ._convex import convex_solver
from ._touching import touching_at


class _State(eqx.Module):
    iterate: Iterate
    steps: Int[Array, ""]
    inner: Int[Array, ""]
    gaps: Float[Array, " k"]  # of the stages; NaN for those to come


class MultiStage(AbstractSolver):
    """Minimise the convex norm that touches the concave penalty from above, again and again.

    Every stage solves min_w loss + Σ_j h′(|v_j|)·|w_j| for the solution v of the stage before: from
    zero, the first is the Lasso of the same strength (of ``Grouped`` penalties, the group Lasso).
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
            raise TypeError(
                f"MultiStage does not support {name}, whose slope at zero is infinite, so that no "
                "stage would leave it: use FISTA() or CoordinateDescent()."
            )
        relaxed = touching_at(problem, jnp.zeros(problem.coef_shape, problem.X.dtype))
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
        # A gap is of the order of the square of the violation.
        goal = tol**2 if to_the_end else tol

        def unfinished(state: _State) -> Bool[Array, ""]:
            going = state.steps < limit
            return going & (state.iterate.error > tol) if to_the_end else going

        def stage(state: _State) -> _State:
            last = state.iterate
            relaxed = touching_at(problem, last.coef)
            solver = self._solver(relaxed)
            begun = judged(relaxed, last.coef, last.predictions, last.pull, last.dual)
            most = jnp.array(solver.default_max_steps)
            found, stats = solver.run(relaxed, begun, goal, most)
            return _State(
                judged(problem, found.coef, found.predictions, found.pull, found.dual),
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
