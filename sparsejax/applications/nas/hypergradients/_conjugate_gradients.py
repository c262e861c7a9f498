"""The implicit function theorem, with conjugate gradients."""

from typing import Any

import equinox as eqx
import jax
import lineax as lx
from jaxtyping import Array, Float

from ...._checks import check_integer
from ._base import AbstractHypergradient, Loss, curvature_product, indirect


class ConjugateGradients(AbstractHypergradient):
    """Implicit differentiation with (∂²inner/∂w² + damping)⁻¹ by some steps of lineax's CG.

    Networks in training are at no minimum: their curvature has negative parts, which the damping
    must outweigh, and a solve that is stopped early is what is wanted. At a minimum of inner,
    without damping and with as many steps as there are weights, the hypergradient is exact.

    Parameters
    ----------
    steps
        At the most.
    damping
        Added to the curvature; ≥ 0.
    tol
        Of the residual, relative to ∂outer/∂w.

    Raises
    ------
    ValueError
        If ``steps`` is no positive integer or ``damping`` negative.

    Examples
    --------
    >>> from sparsejax.applications import nas
    >>> inner = lambda w, a: (w - a) ** 2 / 2  # w(a) = a
    >>> outer = lambda w, a: w**2 / 2 + a
    >>> value, slope = nas.hypergradients.ConjugateGradients(damping=0.0)(outer, inner, 3.0, 3.0)
    >>> float(slope)  # 1 + 3
    4.0

    Notes
    -----
    Pedregosa, Hyperparameter optimization with approximate gradient (ICML 2016).
    """

    steps: int = eqx.field(static=True, default=5)
    damping: float = eqx.field(static=True, default=1.0)
    tol: float = eqx.field(static=True, default=1e-4)

    def __check_init__(self) -> None:
        check_integer("steps", self.steps)
        if not self.damping >= 0:
            raise ValueError(f"`damping` must be nonnegative; got {self.damping}.")

    def __call__(
        self, outer: Loss, inner: Loss, weights: Any, alpha: Any
    ) -> tuple[Float[Array, ""], Any]:
        def multiply(direction: Any) -> Any:
            curved = curvature_product(inner, weights, alpha, direction)
            return jax.tree.map(lambda c, d: c + self.damping * d, curved, direction)

        def solve(slope: Any) -> Any:
            operator = lx.FunctionLinearOperator(
                multiply, jax.eval_shape(lambda: slope), lx.positive_semidefinite_tag
            )
            solver = lx.CG(rtol=self.tol, atol=0.0, max_steps=self.steps)
            return lx.linear_solve(operator, slope, solver, throw=False).value

        return indirect(outer, inner, weights, alpha, solve)
