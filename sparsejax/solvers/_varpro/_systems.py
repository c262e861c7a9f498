"""The linear systems of a weighted ridge regression."""

import abc
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Float

from ..._problem import Problem
from ...designs import Dense
from ...designs._base import underlying
from ...designs._several import matvec, rmatvec
from ...losses import Equality
from ...penalties._base import per_row
from ._minimise import AbstractProjection

SystemName = Literal["auto", "primal", "dual", "cg"]

_REFINEMENTS = 2


class Ridge(AbstractProjection):
    """What the ridge regression min over w of Σ h(y − Xw)²/(2c) + Σ_j w_j²/(2W_j) gives.

    With A = diag(√h) X and M = cI + A diag(W) Aᵀ: a = M⁻¹√h y, ``square`` ‖a‖², ``pull`` ξ = Aᵀa,
    ``coef`` Wξ and, for M's system, ``residual`` a.
    """

    value: Float[Array, ""]
    coef: Float[Array, "p ..."]
    pull: Float[Array, "p ..."]
    square: Float[Array, ""]
    residual: Float[Array, "n ..."] | None = None


class AbstractSystem(eqx.Module):
    """Solves the ridge regression for any weights and noise."""

    @abc.abstractmethod
    def solve(self, root: Float[Array, " p"], noise: Float[Array, ""] | float) -> Ridge:
        """For W = root² and c = noise."""


class Primal(AbstractSystem):
    """p×p, from the Gram matrix: (diag(√W) AᵀA diag(√W) + cI) u = √W Aᵀ√h y."""

    gram: Float[Array, "p p"]
    from_zero: Float[Array, "p ..."]
    energy: Float[Array, ""]

    def __init__(self, problem: Problem):
        root_weights, target = _scaled(problem)
        columns = problem.X.all_columns() * root_weights
        self.gram, self.from_zero = columns @ columns.T, columns @ target
        self.energy = jnp.vdot(target, target)

    def solve(self, root: Float[Array, " p"], noise: Float[Array, ""] | float) -> Ridge:
        spread = per_row(root, self.from_zero)
        matrix = root[:, None] * self.gram * root + noise * jnp.eye(root.size, dtype=root.dtype)
        factor = jax.scipy.linalg.cho_factor(matrix, lower=True)
        coef = spread * jax.scipy.linalg.cho_solve(factor, spread * self.from_zero)
        pull = self.from_zero - self.gram @ coef
        fitted = jnp.vdot(self.from_zero, coef)
        square = jnp.maximum(self.energy - fitted - jnp.vdot(pull, coef), 0.0)
        value = (self.energy - fitted) / (2 * noise)
        return Ridge(value, coef, pull / noise, square / noise**2)


class Dual(AbstractSystem):
    """n×n: M a = √h y, for c = 0 too."""

    columns: Float[Array, "p n"]  # Aᵀ
    target: Float[Array, "n ..."]
    noiseless: bool = eqx.field(static=True)

    def __init__(self, problem: Problem):
        root_weights, self.target = _scaled(problem)
        self.columns = problem.X.all_columns() * root_weights
        self.noiseless = isinstance(problem.loss, Equality)

    def solve(self, root: Float[Array, " p"], noise: Float[Array, ""] | float) -> Ridge:
        scaled = root[:, None] * self.columns
        matrix = scaled.T @ scaled
        if self.noiseless:  # M may be singular: what is added here is refined away below
            noise = 10 * jnp.finfo(root.dtype).eps * jnp.linalg.norm(matrix)
        identity = jnp.eye(self.target.shape[0], dtype=root.dtype)
        factor = jax.scipy.linalg.cho_factor(matrix + noise * identity, lower=True)
        residual = jax.scipy.linalg.cho_solve(factor, self.target)
        for _ in range(_REFINEMENTS if self.noiseless else 0):
            left = self.target - matrix @ residual
            residual = residual + jax.scipy.linalg.cho_solve(factor, left)
        pull = self.columns @ residual
        value, square = jnp.vdot(self.target, residual) / 2, jnp.vdot(residual, residual)
        return Ridge(value, per_row(root, pull) ** 2 * pull, pull, square, residual)


class ConjugateGradient(AbstractSystem):
    """M by products with X alone."""

    problem: Problem
    root_weights: Float[Array, "n ..."]
    target: Float[Array, "n ..."]

    def __init__(self, problem: Problem):
        root_weights, self.target = _scaled(problem)
        self.problem, self.root_weights = problem, per_row(root_weights, self.target)

    def solve(self, root: Float[Array, " p"], noise: Float[Array, ""] | float) -> Ridge:
        weights = per_row(root, self.target) ** 2

        def pull_of(a: Float[Array, "n ..."]) -> Float[Array, "p ..."]:
            return rmatvec(self.problem.X, self.root_weights * a)

        def multiply(a: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
            return noise * a + self.root_weights * matvec(self.problem.X, weights * pull_of(a))

        operator = lx.FunctionLinearOperator(
            multiply, jax.eval_shape(lambda: self.target), lx.positive_semidefinite_tag
        )
        eps = float(jnp.finfo(self.target.dtype).eps)
        solver = lx.CG(rtol=eps**0.75, atol=0.0, max_steps=1000)
        residual = lx.linear_solve(operator, self.target, solver, throw=False).value
        pull = pull_of(residual)
        coef, square = weights * pull, jnp.vdot(residual, residual)
        # Accurate to second order in the error of the inexact solve, unlike yᵀ√h a/2.
        value = jnp.vdot(self.target, residual) - (noise * square + jnp.vdot(coef, pull)) / 2
        return Ridge(value, coef, pull, square, residual)


def system_of(problem: Problem, name: SystemName) -> AbstractSystem:
    """The system asked for; for "auto" the smaller one, and products alone for sparse designs."""
    n, p = problem.X.shape
    if name == "auto":
        dual = n < p or isinstance(problem.loss, Equality)
        dense = isinstance(underlying(problem.X), Dense)
        name = ("dual" if dual else "primal") if dense else "cg"
    return {"primal": Primal, "dual": Dual, "cg": ConjugateGradient}[name](problem)


def _scaled(problem: Problem) -> tuple[Float[Array, " n"], Float[Array, "n ..."]]:
    """√h and √h y."""
    root_weights = jnp.sqrt(problem.loss.row_weights(problem.y))
    return root_weights, per_row(root_weights, problem.y) * problem.y
