"""Certified working sets: the fast default for separable and group penalties."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._certificate import Iterate, data_norm, iterate_at, objective_at_zero
from .._dual import generic_solver
from .._modules import replace
from .._problem import Problem, matvec
from ..losses import AbstractQuadraticLoss
from ..penalties import AbstractGroupSeparablePenalty, RowL2
from ..penalties._base import per_row
from ._base import AbstractSolver, check_convex, check_one_target
from ._gram import AbstractGramSolver, GramProblem, switch_width
from ._kept import AbstractKept, KeptColumns, KeptGram
from ._semismooth_newton import SemismoothNewton

_SMALLEST, _MIDDLE, _LARGEST = 64, 256, 4096
_STEPS = (16, _SMALLEST, 128, _MIDDLE, 512, 1024, 1536, 2048, 3072, _LARGEST)  # widths
_ROOM = 512  # for features that will leave again
_PATIENCE = 5  # steps without progress that mean rounding has been reached


class _State(eqx.Module):
    iterate: Iterate
    kept: AbstractKept | None  # what the phase so far has left
    steps: Int[Array, ""]
    inner: Int[Array, ""]
    width: Int[Array, ""]  # of the last working set
    best_gap: Float[Array, ""]
    stalled: Int[Array, ""]


class WorkingSet(AbstractSolver):
    """Solve on the features most likely to matter, certify on all of them, enlarge, repeat.

    Each step takes the features whose pull is largest beside those in the support, solves the
    problem restricted to them through its Gram matrix, and computes the duality gap of the whole
    problem with one pass over X and one over its transpose. Widths come from a short list.

    Parameters
    ----------
    inner
        Solves the restricted problem: ``SemismoothNewton()``, ``VarPro()`` or, for several
        targets, ``GramCoordinateDescent()`` or ``GramFISTA()``.
    """

    inner: AbstractGramSolver = SemismoothNewton()

    default_max_steps: ClassVar[int] = 100

    def check(self, problem: Problem) -> None:
        check_convex(self, problem)
        if not isinstance(problem.loss, AbstractQuadraticLoss):
            name = type(problem.loss).__name__
            raise TypeError(f"WorkingSet does not support {name}: use {generic_solver(problem)}.")
        if not isinstance(problem.penalty, AbstractGroupSeparablePenalty):
            name, other = type(problem.penalty).__name__, generic_solver(problem)
            raise TypeError(f"WorkingSet does not support {name}: use {other}.")
        if not isinstance(problem.penalty, RowL2):  # of several targets, rows come and go
            check_one_target(self, problem)
        self.inner.check(problem)

    def run(
        self, problem: Problem, start: Iterate, tol: Float[Array, ""], max_steps: Int[Array, ""]
    ) -> tuple[Iterate, dict[str, Any]]:
        zero = jnp.array(0)
        state = _State(start, None, zero, zero, zero, start.gap, zero)
        widths = _widths(problem)
        for phase in _phases(problem, widths):
            state = self._phase(problem, state, tol, max_steps, phase, last=phase[-1] == widths[-1])
        return state.iterate, {
            "num_steps": state.steps,
            "num_inner_iterations": state.inner,
            "width": state.width,
        }

    def _phase(
        self,
        problem: Problem,
        state: _State,
        tol: Float[Array, ""],
        max_steps: Int[Array, ""],
        widths: tuple[int, ...],
        last: bool,
    ) -> _State:
        """Steps with working sets from ``widths``, until done or, unless last, outgrown."""

        def unfinished(state: _State) -> Bool[Array, ""]:
            going = (state.iterate.gap > tol) & (state.steps < max_steps)
            fits = True if last else _wanted(problem, state.iterate)[0] <= widths[-1]
            return going & (state.stalled < _PATIENCE) & fits

        def step(state: _State) -> _State:
            return self._step(problem, state, tol, widths)

        def loop(state: _State) -> _State:
            memory = _memory(problem, widths)
            memory = memory if state.kept is None else memory.adopt(state.kept)
            state = jax.lax.while_loop(unfinished, step, replace(state, kept=memory))
            return replace(state, kept=None) if last else state

        def skip(state: _State) -> _State:
            return replace(state, kept=None if last else _memory(problem, widths))

        return jax.lax.cond(unfinished(state), loop, skip, state)

    def _step(
        self, problem: Problem, state: _State, tol: Float[Array, ""], widths: tuple[int, ...]
    ) -> _State:
        iterate = state.iterate
        assert state.kept is not None
        wanted, settled = _wanted(problem, iterate)
        width = jnp.maximum(wanted, state.kept.least_width(problem))
        choice = jnp.sum(width > jnp.array(widths[:-1], int))
        kept = _gather(problem, iterate, state.kept, wanted, choice, widths)
        # Features still to come change the solution anyway, but the first few may be all.
        fraction = jnp.where(state.steps == 0, 1e-3, 0.3)
        target = jnp.maximum(jnp.where(settled, 0.0, fraction) * iterate.gap, 0.3 * tol)
        small = _restrict(problem, iterate, kept, choice, widths)
        solution, inner = self.inner.solve_gram(small, target * objective_at_zero(problem))
        coef = iterate.coef.at[kept.index].set(solution, mode="drop")
        predictions = _predict(problem, coef, kept.index, solution, choice, widths)
        new = iterate_at(problem, coef, predictions)
        progress = new.gap < 0.9 * state.best_gap
        return _State(
            new,
            kept,
            state.steps + 1,
            state.inner + inner,
            kept.width,
            jnp.minimum(new.gap, state.best_gap),
            jnp.where(progress, 0, state.stalled + 1),
        )


def _widths(problem: Problem) -> tuple[int, ...]:
    """Widths up to what a support can need, or the largest Gram matrix worth forming."""
    n, p = problem.X.shape
    support = problem.penalty.max_support(n, p)
    # Whole groups have room for features that will leave again.
    single = problem.penalty.groups_of_coordinates is None
    wanted = support + min(support, _ROOM) if single else support
    bound = min(p, max(wanted, _SMALLEST), _LARGEST)
    # A Gram matrix of many samples is dear, and one of so few features soon compiled.
    steps = sorted((*_STEPS, 384, 768)) if p <= n else _STEPS
    return (*(step for step in steps if step < bound), min(p, *(s for s in steps if s >= bound)))


def _phases(problem: Problem, widths: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Widths that share a memory.

    Where there may be large working sets, small ones have a Gram matrix of their own: clearing that
    of the large ones takes longer than solving a very sparse problem. It also takes that much
    longer to compile. Supports of groups can be so much larger than they mostly are that one in
    between is worth it. Each phase keeps the last width of the one before, for a support that has
    shrunk.
    """
    limits = [_MIDDLE] if widths[-1] > 2 * _MIDDLE else []
    if problem.penalty.groups_of_coordinates is not None:
        if _by_columns(problem, widths) and problem.X.shape[0] <= 4 * _MIDDLE:
            return [widths]
        limits += [4 * _MIDDLE] if widths[-1] > 4 * _MIDDLE else []
    ends = [sum(width <= limit for width in widths) for limit in limits]
    begins = [0, *(end - 1 for end in ends)]
    return [widths[begin:end] for begin, end in zip(begins, [*ends, len(widths)], strict=True)]


