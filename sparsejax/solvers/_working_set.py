"""Certified working sets: the fast default for separable and group penalties."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._certificate import Iterate, data_norm, iterate_at, objective_at_zero
from .._dual import generic_solver
from .._problem import Problem
from ..losses import AbstractQuadraticLoss
from ..penalties import AbstractGroupSeparablePenalty
from ._base import AbstractSolver
from ._gram import GramProblem, switch_width
from ._semismooth_newton import AbstractGramSolver, SemismoothNewton

_SMALLEST, _MIDDLE, _LARGEST = 64, 256, 4096
_BLOCK = 256  # rows of a Gram matrix that are updated at once
_PATIENCE = 5  # steps without progress that mean rounding has been reached


class _State(eqx.Module):
    iterate: Iterate
    index: Int[Array, " k"]  # the features of the last working set, padded with p
    gram: Float[Array, "k k"]  # their Gram matrix, in memory that is written in place
    steps: Int[Array, ""]
    inner: Int[Array, ""]
    width: Int[Array, ""]  # of the last working set
    best_gap: Float[Array, ""]
    stalled: Int[Array, ""]


class WorkingSet(AbstractSolver):
    """Solve on the features most likely to matter, certify on all of them, enlarge, repeat.

    Each step takes the features whose pull is largest beside those in the support, solves the
    problem restricted to them through its Gram matrix, and computes the duality gap of the whole
    problem with one pass over X and one over its transpose. Widths are powers of two.

    Parameters
    ----------
    inner
        Solves the restricted problem: ``SemismoothNewton()`` or ``VarPro()``.
    """

    inner: AbstractGramSolver = SemismoothNewton()

    default_max_steps: ClassVar[int] = 100

    def check(self, problem: Problem) -> None:
        if not isinstance(problem.loss, AbstractQuadraticLoss):
            name = type(problem.loss).__name__
            raise TypeError(f"WorkingSet does not support {name}: use {generic_solver(problem)}.")
        if not isinstance(problem.penalty, AbstractGroupSeparablePenalty):
            name, other = type(problem.penalty).__name__, generic_solver(problem)
            raise TypeError(f"WorkingSet does not support {name}: use {other}.")
        self.inner.check(problem)

    def run(
        self, problem: Problem, start: Iterate, tol: Float[Array, ""], max_steps: Int[Array, ""]
    ) -> tuple[Iterate, dict[str, Any]]:
        zero = jnp.array(0)
        index, gram = _memory(problem, 0)
        state = _State(start, index, gram, zero, zero, zero, start.gap, zero)
        widths = _widths(problem)
        # Where there may be large working sets, small ones have a memory of their own: clearing
        # that of the large ones takes longer than solving a very sparse problem. It also takes
        # twice as long to compile.
        split = widths[-1] > 2 * _MIDDLE
        small = tuple(width for width in widths if width <= _MIDDLE) if split else widths
        state = self._phase(problem, state, tol, max_steps, small, last=small == widths)
        if small != widths:
            # With the last of the small ones, for a support that has shrunk meanwhile.
            state = self._phase(problem, state, tol, max_steps, widths[len(small) - 1 :], last=True)
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

        def loop(state: _State) -> _State:
            memory = lambda s: (s.index, s.gram)  # noqa: E731
            state = eqx.tree_at(memory, state, _memory(problem, widths[-1]))
            step = lambda state: self._step(problem, state, tol, widths)  # noqa: E731
            state = jax.lax.while_loop(unfinished, step, state)
            return eqx.tree_at(memory, state, _memory(problem, 0))

        return jax.lax.cond(unfinished(state), loop, lambda state: state, state)

    def _step(
        self, problem: Problem, state: _State, tol: Float[Array, ""], widths: tuple[int, ...]
    ) -> _State:
        iterate = state.iterate
        wanted, settled = _wanted(problem, iterate)
        choice = jnp.sum(wanted > jnp.array(widths[:-1], int))
        index, gram = _gather(problem, iterate, state, choice, widths)
        # Features still to come change the solution anyway, but the first few may be all.
        fraction = jnp.where(state.steps == 0, 1e-3, 0.3)
        target = jnp.maximum(jnp.where(settled, 0.0, fraction) * iterate.gap, 0.3 * tol)
        small = _restrict(problem, iterate, index, gram, choice, widths)
        solution, inner = self.inner.solve_gram(small, target * objective_at_zero(problem))
        coef = iterate.coef.at[index].set(solution, mode="drop")
        new = iterate_at(problem, coef, _predict(problem, coef, index, solution, choice, widths))
        progress = new.gap < 0.9 * state.best_gap
        return _State(
            new,
            index,
            gram,
            state.steps + 1,
            state.inner + inner,
            jnp.array(widths)[choice],
            jnp.minimum(new.gap, state.best_gap),
            jnp.where(progress, 0, state.stalled + 1),
        )


def _widths(problem: Problem) -> tuple[int, ...]:
    """Powers of two up to what a support can need, or the largest Gram matrix worth forming.

    Above 1024 the numbers halfway between as well: there a Gram matrix takes seconds.
    """
    n, p = problem.X.shape
    bound = min(p, max(2 * problem.penalty.max_support(n, p), _SMALLEST), _LARGEST)
    widths = [_SMALLEST]
    while widths[-1] < bound:
        width = 2 * widths[-1]
        halfway = 3 * width // 4
        widths += [halfway, width] if 1024 < halfway < bound else [width]
    return (*widths[:-1], min(widths[-1], p))


def _memory(problem: Problem, width: int) -> tuple[Int[Array, " k"], Float[Array, "k k"]]:
    """An empty working set and room for its Gram matrix."""
    empty = jnp.full(width, problem.X.shape[1], jnp.int32)
    return empty, jnp.zeros((width, width), problem.X.dtype)


def _wanted(problem: Problem, iterate: Iterate) -> tuple[Int[Array, ""], Bool[Array, ""]]:
    """How many features to take, and whether the support is nearly settled.

    Early on the support doubles, when it is large it grows by half; near the end just what is
    violated is added. With more samples than features, what is violated is mostly what is missing,
    so that far more is taken at once.
    """
    n, p = problem.X.shape
    penalty = problem.penalty
    moving = penalty.support(iterate.coef)
    violated = ~moving & (penalty.saturation(iterate.coef, iterate.pull) > 1)
    settled = jnp.sum(violated) <= 2 + jnp.sum(moving) // 10
    groups = penalty.groups_of_coordinates
    if groups is not None:  # they come and stay as a whole
        moving, violated = _spread(moving, groups), _spread(violated, groups)
    support = jnp.sum(moving)
    growth = jnp.where(support <= 128, jnp.maximum(support, _SMALLEST // 2), 64 + support // 2)
    growth = 128 + support if p <= n else growth
    wanted = support + jnp.minimum(jnp.sum(violated & ~moving), growth)
    # Room for a group that is cut off where the working set ends.
    return wanted if groups is None else wanted + groups[2], settled


def _spread(
    chosen: Bool[Array, " p"], groups: tuple[Int[Array, " p"], int, int]
) -> Bool[Array, " p"]:
    """All of every group of which anything is chosen."""
    labels, num_groups, _ = groups
    return (jax.ops.segment_sum(chosen.astype(jnp.int32), labels, num_groups) > 0)[labels]


def _gather(
    problem: Problem,
    iterate: Iterate,
    state: _State,
    choice: Int[Array, ""],
    widths: tuple[int, ...],
) -> tuple[Int[Array, " k"], Float[Array, "k k"]]:
    """The working set (padded with p) and, in the memory's leading block, its Gram matrix."""
    _, p = problem.X.shape
    moving = problem.penalty.support(iterate.coef)
    saturation = problem.penalty.saturation(iterate.coef, iterate.pull)
    # Ranking needs no more than float32, for which there is a fast top_k on CPU.
    score = jnp.where(moving, jnp.inf, saturation).astype(jnp.float32)

    def gather(width: int) -> tuple[Int[Array, " k"], Float[Array, "k k"]]:
        chosen = jnp.arange(p) if width == p else _highest(problem.penalty, score, width)
        form = _form_gram if width <= _MIDDLE or width == p else _update_gram
        index, gram = form(problem, state, chosen.astype(jnp.int32))
        return jnp.pad(index, (0, widths[-1] - width), constant_values=p), gram

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


