"""Variable projection for norms of a linear transform: total variation, trend filtering."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._certificate import Iterate, iterate_at
from ..._dual import Dual, needs_dual
from ..._problem import Problem
from ...designs import GridDifferences, Identity
from ...designs._several import rmatvec
from ...losses import AbstractVariationalLoss, Quantile
from ...penalties import Analysis
from ...penalties._forms import SlopeForm
from ._elimination import (
    AbstractDenoising,
    AbstractElimination,
    Chain,
    Orthogonal,
    Pair,
    Products,
)
from ._minimise import AbstractOuterProblem, AbstractProjection, half_square
from ._ridge import FLOOR
from ._smooth import has_diagonal_curvature
from ._systems import SystemName


class Projected(AbstractProjection):
    """The multipliers of the inner problem, u those of the samples, and its coefficients."""

    value: Float[Array, ""]
    multipliers: Pair
    coef: Float[Array, " p"]


class TransformRidge(AbstractOuterProblem):
    """f(v, t) = min over w of Σ (√h(Xw − y))²/(2T(t)) + Σ (Dw)²/(2W(v)) + (‖v‖² + ‖t‖²)/2.

    With a = Dw/W and u = √h(Xw − y)/T, ∇f = ∇(‖v‖² + ‖t‖² − ΣWa² − ΣTu²)/2. T is 1 for least
    squares. The pinball loss is h|r|/2, which has a t for every sample as the norms have a v, and
    (level − ½)hr, which moves u by a constant.
    """

    problem: Problem
    penalty: Analysis
    form: SlopeForm  # of the groups of the transform
    sample_form: SlopeForm | None  # of the residuals √h r, where the loss has a kink
    root_weights: Float[Array, " n"]
    skew: Float[Array, " n"]  # (level − ½)√h
    system: AbstractElimination

    def __init__(self, problem: Problem, system: SystemName):
        self.problem, y, loss = problem, problem.y, problem.loss
        self.penalty = as_analysis(problem)
        self.form = slopes_of(self.penalty)
        self.root_weights = jnp.sqrt(loss.row_weights(y))
        self.sample_form, self.skew = None, jnp.zeros_like(y)
        if isinstance(loss, Quantile):
            self.sample_form = SlopeForm(self.root_weights / 2, jnp.zeros_like(y))
            self.skew = (loss.level - 0.5) * self.root_weights
        roots = self.root_weights
        denoising = denoising_system(problem, self.penalty, roots, system)
        if denoising is not None:
            self.system = denoising
            return
        rows = (problem.X.all_columns() * roots).T
        self.system = Orthogonal(rows, self.penalty.operator.all_columns().astype(roots.dtype).T)

    def _weights(self, v: tuple[Any, Any]) -> Pair:
        """T and W."""
        W = self.penalty.spread(self.form.root(v[0])) ** 2
        if self.sample_form is not None:
            return self.sample_form.root(v[1]) ** 2, W
        noise = self.problem.loss.noise(v[1])
        return jnp.broadcast_to(jnp.asarray(noise, W.dtype), self.problem.y.shape), W

    def project(self, v: tuple[Any, Any], near: Any) -> Projected:
        del near  # a linear system needs no start
        weights, target = self._weights(v), self.root_weights * self.problem.y
        # Of the smooth part of the loss, and the rest: −skew·(√h r) is what both add up to.
        u, a = self.system.solve(weights, target + weights[0] * self.skew)
        bent = u + self.skew
        coef = self.system.coef((weights[0] * bent + target, weights[1] * a))
        projection = Projected(jnp.zeros((), u.dtype), (u, a), coef)
        value = self.envelope(v, projection) - jnp.vdot(target, u)
        return eqx.tree_at(lambda p: p.value, projection, value)

    def envelope(self, v: tuple[Any, Any], projection: Projected) -> Float[Array, ""]:
        (T, W), (u, a) = self._weights(v), projection.multipliers
        return half_square(v) - (jnp.sum(W * a**2) + jnp.sum(T * (u + self.skew) ** 2)) / 2

    def gap(self, projection: Projected) -> Float[Array, ""]:
        return self.iterate(projection).gap

    def iterate(self, projection: Projected) -> Iterate:
        """The coefficients and their certificate, from the multipliers."""
        problem, (u, a) = self.problem, projection.multipliers
        if not needs_dual(problem):
            return iterate_at(problem, projection.coef)
        u = self.root_weights * u
        if isinstance(self.system, AbstractDenoising) and self.sample_form is None:
            a = self.penalty.nearest_force(a)  # with its u, nothing is left to correct
            u = -self.penalty.operator.rmatvec(a)
        dual = Dual(u, a if isinstance(problem.penalty, Analysis) else None)
        return iterate_at(problem, projection.coef, dual=dual)

    def first(self, coef: Float[Array, " p"]) -> tuple[Any, Any]:
        """Where to begin: the best v and t of the coefficients, or of a step from zero."""
        problem, y, loss = self.problem, self.problem.y, self.problem.loss
        h = loss.row_weights(y)
        v = first_of_norms(problem, self.penalty, self.form, coef, h * y, h)
        if self.sample_form is None:
            return v, loss.first_level(y)
        residual = self.root_weights * (y - problem.X.matvec(coef))
        return v, _floored(self.sample_form.best(residual))


def slopes_of(penalty: Analysis) -> SlopeForm:
    """The variational form of the groups of its transform."""
    slopes = jnp.broadcast_to(penalty.strength, (penalty.num_groups,))
    return SlopeForm(slopes, jnp.zeros_like(slopes))


def denoising_system(
    problem: Problem, penalty: Analysis, roots: Float[Array, " n"], system: SystemName
) -> AbstractElimination | None:
    """That of X = I, with rows that are all multiplied by the same root; None for others."""
    if not _is_denoising(problem):
        return None
    D = penalty.operator
    chain = isinstance(D, GridDifferences) and len(D.grid) == 1 and system != "cg"
    return (Chain if chain else Products)(D, roots[0])


def first_of_norms(
    problem: Problem,
    penalty: Analysis,
    form: SlopeForm,
    coef: Float[Array, " p"],
    force: Float[Array, " n"],
    curvature: Float[Array, " n"],
) -> Float[Array, " b"]:
    """The best v of the coefficients, or of a step from zero along the pull of ``force``."""
    mean = jnp.mean(problem.X.square_norms(curvature))
    step = rmatvec(problem.X, force) / jnp.where(mean > 0, mean, 1.0)
    coef = jnp.where(jnp.any(coef != 0), coef, step)
    return _floored(form.best(penalty.norms(penalty.operator.matvec(coef))))


def _floored(v: Float[Array, " b"]) -> Float[Array, " b"]:
    """Above zero, which nothing leaves."""
    largest = jnp.max(v)
    return jnp.maximum(v, FLOOR * jnp.where(largest > 0, largest, 1.0))


def _is_denoising(problem: Problem) -> bool:
    return isinstance(problem.X, Identity) and problem.loss.sample_weight is None


def as_analysis(problem: Problem) -> Analysis:
    """The penalty as one of a transform."""
    penalty = problem.penalty
    if isinstance(penalty, Analysis):
        return penalty
    return Analysis(penalty.strength, GridDifferences((problem.X.shape[1],)))


def check_transform(problem: Problem, system: SystemName) -> None:
    """``TypeError`` for losses and systems that norms of a transform do not go with."""
    loss, name = problem.loss, type(problem.penalty).__name__
    kinked = isinstance(loss, Quantile) and not problem.fit_intercept
    smooth = has_diagonal_curvature(problem)
    if not isinstance(loss, AbstractVariationalLoss) and not kinked and not smooth:
        pair = f"{type(loss).__name__} with {name}"
        raise TypeError(f"VarPro does not support {pair}: use Auto().")
    if system == "cg" and not _is_denoising(problem):
        raise TypeError(f"VarPro(inner='cg') takes {name} for denoising (X = I) alone.")
