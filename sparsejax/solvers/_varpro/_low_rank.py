"""Least squares of W = UV, in coordinates that make products cheap."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._problem import Problem
from ...designs import PerTask


class AbstractLowRank(eqx.Module):
    """⟨B, G B⟩/2 − ⟨C, B⟩ + energy/2 of coordinates B of W, which keep its singular values."""

    # Roughly that of f in the entries of U, where the rows of V have norm one.
    curvature: eqx.AbstractVar[Float[Array, " m"]]
    target: eqx.AbstractVar[Float[Array, "m tasks"]]  # C
    energy: eqx.AbstractVar[Float[Array, ""]]

    @property
    @abc.abstractmethod
    def steepest(self) -> Float[Array, ""]:
        """The largest eigenvalue of G."""

    @abc.abstractmethod
    def pull(self, coef: Float[Array, "m tasks"]) -> Float[Array, "m tasks"]:
        """C − G B."""

    @abc.abstractmethod
    def factor(
        self, left: Float[Array, "m r"], strength: Float[Array, ""]
    ) -> tuple[Float[Array, "r tasks"], Float[Array, ""]]:
        """V of least ⟨UV, G UV⟩/2 − ⟨C, UV⟩ + strength·‖V‖²/2, and ⟨C, UV⟩."""

    @abc.abstractmethod
    def pulled(
        self, left: Float[Array, "m r"], right: Float[Array, "r tasks"]
    ) -> Float[Array, "m r"]:
        """(C − G UV)Vᵀ."""

    @abc.abstractmethod
    def along(
        self, left: Float[Array, "m k"], right: Float[Array, "k tasks"]
    ) -> Float[Array, " k"]:
        """⟨D, G D⟩ for every D = u vᵀ of norm one."""

    @abc.abstractmethod
    def lower(self, coef: Float[Array, "..."]) -> Float[Array, "m tasks"]:
        """B of W."""

    @abc.abstractmethod
    def lift(self, coef: Float[Array, "m tasks"]) -> Float[Array, "p tasks"]:
        """W of B."""


class Spectrum(AbstractLowRank):
    """The problem in the basis of right singular vectors of A = diag(√h) X.

    Rotations leave the trace norm alone, so with A = P diag(√d) Qᵀ and B = QᵀW

        ‖√h(Y − XW)‖²/2 = Σ_i d_i ‖B_i‖²/2 − ⟨C, B⟩ + energy/2,   C = QᵀAᵀ√h Y,

    with as many rows as the smaller side of X, and products with AᵀA cost no more than B itself.
    """

    curvature: Float[Array, " m"]  # d
    target: Float[Array, "m tasks"]  # C
    energy: Float[Array, ""]
    basis: Float[Array, "p m"]  # Q, zero columns where d is rounding

    def __init__(self, problem: Problem):
        root_weights = jnp.sqrt(problem.loss.row_weights(problem.y))
        targets = root_weights[:, None] * problem.y.reshape(problem.y.shape[0], -1)
        rows = problem.X.all_columns() * root_weights  # Aᵀ
        wide = rows.shape[0] > rows.shape[1]
        d, vectors = jnp.linalg.eigh(rows.T @ rows if wide else rows @ rows.T)
        used = d > d.shape[0] * jnp.finfo(d.dtype).eps * d[-1]
        self.curvature = jnp.where(used, d, 0.0)
        length = jnp.sqrt(jnp.where(used, d, 1.0))
        basis = (rows @ vectors) / length if wide else vectors
        self.basis = jnp.where(used, basis, 0.0)
        self.target = self.basis.T @ (rows @ targets)
        self.energy = jnp.vdot(targets, targets)

    @property
    def steepest(self) -> Float[Array, ""]:
        return jnp.max(self.curvature)

    def pull(self, coef: Float[Array, "m tasks"]) -> Float[Array, "m tasks"]:
        return self.target - self.curvature[:, None] * coef

    def factor(
        self, left: Float[Array, "m r"], strength: Float[Array, ""]
    ) -> tuple[Float[Array, "r tasks"], Float[Array, ""]]:
        matrix = left.T @ (self.curvature[:, None] * left) + _ridge(left, strength)
        rhs = left.T @ self.target
        factor = jax.scipy.linalg.cho_factor(matrix, lower=True)
        right = jax.scipy.linalg.cho_solve(factor, rhs)
        return right, jnp.vdot(rhs, right)

    def pulled(
        self, left: Float[Array, "m r"], right: Float[Array, "r tasks"]
    ) -> Float[Array, "m r"]:
        # Without forming U V, which is as large as the targets.
        curved = self.curvature[:, None] * left
        return self.target @ right.T - curved @ (right @ right.T)

    def along(
        self, left: Float[Array, "m k"], right: Float[Array, "k tasks"]
    ) -> Float[Array, " k"]:
        del right
        return self.curvature @ left**2

    def lower(self, coef: Float[Array, "..."]) -> Float[Array, "m tasks"]:
        return self.basis.T @ coef.reshape(coef.shape[0], -1)

    def lift(self, coef: Float[Array, "m tasks"]) -> Float[Array, "p tasks"]:
        return self.basis @ coef


class TaskGrams(AbstractLowRank):
    """A design for each task: G is G_t = X_tᵀ diag(h) X_t in every column, and B is W itself."""

    grams: Float[Array, "tasks p p"]
    curvature: Float[Array, " p"]
    target: Float[Array, "p tasks"]
    energy: Float[Array, ""]

    def __init__(self, problem: Problem, design: PerTask):
        weights = problem.loss.row_weights(problem.y)
        roots = jnp.sqrt(design.by_task(weights))
        rows = roots[..., None] * design.by_task(design.X)
        targets = roots * design.by_task(problem.y)
        self.grams = jnp.einsum("tnp,tnq->tpq", rows, rows)
        self.target = jnp.einsum("tnp,tn->pt", rows, targets)
        self.curvature = jnp.mean(jnp.diagonal(self.grams, axis1=1, axis2=2), axis=0)
        self.energy = jnp.vdot(targets, targets)

    @property
    def steepest(self) -> Float[Array, ""]:
        return jnp.max(jnp.linalg.eigvalsh(self.grams))

    def pull(self, coef: Float[Array, "p tasks"]) -> Float[Array, "p tasks"]:
        return self.target - jnp.einsum("tpq,qt->pt", self.grams, coef)

    def factor(
        self, left: Float[Array, "p r"], strength: Float[Array, ""]
    ) -> tuple[Float[Array, "r tasks"], Float[Array, ""]]:
        curved = jnp.einsum("tpq,qr->tpr", self.grams, left)
        matrices = jnp.einsum("ps,tpr->tsr", left, curved) + _ridge(left, strength)
        rhs = left.T @ self.target
        factors = jnp.linalg.cholesky(matrices)
        right = jax.vmap(
            lambda factor, c: jax.scipy.linalg.cho_solve((factor, True), c), (0, 1), 1
        )(factors, rhs)
        return right, jnp.vdot(rhs, right)

    def pulled(
        self, left: Float[Array, "p r"], right: Float[Array, "r tasks"]
    ) -> Float[Array, "p r"]:
        return self.pull(left @ right) @ right.T

    def along(
        self, left: Float[Array, "p k"], right: Float[Array, "k tasks"]
    ) -> Float[Array, " k"]:
        curved = jnp.einsum("tpq,qk->tpk", self.grams, left)
        return jnp.einsum("pk,tpk,kt->k", left, curved, right**2)

    def lower(self, coef: Float[Array, "..."]) -> Float[Array, "p tasks"]:
        return coef.reshape(self.target.shape)

    def lift(self, coef: Float[Array, "p tasks"]) -> Float[Array, "p tasks"]:
        return coef


def low_rank(problem: Problem) -> AbstractLowRank:
    """The coordinates that suit the design."""
    design = problem.X
    return TaskGrams(problem, design) if isinstance(design, PerTask) else Spectrum(problem)


def _ridge(left: Float[Array, "m r"], strength: Float[Array, ""]) -> Float[Array, "r r"]:
    return strength * jnp.eye(left.shape[1], dtype=left.dtype)
