"""What is to be solved."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ._arrays import as_inexact, cast_floats
from ._checks import check_finite
from ._modules import invoke, replace
from ._together import largest
from .designs import AbstractDesign, Dense, Sparse, Standardised, as_design
from .designs._base import underlying
from .designs._several import matvec
from .losses import (
    AbstractLoss,
    AbstractQuadraticLoss,
    AbstractSmoothLoss,
    Equality,
    Squared,
    SquareRoot,
)
from .losses._profiled import Profiled
from .losses._profiled_kinks import ProfiledKinks
from .penalties import AbstractGroupSeparablePenalty, AbstractPenalty

_SQUARED = Squared()
_FEW = 256  # columns that are gathered sooner than all of X is read


class Problem(eqx.Module):
    """min over w and b of loss(X w + b + offset, y) + penalty(w).

    Parameters
    ----------
    X
        (n, p): array, JAX BCOO or BCSR, SciPy sparse matrix, lineax operator or a design.
        Everything is computed in its dtype.
    y
        (n,) targets, or (n, tasks) for several at once: then w is (p, tasks) and b is (tasks,).
        The loss says what they may be (labels, counts, times and events).
    loss
        Averages over the samples; ``losses.Squared()`` by default.
    penalty
        Carries its own strength.
    fit_intercept
        Whether to fit an unpenalised intercept b (zero otherwise).
    offset
        Added to the predictions, of their shape: what is known beforehand, such as the logarithm
        of an exposure.

    Raises
    ------
    ValueError
        For mismatched rows, empty arrays, NaN or infinity, or parameters of the wrong length;
        the message names the argument.
    TypeError
        For text, or objects that are no loss or penalty.

    Examples
    --------
    >>> import numpy as np, sparsejax as sj
    >>> problem = sj.Problem(np.eye(2), np.array([3.0, 0.1]), penalty=sj.penalties.L1(0.5))
    >>> sj.solve(problem).coef.tolist()
    [2.0, 0.0]
    """

    X: AbstractDesign
    y: Float[Array, "n ..."]
    # Solvers need narrower kinds, which their `check` establishes before they run.
    loss: Any
    penalty: Any
    offset: Float[Array, "n ..."] | None
    fit_intercept: bool = eqx.field(static=True)

    def __init__(
        self,
        X: Any,
        y: Any,
        loss: AbstractLoss | None = None,
        penalty: AbstractPenalty | None = None,
        fit_intercept: bool = False,
        offset: Any = None,
    ):
        loss = _SQUARED if loss is None else loss
        if not isinstance(loss, AbstractLoss):
            raise TypeError(f"`loss` must be a sparsejax loss; got {type(loss).__name__}.")
        if not isinstance(penalty, AbstractPenalty):
            raise TypeError(
                f"`penalty` must be a sparsejax penalty, such as L1(0.1); got {penalty!r}."
            )
        self.X = as_design(X)
        self.loss = cast_floats(loss, self.X.dtype)
        self.y = invoke(self.loss, "targets", _as_targets(y, self.X))
        self.penalty = cast_floats(penalty, self.X.dtype)
        if fit_intercept and not loss.has_intercept:
            raise ValueError(f"`fit_intercept` must be False: {type(loss).__name__} has none.")
        self.fit_intercept = bool(fit_intercept)
        invoke(self.loss, "check", self.y)
        invoke(self.penalty, "check", self.X.shape[1])
        if not self.penalty.takes_tasks and invoke(self.loss, "outputs", self.y):
            raise TypeError(
                f"{type(penalty).__name__} takes one target, {type(loss).__name__} has several "
                "here: use L1, ElasticNet, RowL2, Nuclear, Schatten, Rows or Spectral."
            )
        self.offset = None if offset is None else _as_offset(offset, self)

    @property
    def coef_shape(self) -> tuple[int, ...]:
        """(p,), or (p, tasks)."""
        return (self.X.shape[1], *self.loss.outputs(self.y))

    def predict(
        self, coef: Float[Array, "p ..."], intercept: Float[Array, "..."] | float = 0.0
    ) -> Float[Array, "n ..."]:
        """X·coef + intercept + offset on the problem's own samples."""
        predictions = matvec(self.X, coef) + intercept
        return predictions if self.offset is None else predictions + self.offset

    def predict_zero(self) -> Float[Array, "n ..."]:
        """The predictions of the zero vector."""
        if self.offset is not None:
            return self.offset
        return jnp.zeros((self.X.shape[0], *self.loss.outputs(self.y)), self.X.dtype)


def predict_sparse(problem: Problem, coef: Float[Array, "p ..."]) -> Float[Array, "n ..."]:
    """``problem.predict`` at the price of the columns that are needed, where these are few."""
    p = coef.shape[0]
    if coef.ndim > 1 or p <= 4 * _FEW:
        return problem.predict(coef)
    X, w = jax.lax.stop_gradient((problem.X, coef))

    def by_columns() -> Float[Array, " n"]:
        (index,) = jnp.nonzero(w, size=_FEW, fill_value=p)
        return X.combine(index, w.at[index].get(mode="fill", fill_value=0.0))

    few = largest(jnp.sum(w != 0)) <= _FEW
    product = jax.lax.cond(few, by_columns, lambda: X.matvec(w))
    product = product if problem.offset is None else product + problem.offset
    return known(Problem.predict, (problem, coef), product)