def _form_gram(
    problem: Problem, state: _State, chosen: Int[Array, " w"]
) -> tuple[Int[Array, " w"], Float[Array, "k k"]]:
    """The Gram matrix of the chosen features from scratch."""
    p = problem.X.shape[1]
    everything = chosen.shape[0] == p

    def form(gram: Float[Array, "k k"]) -> Float[Array, "k k"]:
        columns = problem.X.all_columns() if everything else problem.X.columns(chosen)
        block = problem.loss.gram(columns, columns, problem.y)
        return jax.lax.dynamic_update_slice(gram, block, (0, 0))

    if not everything:
        return chosen, form(state.gram)
    # What the step before has formed still holds.
    return chosen, jax.lax.cond(state.width == p, lambda gram: gram, form, state.gram)


def _update_gram(
    problem: Problem, state: _State, chosen: Int[Array, " w"]
) -> tuple[Int[Array, " w"], Float[Array, "k k"]]:
    """The same, but features of the last working set stay in their rows and are not computed.

    New ones take the rows of those that leave, a block of rows at a time.
    """
    p, width, size = problem.X.shape[1], chosen.shape[0], state.gram.shape[0]
    # Rows beyond a narrower block would have to move: begin anew.
    held = jnp.where(state.width <= width, state.index[:width], p)
    is_chosen = jnp.zeros(p + 1, bool).at[chosen].set(True).at[p].set(False)
    stays = is_chosen[held]
    is_held = jnp.zeros(p + 1, bool).at[held].set(True)
    (free,) = jnp.nonzero(~stays, size=width, fill_value=size)
    (new,) = jnp.nonzero(~is_held[chosen], size=width, fill_value=width)
    entering = chosen.at[new].get(mode="fill", fill_value=p)
    index = held.at[free].set(entering, mode="drop")
    blocks = -(-width // _BLOCK)
    rows = jnp.pad(free, (0, blocks * _BLOCK - width), constant_values=size).reshape(blocks, -1)
    used = (jnp.sum(~stays) + _BLOCK - 1) // _BLOCK

    def update(gram: Float[Array, "k k"]) -> Float[Array, "k k"]:
        columns = problem.X.columns(index)

        def fill(i: Int[Array, ""], gram: Float[Array, "k k"]) -> Float[Array, "k k"]:
            fresh = columns.at[rows[i]].get(mode="fill", fill_value=0.0)
            block = problem.loss.gram(fresh, columns, problem.y)
            gram = gram.at[rows[i], :width].set(block, mode="drop")
            return gram.at[:width, rows[i]].set(block.T, mode="drop")

        return jax.lax.fori_loop(0, used, fill, gram)

    return index, jax.lax.cond(used > 0, update, lambda gram: gram, state.gram)


def _predict(
    problem: Problem,
    coef: Float[Array, " p"],
    index: Int[Array, " k"],
    solution: Float[Array, " k"],
    choice: Int[Array, ""],
    widths: tuple[int, ...],
) -> Float[Array, " n"]:
    """X coef by the columns of the working set alone, outside of which coef is zero."""
    return switch_width(
        choice,
        widths,
        lambda width: (
            problem.X.matvec(coef)
            if width == coef.shape[0]
            else problem.X.combine(index[:width], solution[:width])
        ),
    )


def _restrict(
    problem: Problem,
    iterate: Iterate,
    index: Int[Array, " k"],
    gram: Float[Array, "k k"],
    choice: Int[Array, ""],
    widths: tuple[int, ...],
) -> GramProblem:
    """The problem of the working set, in units of unit column norms."""
    penalty = problem.penalty.restrict(index)
    used = index < problem.X.shape[1]
    diagonal = jnp.where(used, jnp.diagonal(gram), 0.0)
    if penalty.groups_of_coordinates is not None:
        labels, num_groups, _ = penalty.groups_of_coordinates
        diagonal = jax.ops.segment_max(diagonal, labels, num_groups)[labels]
    scale = jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1.0))
    pull = iterate.pull.at[index].get(mode="fill", fill_value=0.0)
    coef = iterate.coef.at[index].get(mode="fill", fill_value=0.0)
    # Padding rests where the penalty puts a feature without data.
    coef = jnp.where(used, coef, penalty.prox(coef, 1.0))
    row_weights = problem.loss.row_weights(problem.y)
    residual = jnp.sum(row_weights * (problem.y - iterate.predictions) ** 2)
    return GramProblem(
        gram, pull / scale, coef, scale, penalty, residual, data_norm(problem), choice, widths
    )
