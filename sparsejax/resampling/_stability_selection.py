"""Stability selection: features that are selected on most halves of the samples."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from .._arguments import checked_problem
from .._arrays import as_inexact
from .._checks import check_integer, check_interval, is_concrete
from .._path import checked_strengths, path
from .._problem import Problem
from .._solution import RESULTS, require_success
from ..solvers import AbstractSolver
from ..solvers._widths import any_task
from ._over_rows import Fitting, checked_fitting, over_rows, permutations, reweighted


class StabilitySelection(eqx.Module):
    """How often each feature is selected on half of the samples.

    Fits that have not succeeded are left out of the probabilities.

    Attributes
    ----------
    strengths
        (k,) strengths in the order given.
    probabilities
        (k, p): the share of the fits at each strength in which each feature is selected.
    sizes
        (fits,): how many features each half selects at one strength or another.
    gaps
        (fits, k) relative duality gaps, NaN for concave penalties.
    results
        (fits, k) members of ``RESULTS``.
    complementary
        Whether halves come in pairs without a sample in common.
    """

    strengths: Float[Array, " k"]
    probabilities: Float[Array, "k p"]
    sizes: Float[Array, " fits"]
    gaps: Float[Array, "fits k"]
    results: RESULTS
    complementary: bool = eqx.field(static=True)

    @property
    def scores(self) -> Float[Array, " p"]:
        """The largest probability of each feature at any strength."""
        return jnp.max(self.probabilities, axis=0)

    def selected(self, threshold: float = 0.75) -> Bool[Array, " p"]:
        """The stable features: those of a probability of at least ``threshold`` at a strength."""
        # Shares such as 3/4 are not exact in floating point.
        slack = 1 / (4 * self.sizes.shape[0])
        return self.scores >= _checked_threshold(threshold, self.scores.dtype) - slack

    def error_bound(self, threshold: float = 0.75, unimodal: bool = False) -> Float[Array, ""]:
        """A bound on the expected number of stable features that deserve it least.

        These are the features selected, on half of the samples and at any of the strengths, with a
        probability of at most q/p, that of guessing, where q is the mean of ``sizes``. The bound
        is q²/((2·threshold − 1)·p) or, if the share of the pairs that select such a feature in both
        halves has a ``unimodal`` distribution, a smaller one. Of halves that do not come in pairs,
        it bounds the number of features without an effect, if these are exchangeable and selection
        is no worse than guessing.
        """
        level = _checked_threshold(threshold, self.sizes.dtype)
        fits, p = self.sizes.shape[0], self.probabilities.shape[1]
        q = jnp.mean(self.sizes)
        general = q**2 / ((2 * level - 1) * p)
        if not unimodal:
            return general
        if not self.complementary:
            raise ValueError("`unimodal` needs complementary pairs.")
        pairs, share = fits // 2, q / p
        # Probabilities are multiples of one over the number of fits, and so are thresholds.
        level = jnp.ceil(level * fits - 1e-3) / fits
        small = 1 / (2 * (2 * level - 1 - 1 / (2 * pairs)))
        large = 4 * (1 - level + 1 / (2 * pairs)) / (1 + 1 / pairs)
        lowest = 0.5 + jnp.minimum(share**2, 1 / (2 * pairs) + 0.75 * share**2)
        holds = (share <= 3**-0.5) & (level > lowest)
        factor = jnp.where(level <= 0.75, small, large)
        return jnp.where(holds, jnp.minimum(factor * q**2 / p, general), general)


def stability_selection(
    problem: Problem,
    num: int,
    key: PRNGKeyArray,
    strengths: Float[Array, " k"] | None = None,
    num_strengths: int = 20,
    ratio: float = 0.1,
    complementary: bool = True,
    tol: float = 1e-6,
    solver: AbstractSolver | None = None,
    max_steps: int | None = None,
    batch_size: int | None = None,
    devices: Sequence[jax.Device] | None = None,
    throw: bool = True,
) -> StabilitySelection:
    """Select features along a path of strengths on random halves of the samples.

    A half is not a smaller table but the same one with weights of zero and one, times the sample
    weights that the loss has. All fits are one compiled call, each strength starting from the
    solution before. For any loss that ``solve`` takes, and any penalty with a strength.

    Parameters
    ----------
    problem
        The problem; the strength of its penalty is not used.
    num
        How many halves or, if ``complementary``, pairs of halves.
    key
        Draws them.
    strengths, num_strengths, ratio
        The strengths, or a geometric sequence down from the ``strength_max`` of all samples. The
        more strengths, the more features are selected at one or another, and the larger the bound.
    complementary
        Whether every half comes with the other one (Shah & Samworth), or is drawn for itself
        (Meinshausen & Bühlmann).
    tol, solver, max_steps
        As in ``solve``, for every fit.
    batch_size, devices
        As in ``bootstrap``, for halves.
    throw
        Whether a fit that did not converge raises; if not, look at ``StabilitySelection.results``.

    Raises
    ------
    ValueError, TypeError
        As ``path``; for ``num`` below one, or fewer than two samples.
    RuntimeError
        If ``throw`` and a fit did not converge; the message says which.

    Examples
    --------
    >>> import jax, numpy as np, sparsejax as sj
    >>> X = np.random.default_rng(0).normal(size=(50, 8))
    >>> problem = sj.Problem(X, X[:, 2] - X[:, 5], penalty=sj.penalties.L1(1.0))
    >>> stable = sj.resampling.stability_selection(problem, 10, jax.random.key(0), [0.5, 0.4])
    >>> np.flatnonzero(stable.selected(0.9)).tolist()
    [2, 5]

    Notes
    -----
    Meinshausen & Bühlmann, Stability selection (JRSS B, 2010), theorem 1; Shah & Samworth, Variable
    selection with error control (JRSS B, 2013), theorems 1 and 2. Of an odd number of samples, one
    is in neither half of a pair.
    """
    problem = checked_problem(problem)
    check_integer("num", num)
    grid = checked_strengths(problem, num_strengths, ratio, strengths)
    fitting = checked_fitting(problem, tol, solver, max_steps, batch_size, devices)
    halves = _draw(problem, num, key, complementary)
    chosen, gaps, results = _select(problem, halves, grid, fitting)
    if throw:
        gaps = require_success(gaps, results)
    return _summarised(grid, chosen, gaps, results, complementary)


def _checked_threshold(threshold: float, dtype: jnp.dtype) -> Float[Array, ""]:
    level = as_inexact(threshold, "threshold").astype(dtype)
    check_interval("threshold", level, 0.5, 1.0)
    if is_concrete(level) and float(level) == 0.5:
        raise ValueError("`threshold` must be above 0.5; got 0.5.")
    return level


def _draw(
    problem: Problem, num: int, key: PRNGKeyArray, complementary: bool
) -> Float[Array, "fits n"]:
    """Weights of zero and one; the two halves of a pair follow each other."""
    n = problem.X.shape[0]
    if n < 2:
        raise ValueError("`problem` must have at least two samples to halve.")
    rank = jnp.argsort(permutations(key, num, n), axis=1)
    halves = [rank < n // 2]
    if complementary:
        halves.append((rank >= n // 2) & (rank < 2 * (n // 2)))
    return jnp.stack(halves, axis=1).reshape(-1, n).astype(problem.X.dtype)


@eqx.filter_jit
def _select(
    problem: Problem,
    halves: Float[Array, "fits n"],
    strengths: Float[Array, " k"],
    fitting: Fitting,
) -> tuple[Bool[Array, "fits k p"], Float[Array, "fits k"], RESULTS]:
    def half(problem: Problem, weights: Float[Array, " n"]) -> tuple[Array, Array, RESULTS]:
        fits = path(
            reweighted(problem, weights),
            strengths=strengths,
            tol=fitting.tol,
            solver=fitting.solver,
            max_steps=fitting.max_steps,
            throw=False,
        )
        return jax.vmap(any_task)(fits.coefs != 0), fits.gaps, fits.results

    return over_rows(half, problem, halves, fitting.batch_size, fitting.devices)


@eqx.filter_jit
def _summarised(
    strengths: Float[Array, " k"],
    chosen: Bool[Array, "fits k p"],
    gaps: Float[Array, "fits k"],
    results: RESULTS,
    complementary: bool,
) -> StabilitySelection:
    dtype = strengths.dtype
    succeeded = (results == RESULTS.successful).astype(dtype)
    shares = (
        jnp.einsum("fk,fkp->kp", succeeded, chosen.astype(dtype))
        / jnp.sum(succeeded, axis=0)[:, None]
    )
    sizes = jnp.sum(jnp.any(chosen, axis=1), axis=1).astype(dtype)
    return StabilitySelection(strengths, shares, sizes, gaps, results, complementary)
