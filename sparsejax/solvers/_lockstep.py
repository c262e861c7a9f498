"""Working sets of many problems at once."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._certificate import Iterate, iterate_at, unit_of_error
from .._modules import select
from .._problem import Problem
from .._together import largest
from ._base import AbstractSolver, check_convex
from ._gram import AbstractGramSolver, switch_width
from ._polished_fista import PolishedFISTA
from ._ranking import highest, scores
from ._widths import possible_widths, wanted_width
from ._working_set import check_working_set, memory_of, restrict

_PATIENCE = 5  # steps without progress that mean rounding has been reached
_FRACTION = 0.3  # of the gap that a working set is solved to while features are still missing
_MIN_WIDTH = 64  # narrower ones save little and compile as long


class _State(eqx.Module):
    iterate: Iterate
    steps: Int[Array, ""]
    inner: Int[Array, ""]
    best_error: Float[Array, ""]
    stalled: Int[Array, ""]


class Lockstep(AbstractSolver):
    """Working sets of all problems of a batch at once: under ``vmap``, one program of products.

    Other solvers take the problems of a batch one after the other, because they branch. Here all
    working sets have the width of the largest, their Gram matrices are one batched product, and so
    is each step on them; a problem that is done waits for the others, unchanged. On a CPU it is
    worth it for many problems with supports of up to a few hundred features, in batches
    (``jax.lax.map(..., batch_size=4)``) whose Gram matrices fit into the cache.

    Each problem has its own gap and result. On correlated features, at strengths ten thousand times
    below the largest, it may stop short, and then says ``stagnated``. Under ``vmap``, the widths
    of working sets, and so the last digits of a solution, depend on the whole batch.

    Parameters
    ----------
    inner
        Solves the restricted problem: ``PolishedFISTA()`` or ``GramFISTA()``.

    Examples
    --------
    >>> import jax, numpy as np, sparsejax as sj
    >>> X, targets = np.eye(3), np.array([[3.0, -2.0, 0.1], [1.0, 0.0, 0.0]])
    >>> def fit(y):
    ...     problem = sj.Problem(X, y, penalty=sj.penalties.L1(0.1))
    ...     return sj.solve(problem, sj.solvers.Lockstep(), tol=1e-6).coef
    >>> jax.vmap(fit)(targets).round(3).tolist()
    [[2.7, -1.7, 0.0], [0.7, 0.0, 0.0]]
    """

    inner: AbstractGramSolver = PolishedFISTA()

    default_max_steps: ClassVar[int] = 100

    @property
    def together(self) -> bool:
        return True

    def check(self, problem: Problem) -> None:
        check_convex(self, problem)
        check_working_set(self, self.inner, problem)

    def run(
        self, problem: Problem, start: Iterate, tol: Float[Array, ""], max_steps: Int[Array, ""]
    ) -> tuple[Iterate, dict[str, Any]]:
        zero = jnp.array(0)
        state = _State(start, zero, zero, start.error, zero)
        widths = tuple(w for w in possible_widths(problem) if w >= _MIN_WIDTH) or (
            problem.X.shape[1],
        )

        def unfinished(state: _State) -> Bool[Array, ""]:
            going = (state.iterate.error > tol) & (state.steps < max_steps)
            return going & (state.stalled < _PATIENCE)

        def step(state: _State) -> _State:
            going = unfinished(state)
            new = self._step(problem, state, tol, widths)
            return select(going, new, state)

        # The predicate of the whole batch: with one of each problem, what is carried (and all of
        # X with it) would be selected anew after every step.
        final = jax.lax.while_loop(lambda state: largest(unfinished(state)), step, state)
        counts = {"num_steps": final.steps, "num_inner_iterations": final.inner}
        return final.iterate, counts

    def _step(
        self, problem: Problem, state: _State, tol: Float[Array, ""], widths: tuple[int, ...]
    ) -> _State:
        iterate = state.iterate
        # The widest working set is that of all, so none may grow fast.
        wanted, settled = wanted_width(problem, iterate, slowly=True)
        choice = largest(jnp.sum(wanted > jnp.array(widths[:-1], int)))
        score = scores(problem, iterate)
        target = jnp.maximum(jnp.where(settled, 0.0, _FRACTION) * iterate.error, 0.3 * tol)

        def solve(width: int) -> tuple[Array, Array]:
            chosen = highest(problem.penalty, score, width).astype(jnp.int32)
            kept = memory_of(problem, (width,)).update(problem, chosen, jnp.array(width))
            small = restrict(problem, iterate, kept, jnp.array(0), (width,))
            solution, inner = self.inner.solve_gram(small, target * unit_of_error(problem))
            return iterate.coef.at[kept.index].set(solution, mode="drop"), inner

        coef, inner = switch_width(choice, widths, solve)
        new = iterate_at(problem, coef)
        progress = new.error < 0.9 * state.best_error
        return _State(
            new,
            state.steps + 1,
            state.inner + inner,
            jnp.minimum(new.error, state.best_error),
            jnp.where(progress, 0, state.stalled + 1),
        )
