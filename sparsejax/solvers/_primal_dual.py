"""The primal–dual hybrid gradient method."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._certificate import Iterate, iterate_at, objective_at, unit_of_gaps
from .._dual import first_dual, lacks_prox, needs_dual, within_range
from .._infeasible import least_squares_ray, lies_outside_range
from .._modules import replace, select
from .._problem import Problem
from ..losses import AbstractProximalLoss, Equality
from ..losses._profiled import unprofiled
from ..penalties import Analysis
from ._base import AbstractSolver, check_convex
from ._primal_dual_steps import Method, Point, State, blocks_of, dual_of, step_sizes


class PrimalDual(AbstractSolver):
    """Alternating proximal steps in w and in the dual u, of min f(Xw) + g(w), restarted.

    w⁺ = prox(w − τXᵀu) of g and u⁺ = prox(u + σX(2w⁺ − w)) of f*; for any loss and penalty with
    proximal operators. An ``Analysis`` penalty joins the loss: f(Xw) + s‖Dw‖₁ has the dual (u, ζ).
    The steps are reflected and averaged with the last restart (Halpern), and the ratio σ/τ is
    balanced at restarts, so that sharp problems (all linear programmes) converge linearly.

    Certificates come from the dual. Those of an ``Analysis`` penalty take longer than many steps,
    and wait until an estimate says that they will do. For ``Equality``, y outside the range of X is
    recognised by a ray u with Xᵀu = 0 and ⟨y, u⟩ ≠ 0, and ends as ``RESULTS.infeasible``.

    Parameters
    ----------
    check_every
        Iterations between two certificates; a step of ``max_steps`` is one iteration.

    Examples
    --------
    >>> import numpy as np, sparsejax as sj
    >>> loss, penalty = sj.losses.Equality(), sj.penalties.L1(1.0)
    >>> problem = sj.Problem(np.array([[1.0, 2.0]]), np.array([2.0]), loss, penalty)
    >>> sj.solve(problem, sj.solvers.PrimalDual(), tol=1e-5).coef.round(4).tolist()
    [0.0, 1.0]

    Notes
    -----
    Chambolle & Pock (2011); restarts and weights of PDLP (Applegate et al., 2021 and 2023), with
    the reflected Halpern steps of Lu & Yang (2024) in the place of averages.
    """

    check_every: int = eqx.field(default=40, static=True)

    default_max_steps: ClassVar[int] = 400_000

    def check(self, problem: Problem) -> None:
        check_convex(self, problem)
        loss = unprofiled(problem.loss)
        name, others = type(loss).__name__, "use FISTA() or ProxNewton()"
        transformed = isinstance(problem.penalty, Analysis)
        if not isinstance(loss, AbstractProximalLoss):
            if transformed:
                others = "use ProxNewton()"
            raise TypeError(
                f"PrimalDual does not support {name}, which has no proximal operator: {others}."
            )
        if lacks_prox(problem):
            if transformed:
                others = "use VarPro(), or a feature of ones in `X` that the penalty leaves alone"
            raise TypeError(f"PrimalDual does not support {name} with an intercept: {others}.")

    def run(
        self, problem: Problem, start: Iterate, tol: Float[Array, ""], max_steps: Int[Array, ""]
    ) -> tuple[Iterate, dict[str, Any]]:
        weight, norms = step_sizes(problem)
        method = Method(problem, weight, norms)
        constrained = isinstance(problem.loss, Equality)

        def unfinished(state: State) -> Bool[Array, ""]:
            going = (state.best.gap > tol) & (state.steps < max_steps)
            return going & ~state.infeasible & ~state.settled

        def round_of_steps(state: State) -> State:
            # A fresh product: thousands of incremental updates would drift.
            fresh = method.at(state.point.coef, state.point.duals)
            state = replace(state, point=fresh)
            state = jax.lax.fori_loop(0, self.check_every, lambda _, s: method.advance(s), state)
            infeasible = state.infeasible
            if constrained:
                ray = state.moved.duals[0] - state.anchor.duals[0]
                infeasible = lies_outside_range(problem, ray)
            state = replace(state, infeasible=infeasible, settled=method.has_settled(state))
            if not isinstance(problem.penalty, Analysis):
                return certified(state)
            due = ~unfinished(state) | (_gap_of_parts(problem, state.moved) <= tol)
            return jax.lax.cond(due, certified, lambda state: state, state)

        def certified(state: State) -> State:
            found = _evaluated(problem, state.moved)
            better = (found.gap <= state.best.gap) | ~jnp.isfinite(state.best.gap)
            return replace(state, best=select(better, found, state.best))

        dual = first_dual(problem, start.predictions)
        if start.dual is not None:  # a correction that has failed may have left it far away
            dual = select(jnp.isfinite(start.gap), start.dual, dual)
        point = method.at(start.coef, blocks_of(dual))
        zero, one, no = jnp.array(0), jnp.ones_like(start.gap), jnp.array(False)
        infeasible = lies_outside_range(problem, least_squares_ray(problem)) if constrained else no
        first = State(point, point, point, weight, one, one, zero, zero, start, infeasible, no)
        final = jax.lax.while_loop(unfinished, round_of_steps, first)
        stats = {"num_steps": final.steps}
        if constrained:
            stats["infeasible"] = final.infeasible & ~(final.best.gap <= tol)
        return final.best, stats


def _evaluated(problem: Problem, point: Point) -> Iterate:
    dual = dual_of(point.duals) if needs_dual(problem) else None
    return iterate_at(problem, point.coef, dual=dual)


def _gap_of_parts(problem: Problem, point: Point) -> Float[Array, ""]:
    """An estimate of the gap of an ``Analysis`` penalty, without making the dual feasible.

    It leaves out what the correction costs, which vanishes faster than the gap.
    """
    dual = within_range(problem, dual_of(point.duals))
    predictions = problem.predict(point.coef)
    data = problem.loss.fenchel_gap(predictions, dual.loss, problem.y)
    gap = data + problem.penalty.force_gap(point.coef, dual.penalty)
    return gap / unit_of_gaps(problem, objective_at(problem, point.coef, predictions))
