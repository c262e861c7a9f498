"""Sparse inverse covariance matrices: the graphical Lasso."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve
from jaxtyping import Array, Bool, Float, Int

from ._backtracking import backtracked
from ._modules import select
from .losses._conjugates import divergence
from .penalties._groups import soft_threshold

_FIRST_LENGTH, _GROWTH = 1.0, 4.0  # of the proximal steps
_INEXACTNESS = 0.1  # residual of a step, relative to how far it goes
_PATIENCE = 10  # steps without progress that mean rounding has been reached
_MAX_NEWTON_STEPS, _MAX_CG_STEPS, _CG_TOL = 50, 300, 0.01
_ARMIJO, _HALVINGS = 1e-4, 40

Matrix = Float[Array, "p p"]


class SparsePrecision(eqx.Module):
    """A sparse inverse covariance matrix Θ, its inverse, and a bound on what Θ lacks of optimal.

    ``gap`` is infinite where no dual point is known: where there is no solution, or at first.
    """

    precision: Matrix
    covariance: Matrix
    gap: Float[Array, ""]
    num_steps: Int[Array, ""]


class _State(eqx.Module):
    best: SparsePrecision
    precision: Matrix
    covariance: Matrix
    length: Float[Array, ""]
    steps: Int[Array, ""]
    stalled: Int[Array, ""]


@eqx.filter_jit
def graphical_lasso(
    covariance: Matrix, slopes: Matrix, tol: Float[Array, ""], max_steps: Int[Array, ""]
) -> SparsePrecision:
    """Minimise −log det Θ + ⟨S, Θ⟩ + Σ_ij slopes_ij |Θ_ij| over Θ ≻ 0, with a duality gap ≤ tol.

    Proximal steps Θ⁺ = argmin F(Θ') + ‖Θ' − Θ‖²/(2σ) of growing length σ, each found by Newton's
    method and conjugate gradients on its dual
    min over W ≻ 0 of −log det W + ‖soft(Θ + σ(W − S), σ·slopes)‖²/(2σ),
    whose soft thresholds are Θ⁺, with exact zeros, and equal W⁻¹ at the minimum. All of it in
    products and Cholesky factors of matrices, in the units in which every variance is one.

    Parameters
    ----------
    covariance
        (p, p) S: symmetric, with a positive diagonal.
    slopes
        (p, p), symmetric and nonnegative; infinity is an exact zero.
    tol
        Largest duality gap to stop at: absolute, it does not depend on the units of the variables.
    max_steps
        Largest number of proximal steps.

    Notes
    -----
    Wang, Sun & Toh, Solving log-determinant optimization problems by a Newton-CG primal proximal
    point algorithm, SIAM J. Optim. 20, 2010.
    """
    deviations = jnp.sqrt(jnp.diagonal(covariance))
    units = deviations[:, None] * deviations
    model = _Model(covariance / units, slopes / units)
    identity = jnp.eye(covariance.shape[0], dtype=covariance.dtype)
    length, zero = jnp.asarray(_FIRST_LENGTH, covariance.dtype), jnp.array(0)
    nothing = SparsePrecision(identity, identity, jnp.full_like(length, jnp.inf), zero)

    def unfinished(state: _State) -> Bool[Array, ""]:
        going = (state.best.gap > tol) & (state.steps < max_steps)
        return going & (state.stalled < _PATIENCE)

    def step(state: _State) -> _State:
        W = model.proximal_step(state.precision, state.covariance, state.length)
        precision = model.thresholded(W, state.precision, state.length)
        new = SparsePrecision(precision, W, model.gap(precision, W), state.steps + 1)
        # From ‖Θ‖² on every step halves the error at least, and longer ones cost digits.
        length = jnp.minimum(_GROWTH * state.length, jnp.sum(precision**2))
        best = select(new.gap < state.best.gap, new, state.best)
        progress = ~(new.gap >= 0.9 * state.best.gap)
        stalled = jnp.where(progress, 0, state.stalled + 1)
        return _State(best, precision, W, length, state.steps + 1, stalled)

    first = _State(nothing, identity, identity, length, zero, zero)
    final = jax.lax.while_loop(unfinished, step, first)
    found = final.best.precision
    return SparsePrecision(found / units, _inverse(found) * units, final.best.gap, final.steps)


class _Model(eqx.Module):
    """The problem for a correlation matrix."""

    correlation: Matrix
    slopes: Matrix

    def thresholded(self, W: Matrix, precision: Matrix, length: Float[Array, ""]) -> Matrix:
        """Θ⁺ where W is the dual minimum."""
        slack = W - self.correlation
        return soft_threshold(precision + length * slack, length * self.slopes)

    def proximal_step(self, precision: Matrix, start: Matrix, length: Float[Array, ""]) -> Matrix:
        """The dual minimum W of a proximal step from ``precision``."""

        def residual(W: Matrix) -> Matrix:
            return self.thresholded(W, precision, length) - _inverse(W)

        def value(W: Matrix) -> Float[Array, ""]:
            square = jnp.sum(self.thresholded(W, precision, length) ** 2)
            return square / (2 * length) - _log_det(W)

        def unfinished(state: tuple[Matrix, Matrix, Array]) -> Bool[Array, ""]:
            W, left, steps = state
            new = self.thresholded(W, precision, length)
            moved = jnp.minimum(jnp.linalg.norm(new - precision), 1 / jnp.linalg.norm(W))
            rounding = 64 * jnp.finfo(W.dtype).eps * jnp.linalg.norm(new)
            goal = jnp.maximum(_INEXACTNESS * moved, rounding)
            return (jnp.linalg.norm(left) > goal) & (steps < _MAX_NEWTON_STEPS)

        def newton(state: tuple[Matrix, Matrix, Array]) -> tuple[Matrix, Matrix, Array]:
            W, left, steps = state
            stiffness = jnp.where(self.thresholded(W, precision, length) != 0, length, 0.0)
            W = _search(value, W, left, _newton_direction(_inverse(W), stiffness, left))
            return W, residual(W), steps + 1

        first = start, residual(start), jnp.array(0)
        return jax.lax.while_loop(unfinished, newton, first)[0]

    def gap(self, precision: Matrix, W: Matrix) -> Float[Array, ""]:
        """Duality gap for the better of two points of the dual max log det U + p.

        Feasible are U ≻ 0 with |U − S| ≤ slopes. One is the nearest to W; the other, S with its
        correlations shrunk, is positive definite from the start.
        """
        nearest = jnp.clip(W, self.correlation - self.slopes, self.correlation + self.slopes)
        identity = jnp.eye(W.shape[0], dtype=W.dtype)
        apart = (identity == 0) & (self.correlation != 0)
        sizes = jnp.where(apart, jnp.abs(self.correlation), 1.0)
        shrinkage = jnp.min(jnp.where(apart, jnp.minimum(self.slopes / sizes, 1.0), 1.0))
        shrunk = shrinkage * identity + (1 - shrinkage) * self.correlation
        return jnp.minimum(self._gap_to(precision, nearest), self._gap_to(precision, shrunk))

    def _gap_to(self, precision: Matrix, U: Matrix) -> Float[Array, ""]:
        """Σ (μ − 1 − log μ) over the eigenvalues μ of ΘU, and Σ slopes|Θ| − (U − S)Θ.

        Two sums of nonnegative numbers, so that nothing cancels.
        """
        factor = jnp.linalg.cholesky(precision)
        eigenvalues = jnp.linalg.eigvalsh(factor.T @ U @ factor)
        positive = jnp.all(eigenvalues > 0)  # not so where one of the factors is NaN
        safe = jnp.where(positive, eigenvalues, 1.0)
        determinants = divergence(jnp.ones_like(safe), safe, jnp.log(safe))
        slack = self.slopes * jnp.abs(precision) - (U - self.correlation) * precision
        penalties = jnp.where(precision != 0, jnp.maximum(slack, 0.0), 0.0)
        return jnp.where(positive, jnp.sum(determinants) + jnp.sum(penalties), jnp.inf)


def _inverse(matrix: Matrix) -> Matrix:
    """Of a positive definite matrix; NaN for others."""
    identity = jnp.eye(matrix.shape[0], dtype=matrix.dtype)
    inverse = cho_solve((jnp.linalg.cholesky(matrix), True), identity)
    return (inverse + inverse.T) / 2


def _log_det(matrix: Matrix) -> Float[Array, ""]:
    """Of a positive definite matrix; NaN for others."""
    return 2 * jnp.sum(jnp.log(jnp.diagonal(jnp.linalg.cholesky(matrix))))


def _newton_direction(inverse: Matrix, stiffness: Matrix, residual: Matrix) -> Matrix:
    """D with W⁻¹DW⁻¹ + stiffness∘D = −residual, about."""
    diagonal = jnp.diagonal(inverse)
    curvature = diagonal[:, None] * diagonal + inverse**2 + stiffness

    def multiply(D: Matrix) -> Matrix:
        return inverse @ D @ inverse + stiffness * D

    def precondition(D: Matrix) -> Matrix:
        return D / curvature

    direction, _ = jax.scipy.sparse.linalg.cg(
        multiply, -residual, tol=_CG_TOL, maxiter=_MAX_CG_STEPS, M=precondition
    )
    return (direction + direction.T) / 2


def _search(
    value: Callable[[Matrix], Float[Array, ""]], W: Matrix, gradient: Matrix, direction: Matrix
) -> Matrix:
    """The longest of the steps 1, ½, ¼, … that lowers the value enough and stays inside."""
    before, slope = value(W), jnp.vdot(gradient, direction)
    slack = 8 * jnp.finfo(W.dtype).eps * jnp.abs(before)

    length, _, found = backtracked(
        lambda length: value(W + length * direction),
        # NaN, outside the positive definite matrices, is too far.
        lambda length, after: after <= before + _ARMIJO * length * slope + slack,
        _HALVINGS,
        before.dtype,
    )
    return jnp.where(found, W + length * direction, W)
