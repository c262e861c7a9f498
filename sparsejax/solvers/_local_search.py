"""Best subsets of features, by local search."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._certificate import Iterate, data_norm, iterate_at
from .._problem import Problem
from ..losses import AbstractQuadraticLoss
from ..penalties import L0, Cardinality
from ._base import AbstractSolver, check_one_target
from ._gram import switch_width
from ._subset import LeastSquares, least_squares

_ROUNDING = 100  # times ε: gains below that part of the loss at zero are none
_DEPENDENT = 1e-10  # of its square, what must be left of a feature that the others do not span


class LocalSearch(AbstractSolver):
    """The support that no single feature entering, leaving or taking another's place improves.

    Every support is worth the loss of least squares on it. With the inverse B of the Gram matrix
    of the support, A = B·X_Sᵀ X and the part d_j of ‖x_j‖² that the support does not span, the
    loss falls by c_j²/(2d_j) where j enters, rises by w_i²/(2B_ii) where i leaves, and both at
    once change it by

        w_i²/(2B_ii) − (c_j + w_i A_ij/B_ii)²/(2(d_j + A_ij²/B_ii)):

    every move, refitted exactly, in one matrix expression. The best move is made until none
    lowers the objective, which takes finitely many steps, because no support comes twice.

    For least squares and a price (``L0``) or a bound (``Cardinality``) of the number of features.
    From zero this begins with forward selection; ``init`` gives another support to begin with. A
    step of ``max_steps`` is one move.

    Examples
    --------
    >>> import numpy as np, sparsejax as sj
    >>> X, penalty = np.array([[1.0, 0.0, 0.9], [0.0, 1.0, 0.9]]), sj.penalties.Cardinality(2)
    >>> problem = sj.Problem(X, np.array([1.0, 0.5]), penalty=penalty)
    >>> one_more = sj.solve(problem, sj.solvers.LocalSearch(), max_steps=1, throw=False)
    >>> [int(j) for j in np.flatnonzero(one_more.coef)]
    [2]
    >>> float(sj.solve(problem, sj.solvers.LocalSearch()).objective.round(6))
    0.0

    Notes
    -----
    Local combinatorial search of Hazimeh & Mazumder, Fast best subset selection (Operations
    Research, 2020), whose swaps keep the other coefficients where they are; these do not.
    """

    default_max_steps: ClassVar[int] = 10_000

    def check(self, problem: Problem) -> None:
        check_subsets(self, problem, (L0, Cardinality))

    def run(
        self, problem: Problem, start: Iterate, tol: Float[Array, ""], max_steps: Int[Array, ""]
    ) -> tuple[Iterate, dict[str, Any]]:
        del tol  # the search ends by itself, in a stationary point
        search = _Search(problem)

        def unfinished(state: _State) -> Bool[Array, ""]:
            return state.moving & (state.steps < max_steps)

        def step(state: _State) -> _State:
            support, moving = search.step(state.support)
            return _State(support, state.steps + moving, moving)

        first = _State(start.coef != 0, jnp.array(0), jnp.array(True))
        final = jax.lax.while_loop(unfinished, step, first)
        return iterate_at(problem, search.fit(final.support)), {"num_steps": final.steps}


class _State(eqx.Module):
    support: Bool[Array, " p"]
    steps: Int[Array, ""]
    moving: Bool[Array, ""]


def check_subsets(solver: AbstractSolver, problem: Problem, penalties: tuple[type, ...]) -> None:
    """``TypeError`` for all but least squares with one of the penalties."""
    name, loss, penalty = type(solver).__name__, problem.loss, problem.penalty
    if not isinstance(loss, AbstractQuadraticLoss):
        raise TypeError(f"{name} does not support {type(loss).__name__}: use FISTA().")
    if not isinstance(penalty, penalties):
        raise TypeError(f"{name} does not support {type(penalty).__name__}: use Auto().")
    check_one_target(solver, problem)


class _Search(eqx.Module):
    """The moves from one support to the next."""

    problem: Problem
    squares: Float[Array, " p"]  # ‖x_j‖²
    pull: Float[Array, " p"]  # at zero
    price: Float[Array, ""]
    rounding: Float[Array, ""]
    most: int = eqx.field(static=True)  # features in any support
    widths: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, problem: Problem):
        n, p = problem.X.shape
        loss, penalty = problem.loss, problem.penalty
        dtype = problem.X.dtype
        self.problem = problem
        self.squares = problem.X.square_norms(loss.row_weights(problem.y))
        self.pull = -problem.X.rmatvec(loss.gradient(problem.predict_zero(), problem.y))
        bounded = isinstance(penalty, Cardinality)
        self.price = jnp.zeros((), dtype) if bounded else penalty.strength
        self.rounding = _ROUNDING * jnp.finfo(dtype).eps * data_norm(problem) ** 2
        self.most = min(n, p, penalty.k) if bounded else min(n, p)
        smaller = (width for width in (16, 64, 256, 1024) if width < self.most)
        self.widths = (*smaller, self.most)

    def fit(self, support: Bool[Array, " p"]) -> Float[Array, " p"]:
        """Least squares on the support."""
        index = self._index(support, self.most)
        fit = least_squares(self.problem, index, self.pull)
        return jnp.zeros_like(self.pull).at[index].set(fit.coef, mode="drop")

    def step(self, support: Bool[Array, " p"]) -> tuple[Bool[Array, " p"], Bool[Array, ""]]:
        """The support after the best move, and whether there is one that gains."""
        count = jnp.sum(support)
        choice = jnp.sum(count > jnp.array(self.widths[:-1], int))
        return switch_width(choice, self.widths, lambda width: self._step(support, count, width))

    def _index(self, support: Bool[Array, " p"], width: int) -> Int[Array, " k"]:
        return jnp.nonzero(support, size=width, fill_value=support.shape[0])[0]

    def _step(
        self, support: Bool[Array, " p"], count: Int[Array, ""], width: int
    ) -> tuple[Bool[Array, " p"], Bool[Array, ""]]:
        p = support.shape[0]
        index = self._index(support, width)
        fit = least_squares(self.problem, index, self.pull)
        enter, leave, swap = self._changes(support, index, fit)
        enter = jnp.where(count < self.most, enter, jnp.inf)
        every = jnp.concatenate([enter, leave, swap.ravel()])
        best = jnp.argmin(every)
        gains = every[best] < -self.rounding
        # As positions: p stands for no feature.
        swapped, pair = best >= p + width, best - p - width
        entering = jnp.where(swapped, pair % p, jnp.where(best < p, best, p))
        place = jnp.where(swapped, pair // p, best - p)
        leaving = jnp.where(best < p, p, index[place])
        moved = support.at[leaving].set(False, mode="drop").at[entering].set(True, mode="drop")
        return jnp.where(gains, moved, support), gains

    def _changes(
        self, support: Bool[Array, " p"], index: Int[Array, " k"], fit: LeastSquares
    ) -> tuple[Float[Array, " p"], Float[Array, " k"], Float[Array, "k p"]]:
        """Of the objective, where j enters, i leaves, and both."""
        inside = index < support.shape[0]
        pull = self.pull - fit.coef @ fit.cross
        coupling = fit.inverse @ fit.cross
        left = jnp.maximum(self.squares - jnp.sum(fit.cross * coupling, axis=0), 0.0)
        least = jnp.maximum(_DEPENDENT, 100 * jnp.finfo(left.dtype).eps) * self.squares
        diagonal = jnp.diagonal(fit.inverse)
        rise = jnp.where(inside, fit.coef**2 / (2 * diagonal), jnp.inf)
        enter = self.price - _gain(pull, left, least)
        slide = coupling / diagonal[:, None]
        swapped = _gain(pull + fit.coef[:, None] * slide, left + coupling * slide, least)
        outside = lambda change: jnp.where(support, jnp.inf, change)  # noqa: E731
        return outside(enter), rise - self.price, outside(rise[:, None] - swapped)


def _gain(
    pull: Float[Array, "..."], left: Float[Array, "..."], least: Float[Array, " p"]
) -> Float[Array, "..."]:
    """pull²/(2·left); nothing is to be gained from features that are spanned already."""
    useful = left > least
    return jnp.where(useful, pull**2 / (2 * jnp.where(useful, left, 1.0)), 0.0)
