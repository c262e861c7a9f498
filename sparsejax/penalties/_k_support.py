"""The k-support norm."""

from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from .._arrays import inexact
from .._checks import check_nonnegative, is_nonnegative
from .._roots import refined_root
from ._base import AbstractStrengthPenalty
from ._groups import ratio, root


class KSupport(AbstractStrengthPenalty):
    """strength · ‖w‖, the norm whose unit ball is the hull of {‖w‖₂ ≤ 1, at most k non-zeros}.

    Parameters
    ----------
    strength
        Scalar ≥ 0.
    k
        Integer from 1, which gives the ℓ1 norm, to the number of features, which gives ℓ2.

    Raises
    ------
    ValueError
        If ``strength`` is negative or NaN, or not a scalar; if ``k`` is no integer, or not between
        1 and the number of features.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> penalty = sj.penalties.KSupport(1.0, 2)
    >>> float(penalty.value(jnp.array([3.0, 4.0, 0.0])))
    5.0
    >>> penalty.prox(jnp.array([3.0, 4.0, 0.0]), 2.5).tolist()
    [1.5, 2.0, 0.0]

    Notes
    -----
    The norm itself, as for the other penalties, not half its square: for some other strength the
    solutions are the same. The dual norm is the ℓ2 norm of the k largest magnitudes. Argyriou,
    Foygel & Srebro, Sparse prediction with the k-support norm (NeurIPS 2012). The proximal
    operator is v less its projection on the dual ball, exact by one sort and Newton's method.
    """

    strength: Float[Array, ""] = eqx.field(converter=inexact("strength"))
    k: int = eqx.field(static=True)

    def __check_init__(self) -> None:
        check_nonnegative("strength", self.strength, ndim=0, finite=True)
        if not isinstance(self.k, int) or self.k < 1:
            raise ValueError(f"`k` must be an integer, one or more; got {self.k!r}.")

    def check(self, num_features: int) -> None:
        if self.k > num_features:
            raise ValueError(f"`k` must be at most {num_features}, the features; got {self.k}.")

    def is_valid(self) -> Bool[Array, ""]:
        return is_nonnegative(self.strength)

    def _norm_and_top(self, w: Float[Array, " p"]) -> tuple[Array, Bool[Array, " p"], Array]:
        """The norm, which coefficients lie above the level of the others, and that level.

        The j largest do, for the least j at which the next is at most (Σ others)/(k − j): their
        squares and k − j times that of the level add up to that of the norm.
        """
        size = jnp.abs(w)
        largest = lax.stop_gradient(-jnp.sort(-size))
        sums = jnp.cumsum(largest[::-1])[::-1][: self.k]
        above = largest[: self.k] * (self.k - jnp.arange(self.k)) > sums
        count = jnp.sum(above[: self.k - 1])  # once false, it stays so
        top = lax.stop_gradient(size) > (sums / (self.k - jnp.arange(self.k)))[count]
        left = self.k - count
        level = jnp.sum(jnp.where(top, 0.0, size)) / left
        return root(jnp.sum(jnp.where(top, size, 0.0) ** 2) + left * level**2), top, level

    def dual_norm(self, c: Float[Array, " p"]) -> Float[Array, ""]:
        """The ℓ2 norm of the k largest magnitudes."""
        return root(jnp.sum(lax.top_k(jnp.abs(c), self.k)[0] ** 2))

    def _pull(self, w: Float[Array, " p"]) -> Float[Array, " p"]:
        """The magnitudes of subgradients at w ≠ 0; where w_j = 0, their bound."""
        norm, top, level = self._norm_and_top(w)
        return self.strength * ratio(jnp.where(top, jnp.abs(w), level), norm)

    def value(self, w: Float[Array, " p"]) -> Float[Array, ""]:
        return self.strength * self._norm_and_top(w)[0]

    def prox(self, v: Float[Array, " p"], step: Any) -> Float[Array, " p"]:
        size, limit = jnp.abs(v), jnp.asarray(step * self.strength, v.dtype)
        moves = (self.dual_norm(v) > limit) & (limit > 0)
        inside = _projection(size, jnp.where(moves, limit, 1.0), moves, k=self.k)
        # Where a magnitude equals the common level, rounding must not turn its sign.
        shrunk = jnp.sign(v) * jnp.maximum(size - inside, 0.0)
        return jnp.where(moves, shrunk, jnp.where(limit > 0, 0.0, v))

    def subdiff_distance(
        self, w: Float[Array, " p"], grad: Float[Array, " p"]
    ) -> Float[Array, " p"]:
        pull = self._pull(w)
        resting = jnp.maximum(jnp.abs(grad) - pull, 0.0)
        moving = jnp.where(w == 0, resting, jnp.abs(grad + jnp.sign(w) * pull))
        return jnp.where(jnp.any(w != 0), moving, jnp.abs(self.prox(-grad, 1.0)))

    def support(self, w: Float[Array, " p"]) -> Bool[Array, " p"]:
        """The nonzero entries, which may be more than k."""
        return w != 0

    def dual_scale(self, c: Float[Array, " p"]) -> Float[Array, ""]:
        return 1.0 / jnp.maximum(1.0, ratio(self.dual_norm(c), self.strength))

    def fenchel_gap(self, w: Float[Array, " p"], c: Float[Array, " p"]) -> Float[Array, ""]:
        slack = 1 + (4 + self.k) * jnp.finfo(c.dtype).eps
        inside = ratio(self.dual_norm(c), self.strength) <= slack
        return jnp.where(inside, jnp.sum(jnp.abs(w) * self._pull(w) - w * c), jnp.inf)

    def strength_max(self, c: Float[Array, " p"]) -> Float[Array, ""]:
        return self.dual_norm(c)


