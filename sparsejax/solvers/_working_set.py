"""Certified working sets: the fast default for separable and group penalties."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._certificate import (
    Iterate,
    data_norm,
    has_fallen,
    iterate_at,
    objective_at,
    unit_of_error,
)
from .._dual import generic_solver
from .._modules import replace
from .._problem import Problem
from ..designs._several import matvec
from ..losses import AbstractQuadraticLoss
from ..penalties import AbstractGroupSeparablePenalty, RowL2
from ..penalties._base import per_row
from ._all_features import on_all_features
from ._base import AbstractSolver, check_convex, check_one_target, is_concave
from ._gram import AbstractGramSolver, GramProblem, switch_width
from ._gram_coordinate_descent import GramCoordinateDescent
from ._kept import AbstractKept, KeptColumns, KeptGram
from ._ranking import highest, is_filled, scores
from ._semismooth_newton import SemismoothNewton
from ._touching import Relaxation
from ._widths import (
    by_columns,
    may_outgrow,
    outgrows,
    phases_of,
    possible_widths,
    wanted_width,
)

_BEGUN = 1e-3  # gap of the Lasso that a concave penalty begins with
_PATIENCE = 5  # steps without progress that mean rounding has been reached


class _State(eqx.Module):
    iterate: Iterate
    objective: Float[Array, ""]  # there
    kept: AbstractKept | None  # what the phase so far has left
    steps: Int[Array, ""]
    inner: Int[Array, ""]
    width: Int[Array, ""]  # of the last working set
    best_error: Float[Array, ""]
    stalled: Int[Array, ""]


class WorkingSet(AbstractSolver):
    """Solve on the features most likely to matter, certify on all of them, enlarge, repeat.

    Each step takes the features whose pull is largest beside those in the support, solves the
    problem restricted to them through its Gram matrix, and computes the duality gap of the whole
    problem with one pass over X and one over its transpose. Widths come from a short list, up to
    4096 (elastic nets: four times the samples, at least 1024); where the support outgrows that, a
    step is up to 1000 iterations of ``FISTA()`` on all features.

    Parameters
    ----------
    inner
        Solves the restricted problem: ``SemismoothNewton()``, ``VarPro()`` or, for several
        targets, ``GramCoordinateDescent()`` or ``GramFISTA()``. Concave penalties whose slope at
        zero is finite take ``GramCoordinateDescent()``; the KKT violation of all features then
        stands in for the gap.
    """

    inner: AbstractGramSolver = SemismoothNewton()

    default_max_steps: ClassVar[int] = 100

    def check(self, problem: Problem) -> None:
        if is_concave(problem):
            _check_concave(self, problem)
        check_working_set(self, self.inner, problem)

    def run(
        self, problem: Problem, start: Iterate, tol: Float[Array, ""], max_steps: Int[Array, ""]
    ) -> tuple[Iterate, dict[str, Any]]:
        if is_concave(problem):
            start = begun(problem, start, max_steps)
        zero = jnp.array(0)
        objective = objective_at(problem, start.coef, start.predictions)
        state = _State(start, objective, None, zero, zero, zero, start.error, zero)
        widths = possible_widths(problem)
        state = self._phases(problem, state, tol, max_steps, phases_of(problem, widths))
        return state.iterate, {
            "num_steps": state.steps,
            "num_inner_iterations": state.inner,
            "width": state.width,
        }

    def _phases(
        self,
        problem: Problem,
        state: _State,
        tol: Float[Array, ""],
        max_steps: Int[Array, ""],
        phases: list[tuple[int, ...]],
    ) -> _State:
        """Steps with working sets of the first phase, and of the others once it is outgrown.

        Inside of each other, so that a memory that is not needed is not cleared either: its pages
        are new to the process every time.
        """
        widths, *others = phases

        def unfinished(state: _State) -> Bool[Array, ""]:
            going = (state.iterate.error > tol) & (state.steps < max_steps)
            return going & (state.stalled < _PATIENCE)

        last = not others and not may_outgrow(problem, widths)

        def fits(state: _State) -> Bool[Array, ""] | bool:
            if others:
                return wanted_width(problem, state.iterate)[0] <= widths[-1]
            return last or ~outgrows(problem, state.iterate, widths[-1])

        def go_on(state: _State) -> _State:
            if others:
                return self._phases(problem, state, tol, max_steps, others)
            left = max_steps - state.steps
            found, steps, inner = on_all_features(problem, state.iterate, tol, left)
            steps, inner = state.steps + steps, state.inner + inner
            return replace(state, iterate=found, kept=None, steps=steps, inner=inner)

        def step(state: _State) -> _State:
            return self._step(problem, state, tol, widths)

        memory = memory_of(problem, widths)
        memory = memory if state.kept is None else memory.adopt(state.kept)
        state = replace(state, kept=memory)
        state = jax.lax.while_loop(lambda state: unfinished(state) & fits(state), step, state)
        stop = lambda state: replace(state, kept=None)  # noqa: E731
        return stop(state) if last else jax.lax.cond(unfinished(state), go_on, stop, state)

    def _step(
        self, problem: Problem, state: _State, tol: Float[Array, ""], widths: tuple[int, ...]
    ) -> _State:
        iterate = state.iterate
        assert state.kept is not None
        wanted, settled = wanted_width(problem, iterate)
        width = jnp.maximum(wanted, state.kept.least_width(problem))
        choice = jnp.sum(width > jnp.array(widths[:-1], int))
        kept = _gather(problem, iterate, state.kept, wanted, choice, widths)
        # Features still to come change the solution anyway, but the first few may be all.
        fraction = jnp.where(settled, 0.0, jnp.where(state.steps == 0, 1e-3, 0.3))
        if is_concave(problem):  # for these, the last digits are not free
            fraction = jnp.where(settled, 1e-3, 0.3)
        target = jnp.maximum(fraction * iterate.error, 0.3 * tol)
        # Even of a support that seems settled, many digits at a high price may be in vain.
        enough = jnp.where(state.steps == 0, 0.0, 0.3 * iterate.error)
        coef, predictions, inner = self.solve_restricted(
            problem, iterate, target, kept, choice, widths, enough
        )
        new = iterate_at(problem, coef, predictions)
        objective = objective_at(problem, new.coef, new.predictions)
        progress = (new.error < 0.9 * state.best_error) | has_fallen(objective, state.objective)
        return _State(
            new,
            objective,
            kept,
            state.steps + 1,
            state.inner + inner,
            kept.width,
            jnp.minimum(new.error, state.best_error),
            jnp.where(progress, 0, state.stalled + 1),
        )

    def solve_restricted(
        self,
        problem: Problem,
        iterate: Iterate,
        target: Float[Array, ""],
        kept: AbstractKept,
        choice: Int[Array, ""],
        widths: tuple[int, ...],
        enough: Float[Array, ""] | float = 0.0,
    ) -> tuple[Float[Array, " p"], Float[Array, " n"], Int[Array, ""]]:
        """The coefficients that a working set leads to, their predictions, and the iterations.

        To an error of ``target`` or, where more digits are dear, of ``enough``.
        """
        unit = unit_of_error(problem)
        small = restrict(problem, iterate, kept, choice, widths)
        small = replace(small, enough=enough * unit)
        solution, inner = self.inner.solve_gram(small, target * unit)
        coef = iterate.coef.at[kept.index].set(solution, mode="drop")
        return coef, _predict(problem, coef, kept.index, solution, choice, widths), inner


def check_working_set(solver: AbstractSolver, inner: AbstractGramSolver, problem: Problem) -> None:
    """``TypeError`` naming what to use instead where features cannot be taken one by one."""
    name, other = type(solver).__name__, generic_solver(problem)
    if not isinstance(problem.loss, AbstractQuadraticLoss):
        raise TypeError(f"{name} does not support {type(problem.loss).__name__}: use {other}.")
    if not isinstance(problem.penalty, AbstractGroupSeparablePenalty):
        raise TypeError(f"{name} does not support {type(problem.penalty).__name__}: use {other}.")
    if not isinstance(problem.penalty, RowL2):  # of several targets, rows come and go
        check_one_target(solver, problem)
    inner.check(problem)


def _check_concave(solver: WorkingSet, problem: Problem) -> None:
    """``TypeError`` for concave penalties, unless coordinates are minimised over in turn."""
    if problem.penalty.steep or not isinstance(solver.inner, GramCoordinateDescent):
        check_convex(solver, problem)


def begun(problem: Problem, start: Iterate, max_steps: Int[Array, ""]) -> Iterate:
    """The Lasso of the same strength instead of zero: lower minima are to be found from there."""
    relaxation = Relaxation.of(problem)
    relaxed = relaxation.at(jnp.zeros_like(start.coef))

    def lasso() -> Iterate:
        zero = relaxation.seen_from(relaxed, start)
        found, _ = WorkingSet().run(relaxed, zero, jnp.array(_BEGUN, start.coef.dtype), max_steps)
        return relaxation.seen_from(problem, found)

    return jax.lax.cond(jnp.any(start.coef != 0), lambda: start, lasso)


def memory_of(problem: Problem, widths: tuple[int, ...]) -> AbstractKept:
    """For the working sets of a phase."""
    memory = KeptColumns if by_columns(problem, widths) else KeptGram
    return memory.empty(problem, widths[-1])


def _gather(
    problem: Problem,
    iterate: Iterate,
    kept: AbstractKept,
    wanted: Int[Array, ""],
    choice: Int[Array, ""],
    widths: tuple[int, ...],
) -> AbstractKept:
    """The next working set and its matrix."""
    score = scores(problem, iterate)

    def gather(width: int) -> AbstractKept:
        chosen = highest(problem.penalty, score, width).astype(jnp.int32)
        full = is_filled(problem.penalty, width)
        return kept.update(problem, chosen, jnp.array(width) if full else wanted)

    return switch_width(choice, widths, gather)


def _predict(
    problem: Problem,
    coef: Float[Array, "p ..."],
    index: Int[Array, " k"],
    solution: Float[Array, "k ..."],
    choice: Int[Array, ""],
    widths: tuple[int, ...],
) -> Float[Array, "n ..."]:
    """X coef by the columns of the working set alone, outside of which coef is zero."""

    def predict(width: int) -> Float[Array, "n ..."]:
        if width == coef.shape[0]:
            return matvec(problem.X, coef)
        combine = lambda values: problem.X.combine(index[:width], values)  # noqa: E731
        kept = solution[:width]
        return combine(kept) if kept.ndim == 1 else jax.vmap(combine, 1, 1)(kept)

    return switch_width(choice, widths, predict)


def restrict(
    problem: Problem,
    iterate: Iterate,
    kept: AbstractKept,
    choice: Int[Array, ""],
    widths: tuple[int, ...],
) -> GramProblem:
    """The problem of the working set, in units of unit column norms."""
    index, curvature = kept.index, kept.curvature
    penalty = problem.penalty.restrict(index)
    used = index < problem.X.shape[1]
    diagonal = jnp.where(used, curvature.diagonal(), 0.0)
    norms = jnp.sqrt(diagonal)
    if penalty.groups_of_coordinates is not None:
        labels, num_groups, _ = penalty.groups_of_coordinates
        diagonal = jax.ops.segment_max(diagonal, labels, num_groups)[labels]
    scale = jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1.0))
    pull = iterate.pull.at[index].get(mode="fill", fill_value=0.0)
    coef = iterate.coef.at[index].get(mode="fill", fill_value=0.0)
    # Padding rests where the penalty puts a feature without data.
    coef = jnp.where(per_row(used, coef), coef, penalty.prox(coef, 1.0))
    pull = pull / per_row(scale, coef)
    residual = 2 * problem.loss.value(iterate.predictions, problem.y)
    # Stricter than the certificate: what is rounding here must be rounding there.
    size = norms / scale * data_norm(problem) / 4
    return GramProblem(curvature, pull, coef, scale, penalty, residual, size, choice, widths)
