"""Variable projection on a working set."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from ...penalties._block_matrix import BlockMatrix
from ...penalties._variational import AbstractVariationalForm
from .._gram import GramProblem
from ._minimise import AbstractOuterProblem, half_square
from ._systems import Ridge


class GramRidge(AbstractOuterProblem):
    """As ``WeightedRidge``, for least squares and through the Gram matrix of a working set."""

    problem: GramProblem
    form: AbstractVariationalForm  # in the scaled units
    from_zero: Float[Array, " k"]

    def __init__(self, problem: GramProblem):
        self.problem = problem
        form = problem.penalty.variational_form(problem.scale.size)
        self.form = form.rescaled(problem.scale)
        self.from_zero = problem.pull + problem.matvec(problem.start)

    def project(self, v: Any, near: Any) -> Ridge:
        del near  # a linear system needs no start
        root = self._root(v)
        # √W vanishes nowhere, so the support is always one of the widths.
        factor, one = BlockMatrix(root), jnp.ones((), root.dtype)
        target = root * self.from_zero
        coef = root * self.problem.solve_shifted(factor, one, target, self.problem.widths)
        pull = self.from_zero - self.problem.matvec(coef)
        # The constant half of the data's energy is left out: only differences matter.
        value = half_square(v) - self.from_zero @ coef / 2
        return Ridge(value, coef, pull, jnp.zeros_like(one))

    def envelope(self, v: Any, projection: Ridge) -> Float[Array, ""]:
        return half_square(v) - jnp.sum((self._root(v) * projection.pull) ** 2) / 2

    def gap(self, projection: Ridge) -> Float[Array, ""]:
        return self.problem.gap(projection.coef / self.problem.scale, projection.pull)

    def _root(self, v: Any) -> Float[Array, " k"]:
        return jnp.where(self.problem.inside, self.form.root(v), 0.0)