def _by_columns(problem: Problem, widths: tuple[int, ...]) -> bool:
    """Whether supports may be so much larger than the samples that no Gram matrix is worth it.

    Supports of single coefficients never are.
    """
    penalty = problem.penalty
    blocks = penalty.groups_of_coordinates is not None or isinstance(penalty, RowL2)
    return blocks and widths[-1] > 2 * problem.X.shape[0]


def _memory(problem: Problem, widths: tuple[int, ...]) -> AbstractKept:
    """For the working sets of a phase."""
    memory = KeptColumns if _by_columns(problem, widths) else KeptGram
    return memory.empty(problem, widths[-1])


def _wanted(problem: Problem, iterate: Iterate) -> tuple[Int[Array, ""], Bool[Array, ""]]:
    """How many features to take, and whether the support is nearly settled.

    Early on the support doubles, of groups it grows by half when it is large; near the end just
    what is violated is added. With more samples than features, what is violated is mostly what is
    missing, so that far more is taken at once.
    """
    n, p = problem.X.shape
    penalty = problem.penalty
    moving = _rows(penalty.support(iterate.coef))
    violated = ~moving & (penalty.saturation(iterate.coef, iterate.pull) > 1)
    settled = jnp.sum(violated) <= 2 + jnp.sum(moving) // 10
    groups = penalty.groups_of_coordinates
    if groups is not None:  # they come and stay as a whole
        moving, violated = _spread(moving, groups), _spread(violated, groups)
    support = jnp.sum(moving)
    growth = jnp.maximum(support, _SMALLEST // 2)
    growth = growth if groups is None else jnp.minimum(growth, 64 + support // 2)
    growth = 128 + support if p <= n else growth
    wanted = support + jnp.minimum(jnp.sum(violated & ~moving), growth)
    # Room for a group that is cut off where the working set ends.
    return wanted if groups is None else wanted + groups[2], settled


def _rows(chosen: Bool[Array, "p ..."]) -> Bool[Array, " p"]:
    """The features of which anything is chosen, for any task."""
    return jnp.any(chosen, axis=tuple(range(1, chosen.ndim)))


def _spread(
    chosen: Bool[Array, " p"], groups: tuple[Int[Array, " p"], int, int]
) -> Bool[Array, " p"]:
    """All of every group of which anything is chosen."""
    labels, num_groups, _ = groups
    return (jax.ops.segment_sum(chosen.astype(jnp.int32), labels, num_groups) > 0)[labels]


def _gather(
    problem: Problem,
    iterate: Iterate,
    kept: AbstractKept,
    wanted: Int[Array, ""],
    choice: Int[Array, ""],
    widths: tuple[int, ...],
) -> AbstractKept:
    """The next working set and its matrix."""
    moving = _rows(problem.penalty.support(iterate.coef))
    saturation = problem.penalty.saturation(iterate.coef, iterate.pull)
    # Ranking needs no more than float32, for which there is a fast top_k on CPU.
    score = jnp.where(moving, jnp.inf, saturation).astype(jnp.float32)
    grouped = problem.penalty.groups_of_coordinates is not None

    def gather(width: int) -> AbstractKept:
        chosen = _highest(problem.penalty, score, width).astype(jnp.int32)
        # Where their Gram matrix is cheap, what may be wanted later comes along.
        full = grouped or width <= _MIDDLE
        return kept.update(problem, chosen, jnp.array(width) if full else wanted)

    return switch_width(choice, widths, gather)


def _highest(
    penalty: AbstractGroupSeparablePenalty, score: Float[Array, " p"], width: int
) -> Int[Array, " w"]:
    """The features of highest score, as many as fit; whole groups only, padded with p."""
    groups = penalty.groups_of_coordinates
    if groups is None:
        return jax.lax.top_k(score, width)[1]
    labels, num_groups, _ = groups
    # One score a group, so that its features stay together.
    highest = jax.ops.segment_max(score, labels, num_groups)
    chosen = jnp.lexsort((labels, -highest[labels]))[:width]
    counts = jnp.zeros(num_groups, int).at[labels[chosen]].add(1)
    sizes = jax.ops.segment_sum(jnp.ones_like(labels), labels, num_groups)
    whole = (counts == sizes)[labels[chosen]]
    return jnp.where(whole, chosen, labels.shape[0])


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


def _restrict(
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
