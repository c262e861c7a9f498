"""Stein's unbiased estimate of the risk: tuning without samples kept aside."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from .._arrays import inexact, optional_inexact
from .._checks import check_positive
from .._problem import Problem
from .._solve import solve
from ..losses import AbstractQuadraticLoss, Huber, SquareRoot
from ._criteria import AbstractCriterion, valid_or_infinite

# Targets and coefficients to start from, to predictions and coefficients.
_Fit = Callable[[Array, Array], tuple[Array, Array]]


class SURE(AbstractCriterion):
    """Stein's unbiased risk estimate: ‖y − ŷ‖²/n − σ² + 2σ²·dof/n for predictions ŷ(y).

    Its expectation is the mean squared error of ŷ to the noiseless targets, if the noise is
    Gaussian of standard deviation σ and the same for all samples; several targets are summed. The
    degrees of freedom dof = tr(∂ŷ/∂y) are estimated by finite differences along random directions
    δ, as ⟨δ, ŷ(y + εδ) − ŷ(y)⟩/ε, or computed.

    Parameters
    ----------
    sigma
        Standard deviation σ > 0 of the noise.
    probes
        Number of random directions (of independent signs), each of which costs a solve.
    step
        The length ε > 0 of the finite differences; None for 2σ/n^0.3, which weighs their bias
        against their variance.
    key
        Draws the directions; the same ones at every evaluation, so that the criterion is smooth.
    exact
        Whether to compute the trace by implicit differentiation instead. It is unbiased at every
        strength, but for the Lasso and its like piecewise constant, so that its derivative knows
        nothing of the degrees of freedom: to compare strengths, not to descend.

    Raises
    ------
    ValueError
        If ``sigma`` or ``step`` is not positive, or ``probes`` is below one.

    Examples
    --------
    For orthonormal features the degrees of freedom of the Lasso are the size of its support:

    >>> import jax, numpy as np, sparsejax as sj
    >>> problem = sj.Problem(np.eye(3), np.array([3.0, 2.0, 0.1]), penalty=sj.penalties.L1(0.25))
    >>> criterion = sj.bilevel.SURE(1.0, exact=True)
    >>> value, _ = criterion.value(problem, criterion.start(problem), 1e-6)
    >>> dof = 3 / 2 * (value + 1 - sum(np.square([0.75, 0.75, 0.1])) / 3)
    >>> int(round(float(dof)))
    2

    Notes
    -----
    Stein (Annals of Statistics, 1981); the finite differences and their step are those of
    Deledalle, Vaiter, Fadili & Peyré, SUGAR (SIAM J. Imaging Sciences, 2014), the signs those of
    Hutchinson (1989), whose estimate varies less than that of Gaussian directions.
    """

    sigma: Float[Array, ""] = eqx.field(converter=inexact("sigma"))
    probes: int = eqx.field(default=1, static=True)
    step: Float[Array, ""] | None = eqx.field(default=None, converter=optional_inexact("step"))
    key: PRNGKeyArray | None = None
    exact: bool = eqx.field(default=False, static=True)

    def __check_init__(self) -> None:
        check_positive("sigma", self.sigma)
        if self.step is not None:
            check_positive("step", self.step)
        if self.probes < 1:
            raise ValueError(f"`probes` must be at least 1; got {self.probes}.")

    def start(self, problem: Problem) -> Float[Array, "k p ..."]:
        solves = 1 if self.exact else 1 + self.probes
        return jnp.zeros((solves, *problem.coef_shape), problem.X.dtype)

    def value(
        self, problem: Problem, init: Float[Array, "k p ..."], tol: float
    ) -> tuple[Float[Array, ""], Float[Array, "k p ..."]]:
        if not isinstance(problem.loss, AbstractQuadraticLoss | Huber | SquareRoot):
            raise TypeError(
                f"SURE does not support {type(problem.loss).__name__}: it is for targets with "
                "Gaussian noise, so for Squared, Huber or SquareRoot. Use KFold or Holdout."
            )

        def fitted(y: Array, init: Array) -> tuple[Array, Array]:
            moved = eqx.tree_at(lambda p: p.y, problem, y)
            solution = solve(moved, init=init, tol=tol, throw=False)
            predictions = problem.predict(solution.coef, solution.intercept)
            return valid_or_infinite(predictions, solution), solution.coef

        y, sigma = problem.y, self.sigma.astype(problem.y.dtype)
        trace = _exact_trace if self.exact else self._estimated_trace
        predictions, dof, coefs = trace(fitted, y, init)
        error = jnp.sum((y - predictions) ** 2) + 2 * sigma**2 * dof
        value = (error - y.size * sigma**2) / y.shape[0]
        return value, coefs

    def _estimated_trace(
        self, fitted: _Fit, y: Float[Array, "n ..."], init: Float[Array, "k p ..."]
    ) -> tuple[Array, Array, Array]:
        key = jax.random.key(0) if self.key is None else self.key
        directions = jax.random.rademacher(key, (self.probes, *y.shape), y.dtype)
        step = 2 * self.sigma / y.shape[0] ** 0.3 if self.step is None else self.step
        step = step.astype(y.dtype)
        moved = y + step * jnp.concatenate([jnp.zeros((1, *y.shape), y.dtype), directions])
        # One after the other, as folds are.
        predictions, coefs = jax.lax.map(lambda args: fitted(*args), (moved, init))
        change = (predictions[1:] - predictions[0]) / step
        return predictions[0], jnp.sum(directions * change) / self.probes, coefs


def _exact_trace(
    fitted: _Fit, y: Float[Array, "n ..."], init: Float[Array, "1 p ..."]
) -> tuple[Array, Array, Array]:
    predictions, coef = fitted(y, init[0])
    jacobian = jax.jacfwd(lambda y: fitted(y, jax.lax.stop_gradient(coef))[0])(y)
    return predictions, jnp.trace(jacobian.reshape(y.size, y.size)), coef[None]