@partial(jax.jit, static_argnames="k")
def _projection(
    size: Float[Array, " p"], limit: Float[Array, ""], outside: Bool[Array, ""], k: int
) -> Float[Array, " p"]:
    """Magnitudes x nearest to ``size`` of which the k largest have norm ``limit`` > 0.

    With the multiplier μ of the constraint, the r largest become size/(1 + μ), those up to the
    l-th a common level, and the others stay: r < k ≤ l. Those not ``outside`` are not looked at.
    """
    order = jnp.argsort(-lax.stop_gradient(size))
    found = _search(lax.stop_gradient(size)[order], lax.stop_gradient(limit), k)
    rank = jnp.zeros(size.shape, int).at[order].set(jnp.arange(size.size))
    top, tied = rank < found.top, (rank >= found.top) & (rank < found.above)
    square, total = jnp.sum(jnp.where(top, size, 0.0) ** 2), jnp.sum(jnp.where(tied, size, 0.0))
    left, count = k - found.top, found.above - found.top

    def level(multiplier: Float[Array, ""]) -> Float[Array, ""]:
        return total / (count + multiplier * left)

    def shortfall(multiplier: Float[Array, ""]) -> Float[Array, ""]:
        norm = square / (1 + multiplier) ** 2 + left * level(multiplier) ** 2
        return jnp.where(outside, limit / root(jnp.where(outside, norm, 1.0)) - 1, multiplier)

    multiplier = refined_root(shortfall, found.multiplier)
    return jnp.where(top, size / (1 + multiplier), jnp.where(tied, level(multiplier), size))


class _Search(NamedTuple):
    multiplier: Float[Array, ""]
    top: Int[Array, ""]
    above: Int[Array, ""]
    done: Bool[Array, ""]


def _search(largest: Float[Array, " p"], limit: Float[Array, ""], k: int) -> _Search:
    """μ, r and l for magnitudes that do not increase.

    As μ increases, r decreases and l increases, and one over the norm of the k largest is concave:
    from μ = 0 Newton's method climbs to the root without passing it. A step corrects r, l or μ.
    """
    p = largest.size
    zero = jnp.zeros(1, largest.dtype)
    sums = jnp.concatenate([zero, jnp.cumsum(largest)])
    squares = jnp.concatenate([zero, jnp.cumsum(largest**2)])

    def step(state: _Search) -> _Search:
        multiplier, top, above, _ = state
        left = k - top
        weight = above - top + multiplier * left
        level = (sums[above] - sums[top]) / weight
        fewer = (top > 0) & (largest[jnp.maximum(top - 1, 0)] < level * (1 + multiplier))
        more = (above < p) & (largest[jnp.minimum(above, p - 1)] > level)
        square = squares[top] / (1 + multiplier) ** 2 + left * level**2
        slope = squares[top] / (1 + multiplier) ** 3 + (left * level) ** 2 / weight
        climb = square * (jnp.sqrt(square) / limit - 1) / jnp.where(slope > 0, slope, 1.0)
        settled = ~(fewer | more)
        higher = jnp.where(settled, multiplier + jnp.maximum(climb, 0.0), multiplier)
        # Written so that NaN ends the loop.
        done = settled & ~(higher > multiplier * (1 + 2 * jnp.finfo(largest.dtype).eps))
        return _Search(higher, top - fewer, above + more, done)

    start = _Search(zero[0], jnp.array(k - 1), jnp.array(k), jnp.array(False))
    return lax.while_loop(lambda state: ~state.done, step, start)