def known(function: Callable[..., Array], arguments: tuple[Any, ...], value: Array) -> Array:
    """``function(*arguments)`` with its derivative, where the value is known already."""
    return _known(arguments, value, function=function)


@eqx.filter_custom_jvp
def _known(arguments: tuple[Any, ...], value: Array, *, function: Callable[..., Array]) -> Array:
    del arguments, function
    return value


@_known.def_jvp
def _known_jvp(primals: Any, tangents: Any, *, function: Callable[..., Array]) -> Any:
    (arguments, value), (arguments_dot, _) = primals, tangents
    _, value_dot = eqx.filter_jvp(function, arguments, arguments_dot)
    return value, value_dot


def _as_targets(y: Any, X: AbstractDesign) -> Float[Array, "n ..."]:
    y = cast_floats(as_inexact(y, "y"), X.dtype)
    if y.ndim not in (1, 2) or 0 in y.shape[1:]:
        raise ValueError(
            f"`y` must be a vector of {X.shape[0]} targets, or a matrix with a row for each "
            f"sample; got shape {y.shape}."
        )
    if y.shape[0] != X.shape[0]:
        raise ValueError(
            f"`y` has {y.shape[0]} targets but `X` has {X.shape[0]} samples; they must agree."
        )
    check_finite("y", y)
    return y


def _as_offset(offset: Any, problem: Problem) -> Float[Array, "n ..."]:
    offset = cast_floats(as_inexact(offset, "offset"), problem.X.dtype)
    shape = (problem.X.shape[0], *problem.loss.outputs(problem.y))
    if offset.shape != shape:
        raise ValueError(f"`offset` must have shape {shape}; got {offset.shape}.")
    check_finite("offset", offset)
    return offset


class Centring(eqx.Module):
    """How the intercept of a loss of y − z was projected out, and how to put it back."""

    feature_mean: Float[Array, " p"]
    target_mean: Float[Array, "..."]

    def intercept(self, coef: Float[Array, "p ..."]) -> Float[Array, "..."]:
        """The best intercept for ``coef``."""
        return self.target_mean - self.feature_mean @ coef


class Profiling(eqx.Module):
    """How the intercept of any other loss was minimised over, and how to put it back."""

    problem: Problem

    def intercept(self, coef: Float[Array, "p ..."]) -> Float[Array, "..."]:
        """The best intercept for ``coef``."""
        return self.problem.loss.intercept(self.problem.predict(coef), self.problem.y)


def project_intercept(problem: Problem) -> tuple[Problem, Centring | Profiling | None]:
    """An equivalent problem without an intercept.

    For a quadratic loss, its square root and interpolation the best intercept is ȳ − x̄ᵀw (weighted
    means), so centring X and y removes it exactly; for others the loss is minimised over it at
    every w. Either way, the gradient of the loss at any w is orthogonal to the intercept: the dual
    point that the certificate is built from is feasible without further ado. An offset joins the
    targets where X and y are centred.
    """
    centred = isinstance(problem.loss, AbstractQuadraticLoss | SquareRoot | Equality)
    if centred and problem.offset is not None:
        problem = replace(problem, y=problem.y - problem.offset, offset=None)
    if not problem.fit_intercept:
        return problem, None
    if not centred:
        smooth = isinstance(problem.loss, AbstractSmoothLoss)
        profile: Any = Profiled if smooth else ProfiledKinks
        loss = profile(loss=problem.loss)
        if smooth:
            at_zero = jax.lax.stop_gradient(loss.intercept(problem.predict_zero(), problem.y))
            loss = profile(problem.loss, at_zero)
        profiled = replace(problem, loss=loss, fit_intercept=False)
        return profiled, Profiling(profiled)
    weights = problem.loss.mean_weights(problem.y)
    centring = Centring(problem.X.rmatvec(weights), weights @ problem.y)
    centred = replace(
        problem,
        X=Standardised(problem.X, centring.feature_mean, _without_constants(problem, weights)),
        y=problem.y - centring.target_mean,
        fit_intercept=False,
    )
    return centred, centring


def _without_constants(problem: Problem, weights: Float[Array, " n"]) -> Float[Array, " p"] | None:
    """Scales of the centred features: infinite for what is constant and has no penalty.

    Centred, such a column is nothing but rounding, and no penalty keeps solvers from dividing by
    it. As zero it does what it can do beside an intercept: nothing.
    """
    penalty, X = problem.penalty, problem.X
    known = isinstance(underlying(X), Dense | Sparse)
    if not known or not isinstance(penalty, AbstractGroupSeparablePenalty):
        return None
    free = jnp.broadcast_to(penalty.is_free(), X.shape[1:])

    def constant() -> Bool[Array, " p"]:
        _, variance, rounding = X.mean_and_variance(weights)
        return free & (variance <= rounding)

    nothing = jax.lax.cond(largest(jnp.any(free)), constant, lambda: jnp.zeros_like(free))
    return jnp.where(nothing, jnp.inf, jnp.ones(X.shape[1], X.dtype))
