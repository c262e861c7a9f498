"""Accelerated proximal gradient."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._certificate import Iterate, iterate_at, objective_at, objective_at_zero
from .._dual import Dual
from .._first_order import largest_eigenvalue, restarted_momentum, wave
from .._modules import replace, select
from .._problem import Problem
from ..designs import Identity
from ..designs._several import rmatvec
from ..losses import AbstractQuadraticLoss, AbstractSmoothLoss
from ..penalties import Analysis
from ._base import AbstractSolver, is_relaxable, unfinished_at

_MARGIN = 1e-3  # of the tolerance, for the rounding of two ways to the same gap


class _State(eqx.Module):
    iterate: Iterate
    lookahead: Float[Array, "p ..."]
    lookahead_predictions: Float[Array, "n ..."]
    momentum: Float[Array, ""]
    steps: Int[Array, ""]


class FISTA(AbstractSolver):
    """Proximal gradient with Nesterov's momentum, restarted when it points uphill.

    For any loss with a bounded curvature and any penalty with a proximal operator; the step is
    one over the largest eigenvalue of Xᵀ diag(bound) X, found by power iteration. With concave
    penalties, steps that raise the objective are taken back, and their momentum with them.
    Denoising (X = I) by an ``Analysis`` penalty is a proximal operator: the steps are then those
    of its dual.

    Parameters
    ----------
    check_every
        Iterations between two certificates; a step of ``max_steps`` is one iteration.
    batched
        Whether the problems of a batch under ``vmap`` are one loop, until the last is done, rather
        than one after the other: for accelerators, and where X is the same for all.

    Notes
    -----
    Beck & Teboulle (2009), and for denoising their gradient projection of the same year; gradient
    restart of O'Donoghue & Candès (2015).
    """

    check_every: int = eqx.field(default=10, static=True)
    batched: bool = eqx.field(default=False, static=True)

    default_max_steps: ClassVar[int] = 100_000

    @property
    def together(self) -> bool:
        return self.batched

    def check(self, problem: Problem) -> None:
        loss = problem.loss
        if not isinstance(loss, AbstractSmoothLoss):
            raise TypeError(
                f"FISTA does not support {type(loss).__name__}: it has no gradient: "
                "use PrimalDual()."
            )
        if isinstance(problem.penalty, Analysis) and not is_denoising(problem):
            name = type(problem.penalty).__name__
            raise TypeError(f"FISTA takes {name} for denoising (X = I) alone: use PrimalDual().")
        if not loss.has_bounded_curvature:
            other = "MultiStage" if is_relaxable(problem) else "ProxNewton"
            raise TypeError(
                f"FISTA does not support {type(loss).__name__}, whose curvature has no bound: "
                f"use {other}()."
            )

    def run(
        self, problem: Problem, start: Iterate, tol: Float[Array, ""], max_steps: Int[Array, ""]
    ) -> tuple[Iterate, dict[str, Any]]:
        if isinstance(problem.penalty, Analysis):
            return self._denoise(problem, start, tol, max_steps)
        step = 1 / lipschitz_constant(problem, problem.loss.curvature_bound(problem.y))
        one = jnp.ones_like(start.gap)
        state = _State(start, start.coef, start.predictions, one, jnp.array(0))

        def unfinished(state: _State) -> Bool[Array, ""]:
            going = unfinished_at(problem, state.iterate, tol, state.steps)
            return going & (state.steps < max_steps)

        def round_of_steps(state: _State) -> _State:
            def one_step(_: Int[Array, ""], state: _State) -> _State:
                return _accelerated_step(problem, state, step)

            state = jax.lax.fori_loop(0, self.check_every, one_step, state)
            # Fresh predictions: thousands of incremental updates would drift.
            iterate = iterate_at(problem, state.iterate.coef)
            return eqx.tree_at(lambda s: s.iterate, state, iterate)

        final = jax.lax.while_loop(unfinished, round_of_steps, state)
        return final.iterate, {"num_steps": final.steps}

    def _denoise(
        self, problem: Problem, start: Iterate, tol: Float[Array, ""], max_steps: Int[Array, ""]
    ) -> tuple[Iterate, dict[str, Any]]:
        """A proximal operator, from its dual, whose gap is that of the problem times n."""
        penalty, y = problem.penalty, problem.y
        target = jnp.where(start.gap <= tol, jnp.inf, (1 - _MARGIN) * tol)
        goal = target * y.size * objective_at_zero(problem)
        scaled, steps = penalty.forces_at(y, y.size, goal, max_steps, self.check_every)
        pull = penalty.operator.rmatvec(scaled / y.size)
        dual = Dual(-pull, scaled / y.size)
        found = iterate_at(problem, y - y.size * pull, dual=dual)
        kept = start.gap <= found.gap
        return select(kept, start, found), {"num_steps": steps}


def is_denoising(problem: Problem) -> bool:
    """Whether the problem is the proximal operator of its penalty at y."""
    plain = isinstance(problem.loss, AbstractQuadraticLoss) and problem.loss.sample_weight is None
    return isinstance(problem.X, Identity) and plain and not problem.fit_intercept


def _accelerated_step(problem: Problem, state: _State, step: Float[Array, ""]) -> _State:
    previous = state.iterate
    gradient = rmatvec(problem.X, problem.loss.gradient(state.lookahead_predictions, problem.y))
    coef = problem.penalty.prox(state.lookahead - step * gradient, step)
    predictions = problem.predict(coef)
    uphill = jnp.vdot(state.lookahead - coef, coef - previous.coef) > 0
    if not problem.penalty.is_convex:  # momentum may lead anywhere; a step without it never rises
        risen = _rises(problem, previous, coef, predictions)
        coef = jnp.where(risen, previous.coef, coef)
        predictions = jnp.where(risen, previous.predictions, predictions)
        uphill = uphill | risen
    weight, following = restarted_momentum(state.momentum, uphill)
    return _State(
        replace(previous, coef=coef, predictions=predictions),
        coef + weight * (coef - previous.coef),
        predictions + weight * (predictions - previous.predictions),
        following,
        state.steps + 1,
    )


def _rises(
    problem: Problem,
    before: Iterate,
    coef: Float[Array, "p ..."],
    predictions: Float[Array, "n ..."],
) -> Bool[Array, ""]:
    """Whether the objective is higher than before by more than rounding."""
    old = objective_at(problem, before.coef, before.predictions)
    rounding = 8 * jnp.finfo(old.dtype).eps * jnp.abs(old)
    return objective_at(problem, coef, predictions) > old + rounding


def lipschitz_constant(problem: Problem, curvature: Float[Array, "n ..."]) -> Float[Array, ""]:
    """Largest eigenvalue of Xᵀ diag(curvature) X by power iteration, two per cent added.

    Of several tasks, which share X, by that of the largest curvature of every sample: one product
    for all of them.
    """
    X = problem.X
    curvature = jnp.max(curvature.reshape(X.shape[0], -1), axis=1)
    start = X.rmatvec(wave(curvature.shape, curvature.dtype))
    return 1.02 * largest_eigenvalue(lambda v: X.rmatvec(curvature * X.matvec(v)), start)
