"""Sparse, dense, sparse: prune, let the weights grow dense again, prune and adjust."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .._arrays import as_inexact
from .._checks import check_integer, check_nonnegative
from .._first_order import largest_eigenvalue, restarted_momentum, wave
from ..penalties import ElasticNet
from ..solvers import GramFISTA
from ..solvers._curvature import Gram
from ..solvers._gram import GramProblem
from ._layer import checked_cross, checked_gram, checked_layer
from ._pattern import AbstractPattern
from ._sparsegpt import sparsegpt

_REDENSE = GramFISTA(max_iterations=100)
_TOLERANCE = 1e-3  # of the duality gap of the re-dense step, relative to the objective at zero


def sds(
    W0: Float[Array, "out in"],
    H: Float[Array, "in in"],
    pattern: AbstractPattern,
    *,
    cross: Float[Array, "out in"] | None = None,
    l1: Float[Array, ""] | float = 0.003,
    l2: Float[Array, ""] | float = 0.003,
    steps: int = 100,
) -> tuple[Float[Array, "out in"], Bool[Array, "out in"]]:
    """SparseGPT, then a re-dense step by a sparsity-inducing fit, SparseGPT again, and adjustment.

    From the sparse weights and without a mask, ½ tr((W − W0) H (W − W0)ᵀ) + ``l1``·‖W‖₁ +
    ``l2``·‖W‖²/2 is minimised, an elastic net of every output in Gram form; then what SparseGPT
    makes of it is brought near the dense outputs by projected gradient steps, whose mask is
    selected anew from the weights after each. The best of these iterates is returned, so that
    adjusting never does harm on the calibration data. Both work in units in which H has a unit
    diagonal.

    Parameters
    ----------
    W0
        (out, in): the dense weight.
    H
        (in, in) Gram matrix X Xᵀ of the inputs, on any scale. X may be those of the sparse model
        (SD of the paper) or of the dense one (DD).
    pattern
        What ``sparsegpt`` supports.
    cross
        (out, in) W0 Xd Xᵀ, on the scale of H, for dense targets on the inputs X of the sparse
        model (KD). By default the targets are W0 X.
    l1
        Relative to the mean absolute weight.
    l2
        Relative to the diagonal of H.
    steps
        Of the adjustment.

    Returns
    -------
    weight, mask
        (out, in): exact zeros where the mask is False.

    Raises
    ------
    ValueError
        For NaN, infinity or shapes that do not fit; the message names the argument.
    TypeError
        For ``Channel``.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> H = jnp.array([[2.0, 1.0], [1.0, 2.0]])
    >>> weight, mask = sj.nn.sds(jnp.array([[1.0, 2.0]]), H, sj.nn.NM(1, 2))
    >>> weight.round(2).tolist()
    [[0.0, 2.5]]

    Notes
    -----
    Li et al., Enhancing one-shot pruned pre-trained language models through sparse-dense-sparse
    mechanism (2024). Solved to the end, the re-dense step does not depend on where it starts: the
    first pruning matters through X. Its gain over adjusting alone is small where H is measured
    well; ``bench/pruning/layer.py`` reports both.
    """
    W0, pattern = checked_layer(W0, pattern, "W0")
    H = checked_gram(H, W0.shape[1])
    cross = checked_cross(cross, W0)
    l1, l2 = as_inexact(l1, "l1"), as_inexact(l2, "l2")
    check_nonnegative("l1", l1, ndim=0, finite=True)
    check_nonnegative("l2", l2, ndim=0, finite=True)
    check_integer("steps", steps, least=0)
    return _sds(W0, H, pattern, cross, l1, l2, steps)


@functools.partial(jax.jit, static_argnums=(2, 6))
def _sds(
    W0: Any, H: Any, pattern: AbstractPattern, cross: Any, l1: Any, l2: Any, steps: int
) -> tuple[Array, Array]:
    dense, dtype = W0.astype(H.dtype), W0.dtype
    diagonal = jnp.diagonal(H)
    scale = jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1.0))
    unit = H / (scale[:, None] * scale)
    target = (dense @ H if cross is None else cross.astype(H.dtype)) / scale
    sparse = sparsegpt(dense, H, pattern)[0] * scale
    denser = _redense(dense * scale, sparse, target, unit, l1, l2)
    again, mask = sparsegpt(denser / scale, H, pattern)
    weight, mask = _adjust(again * scale, mask, target, unit, pattern, steps)
    return (weight / scale).astype(dtype), mask


def _redense(
    dense: Float[Array, "out in"],
    start: Float[Array, "out in"],
    target: Float[Array, "out in"],
    unit: Float[Array, "in in"],
    l1: Float[Array, ""],
    l2: Float[Array, ""],
) -> Float[Array, "out in"]:
    """The elastic net of every output, by the solver of working sets with all inputs in one."""
    slope, ridge = l1 * jnp.mean(jnp.abs(dense)), l2.astype(dense.dtype)
    total = slope + ridge
    penalty = ElasticNet(total, slope / jnp.where(total > 0, total, 1.0))
    width = unit.shape[0]
    gram, ones = Gram(unit), jnp.ones(width, unit.dtype)

    def solve(dense: Array, start: Array, target: Array) -> Float[Array, " in"]:
        change = dense - start
        pull = target - unit @ start
        problem = GramProblem(
            *(gram, pull, start, ones, penalty, change @ unit @ change, 0 * ones, jnp.array(0)),
            (width,),
        )
        at_zero = jnp.abs(target @ dense) / 2
        return _REDENSE.solve_gram(problem, _TOLERANCE * at_zero)[0]

    return jax.vmap(solve)(dense, start, target)


def _adjust(
    start: Float[Array, "out in"],
    mask: Bool[Array, "out in"],
    target: Float[Array, "out in"],
    unit: Float[Array, "in in"],
    pattern: AbstractPattern,
    steps: int,
) -> tuple[Float[Array, "out in"], Bool[Array, "out in"]]:
    """Accelerated projected gradient steps for ½ tr(W H Wᵀ) − ⟨W, target⟩, the best iterate."""
    width = unit.shape[0]
    step = 1 / (1.05 * largest_eigenvalue(lambda v: unit @ v, wave((width,), unit.dtype), 40))

    def objective(weight: Float[Array, "out in"]) -> Float[Array, ""]:
        return jnp.vdot(weight, weight @ unit / 2 - target)

    def iterate(_: Any, state: tuple[Array, ...]) -> tuple[Array, ...]:
        point, lookahead, momentum, best, chosen, lowest = state
        moved = lookahead - step * (lookahead @ unit - target)
        mask = pattern.mask(jnp.abs(moved))
        new = jnp.where(mask, moved, 0.0)
        value = objective(new)
        uphill = jnp.vdot(lookahead - new, new - point) > 0
        weight, momentum = restarted_momentum(momentum, uphill)
        better = value < lowest
        best, chosen = jnp.where(better, new, best), jnp.where(better, mask, chosen)
        return new, new + weight * (new - point), momentum, best, chosen, jnp.minimum(value, lowest)

    first = (start, start, jnp.ones((), unit.dtype), start, mask, objective(start))
    return jax.lax.fori_loop(0, steps, iterate, first)[3:5]
