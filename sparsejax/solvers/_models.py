"""Weighted least squares in the place of a smooth loss, near a point."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._certificate import Iterate, judged
from .._modules import replace
from .._problem import Centring, Problem, predict_sparse, project_intercept
from ..designs._class_contrasted import ClassContrasted
from ..designs._contrasted import Contrasted
from ..designs._projection import Projection
from ..losses import Cox, Multinomial
from ..losses._class_contrasts import ClassContrasts
from ..losses._profiled import Profiled, unprofiled
from ..losses._weighted import Weighted, WeightedEntries
from ..penalties import AbstractPenalty, AbstractSeparablePenalty, GroupL2, RowL2

_FLOOR = 1e-6  # smallest curvature of a sample, relative to what is typical


class AbstractModel(eqx.Module):
    """A problem without intercept, and how its coefficients and predictions are another's."""

    problem: eqx.AbstractVar[Problem]

    @abc.abstractmethod
    def start(self, iterate: Iterate) -> Iterate:
        """Where the model was made, as the model sees it."""

    @abc.abstractmethod
    def found(
        self, problem: Problem, coef: Float[Array, " q"], predictions: Float[Array, " m"]
    ) -> tuple[Float[Array, "p ..."], Float[Array, "n ..."]]:
        """Coefficients and predictions of the model, as the problem sees them."""


class _OfSamples(AbstractModel):
    """Whose predictions are the problem's, but for the intercept."""

    problem: Problem
    offset: Float[Array, "n ..."]
    feature_mean: Float[Array, " p"] | None

    def _drift(self, coef: Float[Array, "p ..."]) -> Float[Array, "n ..."]:
        return self.offset if self.feature_mean is None else self.offset + self.feature_mean @ coef

    def start(self, iterate: Iterate) -> Iterate:
        known = iterate.predictions - self._drift(iterate.coef)
        return judged(self.problem, iterate.coef, known, iterate.pull, iterate.dual)

    def found(
        self, problem: Problem, coef: Float[Array, "p ..."], predictions: Float[Array, "n ..."]
    ) -> tuple[Float[Array, "p ..."], Float[Array, "n ..."]]:
        return coef, predictions + self._drift(coef)


class _OfContrasts(AbstractModel):
    """Of a single target: of predictions and coefficients (of all classes) seen by contrasts."""

    problem: Problem
    known: Float[Array, " m"]  # what is seen of the predictions where it was made

    def start(self, iterate: Iterate) -> Iterate:
        coef, pull = iterate.coef.reshape(-1), iterate.pull.reshape(-1)
        return judged(self.problem, coef, self.known, pull, iterate.dual)

    def found(
        self, problem: Problem, coef: Float[Array, " q"], predictions: Float[Array, " m"]
    ) -> tuple[Float[Array, "p ..."], Float[Array, "n ..."]]:
        coef = coef.reshape(problem.coef_shape)
        return coef, predict_sparse(problem, coef)


def model_of(problem: Problem, iterate: Iterate, damping: Float[Array, ""]) -> AbstractModel:
    """The problem with the quadratic model of the loss, free to move its intercept."""
    loss, at = problem.loss.settled(iterate.predictions, problem.y)
    gradient = loss.gradient(at, problem.y)
    factors, offset = problem.loss._row_factors(problem.y), problem.predict_zero()
    own = iterate.predictions - offset
    if isinstance(loss, Multinomial):
        contrasts, curvature = loss.contrasts(at, problem.y)
        curvature = _bent(problem, curvature, factors, damping).reshape(-1)
        X = ClassContrasted(problem.X, contrasts, contrasts.of_each_class())
        known = contrasts.matvec(own).reshape(-1)
        target = known - contrasts.solve_transposed(gradient).reshape(-1) / curvature
        if isinstance(problem.loss, Profiled):
            intercepts = X.seen[:-1].reshape(X.seen.shape[0] - 1, -1).T
            X = Projection.out_of(X, intercepts, curvature)
            known, target = X.project(jnp.stack([known, target]))
        return _OfContrasts(_as_least_squares(problem, X, target, curvature), known)
    if isinstance(loss, Cox):
        contrasts, curvature = loss.contrasts(at, problem.y)
        curvature = _bent(problem, curvature, factors[contrasts.order], damping)
        known, X = contrasts.matvec(own), Contrasted(problem.X, contrasts)
        target = known - contrasts.solve_transposed(gradient) / curvature
        return _OfContrasts(_as_least_squares(problem, X, target, curvature), known)
    curvature = _bent(problem, loss.curvature(at, problem.y), factors, damping)
    model = _as_least_squares(problem, problem.X, own - gradient / curvature, curvature)
    model = replace(model, fit_intercept=isinstance(problem.loss, Profiled))
    model, centring = project_intercept(model)
    mean = centring.feature_mean if isinstance(centring, Centring) else None
    return _OfSamples(model, offset, mean)


def has_classes(problem: Problem) -> bool:
    """Whether the outputs of a sample depend on each other, and contrasts of them do not."""
    return isinstance(unprofiled(problem.loss), Multinomial)


def shape_of_model(problem: Problem) -> Problem:
    """A problem of the kind that models are, of which only shapes and types are known.

    Without a penalty where that of all classes is not one of their coefficients one by one.
    """

    def array(*shape: int) -> Any:
        return jax.ShapeDtypeStruct(shape, problem.X.dtype)

    n, outputs = problem.X.shape[0], problem.loss.outputs(problem.y)
    if not has_classes(problem):
        return _as_least_squares(problem, problem.X, array(n, *outputs), array(n, *outputs))
    (k,) = outputs
    X = ClassContrasted(problem.X, ClassContrasts(array(n, k)), array(k, n, k - 1))
    return _as_least_squares(problem, X, array(n * (k - 1)), array(n * (k - 1)))


def _bent(
    problem: Problem,
    curvature: Float[Array, "n ..."],
    factors: Float[Array, "n ..."],
    damping: Float[Array, ""],
) -> Float[Array, "n ..."]:
    """The curvature, where the loss is (nearly) straight its target not infinitely far away."""
    bound = jnp.sum(problem.loss.curvature_bound(problem.y))
    typical = jnp.maximum(jnp.sum(curvature), jnp.where(jnp.isfinite(bound), bound, 0.0))
    floor = _FLOOR * typical * factors
    return damping * jnp.maximum(curvature, jnp.maximum(floor, jnp.finfo(floor.dtype).tiny))


def _as_least_squares(
    problem: Problem, X: object, y: Float[Array, "m ..."], curvatures: Float[Array, "m ..."]
) -> Problem:
    kind = WeightedEntries if y.ndim > 1 else Weighted
    penalty = problem.penalty
    if problem.loss.outputs(problem.y) and y.ndim == 1:
        penalty = one_by_one(penalty, *problem.coef_shape)
    return replace(
        problem,
        X=X,
        y=y,
        loss=kind(curvatures=curvatures),
        penalty=penalty,
        offset=None,
        fit_intercept=False,
    )


def one_by_one(penalty: AbstractPenalty, features: int, tasks: int) -> AbstractPenalty | None:
    """The penalty of all coefficients (features, tasks) as those of one target, if it has one."""
    rows = np.repeat(np.arange(features), tasks)
    if isinstance(penalty, RowL2):
        weights = jnp.ones(features) if penalty.weights is None else penalty.weights
        return GroupL2(penalty.strength, rows, weights.astype(penalty.strength.dtype))
    separable = isinstance(penalty, AbstractSeparablePenalty)
    return penalty.restrict(jnp.asarray(rows)) if separable else None
