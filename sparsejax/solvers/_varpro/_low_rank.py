"""Least squares of W = UV, in coordinates that make products cheap."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ..._problem import Problem
from ...designs import AbstractDesign, PerTask, Standardised
from ...penalties._spectral import leading_svd

_WELL_CONDITIONED = 20.0  # up to where steps without eigenvectors are few


class AbstractLowRank(eqx.Module):
    """⟨B, G B⟩/2 − ⟨C, B⟩ + energy/2 of coordinates B of W, which keep its singular values."""

    # Roughly that of f in the entries of U, where the rows of V have norm one.
    curvature: eqx.AbstractVar[Float[Array, " m"]]
    target: eqx.AbstractVar[Float[Array, "m tasks"]]  # C
    energy: eqx.AbstractVar[Float[Array, ""]]

    @property
    @abc.abstractmethod
    def steepest(self) -> Float[Array, ""]:
        """The largest eigenvalue of G, or a bound above it."""

    @abc.abstractmethod
    def pull(self, coef: Float[Array, "m tasks"]) -> Float[Array, "m tasks"]:
        """C − G B."""

    @abc.abstractmethod
    def factor(
        self, left: Float[Array, "r m"], strength: Float[Array, ""]
    ) -> tuple[Float[Array, "r tasks"], Float[Array, ""], Float[Array, "r m"]]:
        """For Uᵀ, V of least ⟨UV, G UV⟩/2 − ⟨C, UV⟩ + strength·‖V‖²/2, ⟨C, UV⟩, V(C − G UV)ᵀ."""

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
    """The problem in the basis of right singular vectors of A = diag(√h) X, if that is worth it.

    Rotations leave the trace norm alone, so with A = P diag(√d) Qᵀ and B = QᵀW

        ‖√h(Y − XW)‖²/2 = Σ_i d_i ‖B_i‖²/2 − ⟨C, B⟩ + energy/2,   C = QᵀAᵀ√h Y,

    with as many rows as the smaller side of X, products with AᵀA that cost no more than B itself,
    and a curvature that is known. Where AᵀA is the smaller Gram matrix, and the strength alone
    makes f well conditioned, Q = I: the eigenvectors would take longer than all the rest.
    """

    curvature: Float[Array, " m"]  # d, or the diagonal of AᵀA
    target: Float[Array, "m tasks"]  # C
    energy: Float[Array, ""]
    # Q, with zero columns where d is rounding; where AAᵀ is the smaller, the last factor of
    # Q = Aᵀ·(P/√d), which is never formed.
    basis: Float[Array, "k m"]
    rows: Float[Array, "p k"] | None  # Aᵀ, where AAᵀ is the smaller
    gram: Float[Array, "p p"] | None  # AᵀA, where it is the smaller
    rotated: Bool[Array, ""]

    def __init__(self, problem: Problem):
        root_weights = jnp.sqrt(problem.loss.row_weights(problem.y))
        targets = root_weights[:, None] * problem.y.reshape(problem.y.shape[0], -1)
        rows = problem.X.all_columns() * root_weights  # Aᵀ
        self.energy = jnp.vdot(targets, targets)
        if rows.shape[0] > rows.shape[1]:
            d, vectors, used = _eigen(rows.T @ rows)
            length = jnp.sqrt(jnp.where(used, d, 1.0))
            self.rows, self.gram, self.rotated = rows, None, jnp.array(True)
            self.curvature, self.basis = d, vectors / length
            self.target = length[:, None] * (vectors.T @ targets)
            return
        gram, target = rows @ rows.T, rows @ targets
        self.rows, self.gram = None, gram

        def turned() -> tuple[Array, Array, Array]:
            d, vectors, _ = _eigen(gram)
            return d, vectors, vectors.T @ target

        plain = (jnp.diagonal(gram), jnp.eye(gram.shape[0], dtype=gram.dtype), target)
        condition = _condition_number(gram, target, problem.penalty.strength)
        self.rotated = ~(condition < _WELL_CONDITIONED)
        self.curvature, self.basis, self.target = jax.lax.cond(self.rotated, turned, lambda: plain)

    @property
    def steepest(self) -> Float[Array, ""]:
        largest = jnp.max(self.curvature)
        if self.gram is None:
            return largest
        return jnp.where(self.rotated, largest, _largest_at_most(self.gram))

    def _curved(self, rows: Float[Array, "r m"]) -> Float[Array, "r m"]:
        """(G B)ᵀ for the rows of Bᵀ."""
        scaled, gram = lambda: rows * self.curvature, self.gram
        return scaled() if gram is None else jax.lax.cond(self.rotated, scaled, lambda: rows @ gram)

    def pull(self, coef: Float[Array, "m tasks"]) -> Float[Array, "m tasks"]:
        return self.target - self._curved(coef.T).T

    def factor(
        self, left: Float[Array, "r m"], strength: Float[Array, ""]
    ) -> tuple[Float[Array, "r tasks"], Float[Array, ""], Float[Array, "r m"]]:
        curved = self._curved(left)
        rhs = left @ self.target
        factor = jax.scipy.linalg.cho_factor(left @ curved.T + _ridge(left, strength), lower=True)
        right = jax.scipy.linalg.cho_solve(factor, rhs)
        # Without forming U V, which is as large as the targets.
        pulled = right @ self.target.T - (right @ right.T) @ curved
        return right, jnp.vdot(rhs, right), pulled

    def along(
        self, left: Float[Array, "m k"], right: Float[Array, "k tasks"]
    ) -> Float[Array, " k"]:
        del right
        return jnp.sum(left * self._curved(left.T).T, axis=0)

    def lower(self, coef: Float[Array, "..."]) -> Float[Array, "m tasks"]:
        coef = coef.reshape(coef.shape[0], -1)
        return self.basis.T @ (coef if self.rows is None else self.rows.T @ coef)

    def lift(self, coef: Float[Array, "m tasks"]) -> Float[Array, "p tasks"]:
        coef = self.basis @ coef
        return coef if self.rows is None else self.rows @ coef


def _eigen(
    gram: Float[Array, "k k"],
) -> tuple[Float[Array, " k"], Float[Array, "k k"], Bool[Array, " k"]]:
    """Eigenvalues and eigenvectors, zero where rounding is all there is, and where it is not."""
    d, vectors = jnp.linalg.eigh(gram)
    used = d > d.shape[0] * jnp.finfo(d.dtype).eps * d[-1]
    return jnp.where(used, d, 0.0), jnp.where(used, vectors, 0.0), used


def _condition_number(
    gram: Float[Array, "p p"], target: Float[Array, "p tasks"], strength: Float[Array, ""]
) -> Float[Array, ""]:
    """Of f in the entries of U at first, at most: 1 + σG/strength for a coefficient as large as σ.

    σ is that of the first singular pair of C, along which the pull is the largest.
    """
    columns, forces, _ = leading_svd(target)
    first = columns[:, jnp.argmax(forces)]
    size = jnp.maximum(jnp.max(forces) - strength, 0.0) / jnp.vdot(first, gram @ first)
    return 1 + size * _largest_at_most(gram) / strength


def _largest_at_most(gram: Float[Array, "p p"]) -> Float[Array, ""]:
    """A bound above the largest eigenvalue."""
    return jnp.max(jnp.sum(jnp.abs(gram), axis=0))


class Centre(eqx.Module):
    """What centring X at m (p, tasks) adds to G: Σh m mᵀ − a mᵀ − m aᵀ with a = Xᵀh, as L S Lᵀ."""

    vectors: Float[Array, "2 p tasks"]  # a and m
    total: Float[Array, ""]  # Σh

    def along(self, coef: Float[Array, "p tasks"]) -> Float[Array, " 2"]:
        """S Lᵀ B."""
        a, m = jnp.einsum("ipt,pt->i", self.vectors, coef)
        return jnp.stack([-m, self.total * m - a])

    def matmul(self, coef: Float[Array, "p tasks"]) -> Float[Array, "p tasks"]:
        """L S Lᵀ B."""
        return jnp.einsum("i,ipt->pt", self.along(coef), self.vectors)

    @property
    def inverse(self) -> Float[Array, "2 2"]:
        """S⁻¹."""
        one = jnp.ones_like(self.total)
        return -jnp.stack([jnp.stack([self.total, one]), jnp.stack([one, 0 * one])])


class TaskGrams(AbstractLowRank):
    """A design for each task: G is G_t = X_tᵀ diag(h) X_t in every column, and B is W itself.

    Centred columns couple the tasks, by a matrix of rank two.
    """

    grams: Float[Array, "tasks p p"]
    centre: Centre | None
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
        self.energy = jnp.vdot(targets, targets)
        self.curvature = jnp.mean(jnp.diagonal(self.grams, axis1=1, axis2=2), axis=0)
        self.centre = None
        if isinstance(problem.X, Standardised):
            means = problem.X.mean.reshape(self.target.shape)
            sums = jnp.einsum("tnp,tn->pt", rows, roots)
            self.centre = Centre(jnp.stack([sums, means]), jnp.sum(weights))
            self.target -= means * (weights @ problem.y)

    @property
    def steepest(self) -> Float[Array, ""]:
        steepest = jnp.max(jnp.linalg.eigvalsh(self.grams))
        if self.centre is None:
            return steepest
        a, m = self.centre.vectors  # of a norm that at most adds up
        return steepest + self.centre.total * jnp.sum((m - a / self.centre.total) ** 2)

    def _curved(self, coef: Float[Array, "p tasks"]) -> Float[Array, "p tasks"]:
        curved = jnp.einsum("tpq,qt->pt", self.grams, coef)
        return curved if self.centre is None else curved + self.centre.matmul(coef)

    def pull(self, coef: Float[Array, "p tasks"]) -> Float[Array, "p tasks"]:
        return self.target - self._curved(coef)

    def factor(
        self, left: Float[Array, "r p"], strength: Float[Array, ""]
    ) -> tuple[Float[Array, "r tasks"], Float[Array, ""], Float[Array, "r p"]]:
        curved = jnp.einsum("tpq,rq->tpr", self.grams, left)
        matrices = jnp.einsum("sp,tpr->tsr", left, curved) + _ridge(left, strength)
        factors, rhs = jnp.linalg.cholesky(matrices), left @ self.target

        def solve(rhs: Float[Array, "r tasks"]) -> Float[Array, "r tasks"]:
            of_task = lambda factor, c: jax.scipy.linalg.cho_solve((factor, True), c)  # noqa: E731
            return jax.vmap(of_task, (0, 1), 1)(factors, rhs)

        right = solve(rhs)
        if self.centre is not None:  # by Woodbury's identity
            vectors = left @ self.centre.vectors
            moved = jax.vmap(solve)(vectors)
            small = self.centre.inverse + jnp.einsum("irt,jrt->ij", vectors, moved)
            sizes = jnp.linalg.solve(small, jnp.einsum("irt,rt->i", vectors, right))
            right = right - jnp.einsum("i,irt->rt", sizes, moved)
        return right, jnp.vdot(rhs, right), right @ self.pull(left.T @ right).T

    def along(
        self, left: Float[Array, "p k"], right: Float[Array, "k tasks"]
    ) -> Float[Array, " k"]:
        pairs = jax.vmap(jnp.outer, (1, 0))(left, right)
        return jnp.sum(pairs * jax.vmap(self._curved)(pairs), axis=(1, 2))

    def lower(self, coef: Float[Array, "..."]) -> Float[Array, "p tasks"]:
        return coef.reshape(self.target.shape)

    def lift(self, coef: Float[Array, "p tasks"]) -> Float[Array, "p tasks"]:
        return coef


def low_rank(problem: Problem) -> AbstractLowRank:
    """The coordinates that suit the design."""
    design = per_task(problem.X)
    return Spectrum(problem) if design is None else TaskGrams(problem, design)


def per_task(design: AbstractDesign) -> PerTask | None:
    """The designs of the tasks, if it is made of such; centred or not."""
    if isinstance(design, Standardised) and design.scale is None:
        design = design.base
    return design if isinstance(design, PerTask) else None


def _ridge(left: Float[Array, "r m"], strength: Float[Array, ""]) -> Float[Array, "r r"]:
    return strength * jnp.eye(left.shape[0], dtype=left.dtype)
