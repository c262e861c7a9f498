"""The convex problems that touch another from above."""

from typing import Self

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._certificate import Iterate, iterate_at, judged
from .._modules import replace
from .._problem import Problem
from ..losses import AbstractQuadraticLoss
from ..losses._profiled import Profiled
from ..losses._tilted import tilted

_REFINEMENTS = 2


class Relaxation(eqx.Module):
    """Those of one problem, one a point.

    A penalty that is only touched up to a linear function ⟨T, w⟩ gives that to the loss: with
    T = XᵀS it is ⟨S, Xw⟩. Such S there are, since w and so T are combinations of the samples.
    """

    problem: Problem
    inverse: Float[Array, "n p"] | None  # takes T to S; None where penalties are not tilted

    @classmethod
    def of(cls, problem: Problem) -> Self:
        """What all of the problems share: forms the design densely where penalties are tilted."""
        if problem.penalty.tilt(jnp.zeros(problem.coef_shape, problem.X.dtype)) is None:
            return cls(problem, None)
        rows = jnp.sqrt(problem.loss.row_weights(problem.y))
        columns = problem.X.all_columns() * rows  # Aᵀ for A = diag(√h) X
        if isinstance(problem.loss, Profiled):  # whose gradients sum to zero
            columns = jnp.concatenate([columns, rows[None]])
        rounding = max(columns.shape) * jnp.finfo(rows.dtype).eps
        inverse = rows[:, None] * jnp.linalg.pinv(columns, rtol=rounding)
        return cls(problem, inverse[:, : problem.X.shape[1]])

    def at(self, coef: Float[Array, "p ..."]) -> Problem:
        """The one that touches at ``coef``."""
        penalty = self.problem.penalty.touching(coef)
        if self.inverse is None:
            return replace(self.problem, penalty=penalty)
        tilt = self.inverse @ self.problem.penalty.tilt(coef)
        return replace(_tilted(self.problem, tilt), penalty=penalty)

    def seen_from(self, problem: Problem, at: Iterate) -> Iterate:
        """An iterate of another of the problems."""
        if self.inverse is None:
            return judged(problem, at.coef, at.predictions, at.pull, at.dual)
        return iterate_at(problem, at.coef, at.predictions)


def _tilted(problem: Problem, tilt: Float[Array, "n ..."]) -> Problem:
    """The problem with ⟨tilt, Xw⟩ taken from its loss."""
    loss = problem.loss
    if isinstance(loss, AbstractQuadraticLoss):  # other targets
        rows = loss.row_weights(problem.y).reshape(-1, *(1,) * (tilt.ndim - 1))
        used = rows > 0
        return replace(
            problem, y=problem.y + jnp.where(used, tilt / jnp.where(used, rows, 1.0), 0.0)
        )
    return replace(problem, loss=tilted(loss, tilt))
