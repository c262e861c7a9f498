"""Variable projection onto weighted ridge regressions: penalties that are sums over blocks."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._certificate import Iterate, iterate_at
from ..._dual import Dual, needs_dual
from ..._problem import Problem
from ...designs._several import rmatvec
from ...penalties._base import per_row
from ...penalties._variational import AbstractVariationalForm
from ._minimise import AbstractOuterProblem, half_square
from ._systems import AbstractSystem, Ridge, SystemName, system_of

FLOOR = 0.1  # of the v of a warm start, relative to the largest


class WeightedRidge(AbstractOuterProblem):
    """f(v, t) = min over w of Σ h(y − Xw)²/(2 noise(t)) + Σ_j w_j²/(2 W_j(v)) + (‖v‖² + t²)/2.

    v is that of the penalty's variational form, t that of the loss. In the terms of ``Ridge``,
    f = yᵀ√h a/2 + (‖v‖² + t²)/2; its gradient is that of (‖v‖² + t² − ‖√W ξ‖² − noise·‖a‖²)/2.
    """

    problem: Problem
    form: AbstractVariationalForm
    system: AbstractSystem

    def __init__(self, problem: Problem, system: SystemName):
        self.problem = problem
        self.form = problem.penalty.variational_form(problem.X.shape[1])
        self.system = system_of(problem, system)

    def project(self, v: tuple[Any, Any], near: Any) -> Ridge:
        del near  # a linear system needs no start
        ridge = self.system.solve(self.form.root(v[0]), self.problem.loss.noise(v[1]))
        return eqx.tree_at(lambda r: r.value, ridge, half_square(v) + ridge.value)

    def envelope(self, v: tuple[Any, Any], projection: Ridge) -> Float[Array, ""]:
        pulled = per_row(self.form.root(v[0]), projection.pull) * projection.pull
        noise = self.problem.loss.noise(v[1])
        return half_square(v) - (jnp.sum(pulled**2) + noise * projection.square) / 2

    def gap(self, projection: Ridge) -> Float[Array, ""]:
        return self.iterate(projection).gap

    def iterate(self, projection: Ridge) -> Iterate:
        """The coefficients and their certificate: −√h a is a dual point where there is no other."""
        dual = None
        if projection.residual is not None and needs_dual(self.problem):
            factors = self.problem.loss.row_weights(self.problem.y)
            dual = Dual(-jnp.sqrt(per_row(factors, self.problem.y)) * projection.residual, None)
        return iterate_at(self.problem, projection.coef, dual=dual)

    def first(self, coef: Float[Array, "p ..."]) -> tuple[Any, Any]:
        """Where to begin."""
        y, loss = self.problem.y, self.problem.loss
        pull = rmatvec(self.problem.X, per_row(loss.row_weights(y), y) * y)
        return first_blocks(self.form, coef, pull), loss.first_level(y)


def first_blocks(
    form: AbstractVariationalForm, coef: Float[Array, "p ..."], pull: Float[Array, "p ..."]
) -> Any:
    """The v of the coefficients, floored for a zero never recovers; without any, that of Xᵀy."""
    started = jnp.any(coef != 0)

    def block(warm: Float[Array, " b"], cold: Float[Array, " b"]) -> Float[Array, " b"]:
        floored = jnp.maximum(warm, FLOOR * jnp.max(warm))
        return jnp.where(started, floored, cold + jnp.sqrt(jnp.finfo(cold.dtype).eps))

    return jax.tree.map(block, form.best(coef), form.best(pull))
