"""The bootstrap: fits to samples drawn with replacement."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from .._arguments import checked_problem
from .._checks import check_integer, check_interval
from .._problem import Problem
from .._solution import RESULTS, require_success
from .._solve import solve
from ..solvers import AbstractSolver
from ._over_rows import First, Fitting, checked_fitting, over_rows, reweighted


class Bootstrap(eqx.Module):
    """Solutions of resampled problems, one row each.

    The summaries leave out resamples whose solve has not succeeded.

    Attributes
    ----------
    coefs, intercepts
        (num, p) coefficients and (num,) intercepts, with another axis for several targets.
    gaps, kkts
        (num,) relative duality gaps (NaN for concave penalties) and KKT violations.
    results
        (num,) members of ``RESULTS``.
    counts
        (num, n): how often each sample was drawn.
    """

    coefs: Float[Array, "num p ..."]
    intercepts: Float[Array, "num ..."]
    gaps: Float[Array, " num"]
    kkts: Float[Array, " num"]
    results: RESULTS
    counts: Float[Array, "num n"]

    @property
    def frequencies(self) -> Float[Array, "p ..."]:
        """The share of resamples in which each coefficient is not zero."""
        return jnp.nanmean(self._successful((self.coefs != 0).astype(self.coefs.dtype)), axis=0)

    @property
    def standard_errors(self) -> Float[Array, "p ..."]:
        """The standard deviation of each coefficient over the resamples."""
        return jnp.nanstd(self._successful(self.coefs), axis=0, ddof=1)

    def interval(self, level: float = 0.95) -> tuple[Float[Array, "p ..."], Float[Array, "p ..."]]:
        """The percentile interval of each coefficient: the ends of its middle ``level``."""
        middle = jnp.asarray(level, self.coefs.dtype)
        check_interval("level", middle, 0.0, 1.0)
        ends = jnp.stack([(1 - middle) / 2, (1 + middle) / 2])
        low, high = jnp.nanquantile(self._successful(self.coefs), ends, axis=0)
        return low, high

    def _successful(self, values: Float[Array, "num ..."]) -> Float[Array, "num ..."]:
        """NaN in place of the rows of failed resamples."""
        ok = self.results == RESULTS.successful
        return jnp.where(ok.reshape(-1, *(1,) * (values.ndim - 1)), values, jnp.nan)


def bootstrap(
    problem: Problem,
    num: int,
    key: PRNGKeyArray,
    tol: float = 1e-6,
    solver: AbstractSolver | None = None,
    max_steps: int | None = None,
    batch_size: int | None = None,
    devices: Sequence[jax.Device] | None = None,
    throw: bool = True,
) -> Bootstrap:
    """Fit the problem to ``num`` samples of its samples, drawn with replacement.

    A resample is not another table but the same one with weights: how often each sample was drawn,
    times the sample weights that the loss has. All are one compiled call; where the penalty is
    convex, they start from the solution on all samples, solved first. For any loss and penalty that
    ``solve`` takes; works under ``jit`` and ``vmap``.

    Parameters
    ----------
    problem
        The problem, at its own strength.
    num
        How many resamples.
    key
        Draws them.
    tol, solver, max_steps
        As in ``solve``, for every resample.
    batch_size
        Resamples that are under one ``vmap``; None for one at a time. Worth it with solvers that
        take a batch at once, such as ``Lockstep()`` and ``FISTA()``; others take a batch in turn.
    devices
        Devices to divide the resamples among; JAX's default alone if None.
    throw
        Whether a resample that did not converge raises; if not, look at ``Bootstrap.results``.

    Raises
    ------
    ValueError
        For ``num`` or ``batch_size`` below one, or no devices.
    RuntimeError
        If ``throw`` and a resample did not converge; the message says which.

    Examples
    --------
    >>> import jax, numpy as np, sparsejax as sj
    >>> X = np.random.default_rng(0).normal(size=(50, 8))
    >>> problem = sj.Problem(X, X[:, 2] - X[:, 5], penalty=sj.penalties.L1(0.1))
    >>> fits = sj.resampling.bootstrap(problem, 20, jax.random.key(0))
    >>> fits.coefs.shape, fits.counts.sum(axis=1)[0].item()
    ((20, 8), 50.0)
    >>> bool((fits.frequencies[np.array([2, 5])] == 1).all())
    True

    Notes
    -----
    Efron, Bootstrap methods (Annals of Statistics, 1979); percentile intervals: Efron & Tibshirani
    (1993), chapter 13. Intervals of penalised coefficients inherit the bias of the penalty, and
    where a coefficient is zero their coverage may be wrong (Chatterjee & Lahiri, JASA 2011).
    """
    problem = checked_problem(problem)
    check_integer("num", num)
    fitting = checked_fitting(problem, tol, solver, max_steps, batch_size, devices)
    fits = _bootstrap(problem, _draw(problem, num, key), fitting)
    if not throw:
        return fits
    return eqx.tree_at(lambda f: f.coefs, fits, require_success(fits.coefs, fits.results))


def _draw(problem: Problem, num: int, key: PRNGKeyArray) -> Float[Array, "num n"]:
    n = problem.X.shape[0]
    rows = jax.random.randint(key, (num, n), 0, n)
    counts = jax.vmap(lambda drawn: jnp.bincount(drawn, length=n))(rows)
    return counts.astype(problem.X.dtype)


@eqx.filter_jit
def _bootstrap(
    problem: Problem,
    counts: Float[Array, "num n"],
    fitting: Fitting,
) -> Bootstrap:
    def fit(
        problem: Problem, counts: Float[Array, " n"], init: Float[Array, "p ..."] | None = None
    ) -> Bootstrap:
        how = fitting.solver, fitting.tol, fitting.max_steps, init
        s = solve(reweighted(problem, counts), *how, throw=False)
        return Bootstrap(s.coef, s.intercept, s.gap, s.kkt, s.result, counts)

    def start_of(whole: Bootstrap) -> Float[Array, "p ..."]:
        return jnp.where(whole.results == RESULTS.successful, whole.coefs, 0.0)

    first = None
    if problem.penalty.is_convex:  # of others, where one begins decides where one ends
        zeros = jnp.zeros(problem.coef_shape, counts.dtype)
        first = First(jnp.ones_like(counts[0]), zeros, start_of)
    return over_rows(fit, problem, counts, fitting.batch_size, fitting.devices, first)
