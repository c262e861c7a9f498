"""Variable projection onto thin factors: the trace norm."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..._certificate import Iterate, iterate_at, objective_at_zero
from ..._problem import Problem
from ...penalties import Nuclear
from ...penalties._spectral import leading_svd
from ._low_rank import AbstractLowRank, low_rank
from ._minimise import AbstractOuterProblem, AbstractProjection, half_square, minimise

_ROUND = 6  # steps of L-BFGS between two looks at the rank
_PATIENCE = 3  # rounds without progress that mean rounding has been reached
_NEGLIGIBLE = 1e-6  # singular value of B, relative to the largest, that makes room for others


class _Thin(AbstractProjection):
    value: Float[Array, ""]
    left: Float[Array, "r m"]  # Uᵀ
    right: Float[Array, "r tasks"]  # V
    pulled: Float[Array, "r m"]  # ((C − G UV)Vᵀ)ᵀ

    @property
    def coef(self) -> Float[Array, "m tasks"]:
        """U V."""
        return self.left.T @ self.right


class ThinFactor(AbstractOuterProblem):
    """f(U) = min over V of ‖√h(Y − XUV)‖²/2 + λ(‖U‖² + ‖V‖²)/2, in the coordinates of ``data``.

    ∇f = λU − (C − G UV)Vᵀ. The variable is Uᵀ divided by ``scale``, which brings the curvature of
    its entries near to one; transposed, because no product needs its transpose then.
    """

    data: AbstractLowRank
    strength: Float[Array, ""]
    scale: Float[Array, "r m"]

    def project(self, v: Float[Array, "r m"], near: Any) -> _Thin:
        del near  # a linear system needs no start
        left = self.scale * v
        right, fitted, pulled = self.data.factor(left, self.strength)
        value = (self.strength * jnp.vdot(left, left) - fitted) / 2
        return _Thin(value, left, right, pulled)

    def envelope(self, v: Float[Array, "r m"], projection: _Thin) -> Float[Array, ""]:
        left = self.scale * v
        return self.strength * jnp.vdot(left, left) / 2 - jnp.vdot(left, projection.pulled)

    def gap(self, projection: _Thin) -> Float[Array, ""]:
        """Not within a round, at the end of which the pull is looked at for more than that."""
        return jnp.full_like(projection.value, jnp.inf)


class _State(eqx.Module):
    coef: Float[Array, "m tasks"]
    sizes: Float[Array, " 2k"]  # of the columns that the next factor may have, ...
    columns: Float[Array, "m 2k"]  # ... and their directions
    gap: Float[Array, ""]
    steps: Int[Array, ""]
    stalled: Int[Array, ""]


class _Pull(eqx.Module):
    """The pull C − G B, and the pairs of singular vectors along which it would have B grow."""

    matrix: Float[Array, "m tasks"]
    forces: Float[Array, " k"]
    sizes: Float[Array, " k"]
    columns: Float[Array, "m k"]

    def __init__(
        self, data: AbstractLowRank, strength: Float[Array, ""], coef: Float[Array, "m tasks"]
    ):
        self.matrix = data.pull(coef)
        self.columns, self.forces, others = leading_svd(self.matrix)
        along = data.along(self.columns, others)
        beyond = jnp.maximum(self.forces - strength, 0.0)
        self.sizes = beyond / jnp.where(along > 0, along, 1.0)


def solve_thin(
    problem: Problem, start: Iterate, tol: Float[Array, ""], max_steps: Int[Array, ""], memory: int
) -> tuple[Iterate, Int[Array, ""]]:
    """The trace norm's solution, by factors as wide as their rank asks for.

    Every round begins with the balanced factor of the last coefficients and the singular pairs of
    the pull above the strength, which is where to escape from a saddle point. Widths grow.
    """
    data = low_rank(problem)
    rounding = jnp.finfo(tol.dtype).eps * jnp.linalg.norm(data.target)
    strength = jnp.maximum(problem.penalty.strength, rounding)
    unit = objective_at_zero(problem)
    shape = data.target.shape

    def begun() -> _State:
        coef, left, sizes = _lowered(data, start.coef)
        pull, zero = _Pull(data, strength, coef), jnp.array(0)
        return _State(coef, *_either(left, sizes, pull), start.gap.astype(tol.dtype), zero, zero)

    def round_of(state: _State, width: int) -> _State:
        sizes, chosen = jax.lax.top_k(state.sizes, width)
        curved = sizes[:, None] * data.curvature
        factor = ThinFactor(data, strength, 1 / jnp.sqrt(strength + curved))
        first = (state.columns[:, chosen] * jnp.sqrt(sizes)).T / factor.scale
        unknown, limit = jnp.full_like(tol, jnp.inf), jnp.minimum(_ROUND, max_steps - state.steps)
        # There is room for no more pairs than there are between the steps of a round.
        pairs = min(memory, _ROUND - 1)
        thin, steps = minimise(factor, first, unknown, tol / 2, limit, pairs)
        coef, balanced = thin.coef, _balanced(thin)
        pull = _Pull(data, strength, coef)
        gap = _gap(data, strength, thin, pull) / unit
        stalled = jnp.where(gap < 0.9 * state.gap, 0, state.stalled + 1)
        return _State(coef, *_either(*balanced, pull), gap, state.steps + steps, stalled)

    def fits(state: _State, width: int) -> Bool[Array, ""]:
        wanted = jnp.sum(state.sizes > _NEGLIGIBLE * jnp.max(state.sizes))
        return (wanted <= width) | (state.steps == 0)

    state = begun()
    for width in _widths(min(shape)):

        def unfinished(state: _State, width: int = width) -> Bool[Array, ""]:
            going = (state.gap > tol / 2) & (state.steps < max_steps) & (state.stalled < _PATIENCE)
            return going & (fits(state, width) if width < min(shape) else True)

        round_here = lambda state, width=width: round_of(state, width)  # noqa: E731
        state = jax.lax.while_loop(unfinished, round_here, state)
    return _certified(problem, data, state, start, tol), state.steps


def _lowered(
    data: AbstractLowRank, coef: Float[Array, "..."]
) -> tuple[Float[Array, "m tasks"], Float[Array, "m k"], Float[Array, " k"]]:
    """B of W, its left singular vectors and its singular values: for free at zero."""
    shape, dtype = data.target.shape, data.target.dtype

    def known() -> tuple[Array, Array, Array]:
        lowered = data.lower(coef)
        left, sizes, _ = jnp.linalg.svd(lowered, full_matrices=False)
        return lowered, left, sizes

    def zero() -> tuple[Array, Array, Array]:
        rank = min(shape)
        return jnp.zeros(shape, dtype), jnp.zeros((shape[0], rank), dtype), jnp.zeros(rank, dtype)

    return jax.lax.cond(jnp.any(coef != 0), known, zero)


def _balanced(thin: _Thin) -> tuple[Float[Array, "m r"], Float[Array, " r"]]:
    """The left singular vectors of UV, and its singular values."""
    left, tall = jnp.linalg.qr(thin.left.T)
    _, wide = jnp.linalg.qr(thin.right.T)
    turned, sizes, _ = jnp.linalg.svd(tall @ wide.T)
    return left @ turned, sizes


def _either(
    left: Float[Array, "m r"], sizes: Float[Array, " r"], pull: _Pull
) -> tuple[Float[Array, " 2k"], Float[Array, "m 2k"]]:
    """The columns of B and those that the pull would add, as many as for B of full rank."""
    missing = pull.sizes.size - sizes.size
    sizes, left = jnp.pad(sizes, (0, missing)), jnp.pad(left, ((0, 0), (0, missing)))
    return jnp.concatenate([sizes, pull.sizes]), jnp.concatenate([left, pull.columns], axis=1)


def _gap(
    data: AbstractLowRank, strength: Float[Array, ""], thin: _Thin, pull: _Pull
) -> Float[Array, ""]:
    """With the dual point s·(residual), and (‖U‖² + ‖V‖²)/2 for the trace norm."""
    coef = thin.coef
    shrink = strength / jnp.maximum(jnp.max(pull.forces), strength)
    fitted = jnp.vdot(coef, pull.matrix)
    square = data.energy - jnp.vdot(coef, data.target) - fitted
    size = half_square((thin.left, thin.right))
    return (1 - shrink) ** 2 * jnp.maximum(square, 0.0) / 2 + strength * size - shrink * fitted


def _certified(
    problem: Problem, data: AbstractLowRank, state: _State, start: Iterate, tol: Float[Array, ""]
) -> Iterate:
    """After a proximal step, so that what should be zero in the spectrum is; if that helps."""
    step = 1 / data.steepest
    step = jnp.where(jnp.isfinite(step), step, 0.0)
    plain = Nuclear(problem.penalty.strength)  # of coordinates, which have a shape already
    proximal = plain.prox(state.coef + step * data.pull(state.coef), step)

    def lifted(coef: Float[Array, "m tasks"]) -> Iterate:
        return iterate_at(problem, data.lift(coef).reshape(start.coef.shape))

    def best(*candidates: Iterate) -> Iterate:
        index = jnp.argmin(jnp.stack([c.gap for c in candidates]))
        return jax.tree.map(lambda *leaves: jnp.stack(leaves)[index], *candidates)

    sharp = lifted(proximal)
    keep = (start.gap <= tol) | (state.steps == 0)
    rounding = 10 * jnp.finfo(tol.dtype).resolution  # below which no gap tells which is best
    return jax.lax.cond(
        keep | (sharp.gap > jnp.maximum(tol, rounding)),
        lambda: best(start, sharp, lifted(state.coef)),
        lambda: sharp,
    )


def _widths(largest: int) -> tuple[int, ...]:
    """Of factors: most solutions need far less than the largest."""
    widths = [8]
    while 4 * widths[-1] <= largest:
        widths.append(4 * widths[-1])
    return (*(width for width in widths if 2 * width <= largest), largest)
