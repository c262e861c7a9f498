"""The linear systems of ridge regressions whose weights are those of a transform."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Float

from ...designs import AbstractDesign

Pair = tuple[Float[Array, " n"], Float[Array, " m"]]

_REFINEMENTS = 2


class AbstractElimination(eqx.Module):
    """The multipliers of min over w of Σ (Aw − b)²/(2T) + Σ (Dw)²/(2W), for W and T ≥ 0.

    They minimise ΣTu²/2 + ΣWa²/2 + ⟨b, u⟩ over all u and a with Aᵀu + Dᵀa = 0: only these are
    looked at, and weights of zero, which tie Dw to zero, are as good as others.
    """

    @abc.abstractmethod
    def solve(self, weights: Pair, target: Float[Array, " n"]) -> Pair:
        """u and a, for the weights T, W and b = ``target``."""

    @abc.abstractmethod
    def coef(self, images: Pair) -> Float[Array, " p"]:
        """w from Aw and Dw."""


class Orthogonal(AbstractElimination):
    """By an orthonormal basis Z of (u, a) with Aᵀu + Dᵀa = 0: n + m − p systems, dense.

    The columns of [A; D] must be independent.
    """

    basis: Float[Array, "k q"]
    rotation: Float[Array, "k p"]
    triangle: Float[Array, "p p"]
    num_samples: int = eqx.field(static=True)

    def __init__(self, rows: Float[Array, "n p"], transform: Float[Array, "m p"]):
        self.num_samples, p = rows.shape
        rotation, triangle = jnp.linalg.qr(jnp.concatenate([rows, transform]), mode="complete")
        self.rotation, self.basis = rotation[:, :p], rotation[:, p:]
        self.triangle = triangle[:p]

    def solve(self, weights: Pair, target: Float[Array, " n"]) -> Pair:
        n = self.num_samples
        spread = jnp.concatenate(weights)[:, None] * self.basis
        matrix, rhs = self.basis.T @ spread, -target @ self.basis[:n]
        # May be singular, where forces around a loop rest: what is added is refined away.
        ridge = 10 * jnp.finfo(rhs.dtype).eps * jnp.linalg.norm(matrix)
        factor = jax.scipy.linalg.cho_factor(matrix + ridge * jnp.eye(rhs.size), lower=True)
        point = jax.scipy.linalg.cho_solve(factor, rhs)
        for _ in range(_REFINEMENTS):
            point = point + jax.scipy.linalg.cho_solve(factor, rhs - matrix @ point)
        both = self.basis @ point
        return both[:n], both[n:]

    def coef(self, images: Pair) -> Float[Array, " p"]:
        rhs = self.rotation.T @ jnp.concatenate(images)
        return jax.scipy.linalg.solve_triangular(self.triangle, rhs)


class AbstractDenoising(AbstractElimination):
    """For A = scale·I, where a alone is left: u = −Dᵀa/scale, (W + D(T/scale²)Dᵀ)a = Db/scale."""

    operator: eqx.AbstractVar[AbstractDesign]
    scale: eqx.AbstractVar[Float[Array, ""]]

    @abc.abstractmethod
    def forces(
        self, noise: Float[Array, " p"], weights: Float[Array, " m"], rhs: Float[Array, " m"]
    ) -> Float[Array, " m"]:
        """(diag(weights) + D diag(noise) Dᵀ)⁻¹ rhs."""

    def solve(self, weights: Pair, target: Float[Array, " n"]) -> Pair:
        rhs = self.operator.matvec(target) / self.scale
        forces = self.forces(weights[0] / self.scale**2, weights[1], rhs)
        return -self.operator.rmatvec(forces) / self.scale, forces

    def coef(self, images: Pair) -> Float[Array, " p"]:
        return images[0] / self.scale


class Chain(AbstractDenoising):
    """Differences along a chain: tridiagonal."""

    operator: AbstractDesign
    scale: Float[Array, ""]

    def forces(
        self, noise: Float[Array, " p"], weights: Float[Array, " m"], rhs: Float[Array, " m"]
    ) -> Float[Array, " m"]:
        diagonal, beside = weights + noise[1:] + noise[:-1], -noise[1:-1]
        matrix = lx.TridiagonalLinearOperator(diagonal, beside, beside)
        return lx.linear_solve(matrix, rhs, lx.Tridiagonal()).value


class Products(AbstractDenoising):
    """Any transform, by conjugate gradients."""

    operator: AbstractDesign
    scale: Float[Array, ""]

    def forces(
        self, noise: Float[Array, " p"], weights: Float[Array, " m"], rhs: Float[Array, " m"]
    ) -> Float[Array, " m"]:
        D = self.operator

        def multiply(a: Float[Array, " m"]) -> Float[Array, " m"]:
            return weights * a + D.matvec(noise * D.rmatvec(a))

        matrix = lx.FunctionLinearOperator(
            multiply, jax.eval_shape(lambda: rhs), lx.positive_semidefinite_tag
        )
        solver = lx.CG(rtol=float(jnp.finfo(rhs.dtype).eps) ** 0.75, atol=0.0, max_steps=1000)
        return lx.linear_solve(matrix, rhs, solver, throw=False).value
