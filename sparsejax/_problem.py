"""What is to be solved."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._arrays import as_inexact, cast_floats
from ._checks import check_finite
from .designs import AbstractDesign, Standardised, as_design
from .losses import AbstractLoss, AbstractQuadraticLoss, Squared
from .penalties import AbstractPenalty


class Problem(eqx.Module):
    """min over w and b of loss(X w + b, y) + penalty(w).

    Parameters
    ----------
    X
        (n, p): array, JAX BCOO or BCSR, SciPy sparse matrix, lineax operator or a design.
        Everything is computed in its dtype.
    y
        (n,) targets.
    loss
        Averages over the samples; ``losses.Squared()`` by default.
    penalty
        Carries its own strength.
    fit_intercept
        Whether to fit an unpenalised intercept b (zero otherwise).

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
    y: Float[Array, " n"]
    # Solvers need narrower kinds, which their `check` establishes before they run.
    loss: Any
    penalty: Any
    fit_intercept: bool = eqx.field(static=True)

    def __init__(
        self,
        X: Any,
        y: Any,
        loss: AbstractLoss | None = None,
        penalty: AbstractPenalty | None = None,
        fit_intercept: bool = False,
    ):
        loss = Squared() if loss is None else loss
        if not isinstance(loss, AbstractLoss):
            raise TypeError(f"`loss` must be a sparsejax loss; got {type(loss).__name__}.")
        if not isinstance(penalty, AbstractPenalty):
            raise TypeError(
                f"`penalty` must be a sparsejax penalty, such as L1(0.1); got {penalty!r}."
            )
        self.X = as_design(X)
        self.y = _as_targets(y, self.X)
        self.loss = cast_floats(loss, self.X.dtype)
        self.penalty = cast_floats(penalty, self.X.dtype)
        self.fit_intercept = bool(fit_intercept)
        self.loss.check(self.y)
        self.penalty.check(self.X.shape[1])

    def predict(
        self, coef: Float[Array, " p"], intercept: Float[Array, ""] | float = 0.0
    ) -> Float[Array, " n"]:
        """X·coef + intercept on the problem's own samples."""
        return self.X.matvec(coef) + intercept


def _as_targets(y: Any, X: AbstractDesign) -> Float[Array, " n"]:
    y = as_inexact(y, "y").astype(X.dtype)
    if y.ndim != 1:
        raise ValueError(f"`y` must be a vector of {X.shape[0]} targets; got shape {y.shape}.")
    if y.shape[0] != X.shape[0]:
        raise ValueError(
            f"`y` has {y.shape[0]} targets but `X` has {X.shape[0]} samples; they must agree."
        )
    check_finite("y", y)
    return y


class Centring(eqx.Module):
    """How an intercept was projected out, and how to put it back."""

    feature_mean: Float[Array, " p"]
    target_mean: Float[Array, ""]

    def intercept(self, coef: Float[Array, " p"]) -> Float[Array, ""]:
        """The best intercept for ``coef``."""
        return self.target_mean - self.feature_mean @ coef


def project_intercept(problem: Problem) -> tuple[Problem, Centring | None]:
    """An equivalent problem without an intercept.

    For a quadratic loss the best intercept is ȳ − x̄ᵀw (weighted means), so centring X and y
    removes it exactly, and the residual of any w is orthogonal to the intercept: the dual point
    that the certificate is built from is feasible without further ado.
    """
    if not problem.fit_intercept:
        return problem, None
    if not isinstance(problem.loss, AbstractQuadraticLoss):
        raise TypeError("an intercept needs a quadratic loss for now: set fit_intercept=False.")
    weights = problem.loss.row_weights(problem.y)
    centring = Centring(problem.X.rmatvec(weights), jnp.vdot(weights, problem.y))
    centred = Problem(
        Standardised(problem.X, centring.feature_mean),
        problem.y - centring.target_mean,
        problem.loss,
        problem.penalty,
    )
    return centred, centring
