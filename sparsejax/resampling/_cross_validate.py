"""Cross-validation: how well each strength predicts samples that the fit has not seen."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._arguments import checked_problem
from .._path import checked_strengths, path
from .._problem import Problem
from .._solution import RESULTS, require_success
from ..bilevel import Folds, KFold
from ..solvers import AbstractSolver
from ._over_rows import Fitting, checked_fitting, over_rows, reweighted


class CrossValidation(eqx.Module):
    """Held-out losses of every fold at every strength.

    Attributes
    ----------
    strengths
        (k,) strengths in the order given.
    losses
        (folds, k) mean losses on the samples that each fold keeps aside.
    gaps
        (folds, k) relative duality gaps, NaN for concave penalties.
    results
        (folds, k) members of ``RESULTS``.
    """

    strengths: Float[Array, " k"]
    losses: Float[Array, "folds k"]
    gaps: Float[Array, "folds k"]
    results: RESULTS

    @property
    def means(self) -> Float[Array, " k"]:
        """The mean over folds of the held-out loss; infinite where a solve has failed."""
        failed = jnp.any(self.results != RESULTS.successful, axis=0)
        return jnp.where(failed, jnp.inf, jnp.mean(self.losses, axis=0))

    @property
    def standard_errors(self) -> Float[Array, " k"]:
        """The standard error of that mean, folds taken for independent."""
        folds = self.losses.shape[0]
        return jnp.std(self.losses, axis=0, ddof=1) / jnp.sqrt(folds)

    @property
    def best(self) -> Float[Array, ""]:
        """The strength of the smallest mean loss."""
        return self.strengths[jnp.argmin(self.means)]

    @property
    def sparsest(self) -> Float[Array, ""]:
        """The largest strength whose mean loss is within one standard error of the smallest."""
        least = jnp.argmin(self.means)
        within = self.means <= self.means[least] + self.standard_errors[least]
        return jnp.max(jnp.where(within, self.strengths, 0.0))


def cross_validate(
    problem: Problem,
    folds: int | KFold | Folds = 5,
    strengths: Float[Array, " k"] | None = None,
    num: int = 100,
    ratio: float = 1e-2,
    tol: float = 1e-6,
    solver: AbstractSolver | None = None,
    max_steps: int | None = None,
    batch_size: int | None = None,
    devices: Sequence[jax.Device] | None = None,
    throw: bool = True,
) -> CrossValidation:
    """Held-out losses of every fold along a path of strengths, in one compiled call.

    A fold is not a smaller table but the same one with weights, so that every fold has the same
    shapes. Within a fold each strength starts from the solution before, and only losses are kept.

    Parameters
    ----------
    problem
        The problem; the strength of its penalty is not used.
    folds
        A number of consecutive blocks, ``bilevel.KFold`` or, for any others, ``bilevel.Folds``.
    strengths, num, ratio
        As in ``path``: the strengths, or a geometric sequence down from the ``strength_max`` of
        all samples.
    tol, solver, max_steps
        As in ``solve``, for every fit.
    batch_size, devices
        As in ``bootstrap``, for folds.
    throw
        Whether a fit that did not converge raises; if not, look at ``CrossValidation.results``.

    Raises
    ------
    ValueError, TypeError
        As ``path``; for folds of another number of samples.
    RuntimeError
        If ``throw`` and a fit did not converge; the message says which.

    Examples
    --------
    >>> import numpy as np, sparsejax as sj
    >>> X = np.random.default_rng(0).normal(size=(50, 8))
    >>> problem = sj.Problem(X, X[:, 2] - X[:, 5], penalty=sj.penalties.L1(1.0))
    >>> curve = sj.resampling.cross_validate(problem, 4, [0.5, 0.1, 0.01])
    >>> curve.losses.shape, round(float(curve.best), 3)
    ((4, 3), 0.01)

    Notes
    -----
    The rule of one standard error is that of Breiman, Friedman, Olshen & Stone, Classification and
    Regression Trees (1984). The loss at the chosen strength flatters it: it was chosen for that.
    """
    problem = checked_problem(problem)
    grid = checked_strengths(problem, num, ratio, strengths)
    fitting = checked_fitting(problem, tol, solver, max_steps, batch_size, devices)
    folds = _checked_folds(folds, problem)
    curve = _cross_validate(problem, folds, grid, fitting)
    if not throw:
        return curve
    return eqx.tree_at(lambda c: c.losses, curve, require_success(curve.losses, curve.results))


def _checked_folds(folds: int | KFold | Folds, problem: Problem) -> Folds:
    folds = KFold(int(folds)) if isinstance(folds, int | np.integer) else folds
    if isinstance(folds, KFold):
        return folds.folds(problem)
    if not isinstance(folds, Folds):
        raise TypeError(f"`folds` must be a number, KFold or Folds; got {type(folds).__name__}.")
    folds.check(problem)
    return folds


@eqx.filter_jit
def _cross_validate(
    problem: Problem,
    folds: Folds,
    strengths: Float[Array, " k"],
    fitting: Fitting,
) -> CrossValidation:
    def fold(problem: Problem, weights: tuple[Array, Array]) -> tuple[Array, Array, RESULTS]:
        train, test = weights
        trained = reweighted(problem, train)
        fits = path(
            trained,
            strengths=strengths,
            tol=fitting.tol,
            solver=fitting.solver,
            max_steps=fitting.max_steps,
            throw=False,
        )
        measure = problem.loss.reweighted(test)
        # One at a time: a sparse design would need memory for its entries times the strengths.
        losses = jax.lax.map(
            lambda fit: measure.value(problem.predict(*fit), problem.y),
            (fits.coefs, fits.intercepts),
        )
        return losses, fits.gaps, fits.results

    dtype = problem.X.dtype
    weights = folds.train.astype(dtype), folds.test.astype(dtype)
    return CrossValidation(
        strengths, *over_rows(fold, problem, weights, fitting.batch_size, fitting.devices)
    )
