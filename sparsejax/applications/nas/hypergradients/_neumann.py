"""The inverse of the curvature as a sum of powers."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...._checks import check_integer
from ._base import AbstractHypergradient, Loss, curvature_product, indirect


class Neumann(AbstractHypergradient):
    """Implicit differentiation with rate·Σ_{k < terms} (1 − rate·∂²inner/∂w²)ᵏ for the inverse.

    That is what unrolling so many steps of gradient descent would give if they stayed in place.

    Parameters
    ----------
    terms
        How many.
    learning_rate
        Below 2 over the largest curvature, or the sum grows without bound.

    Raises
    ------
    ValueError
        If ``terms`` is no positive integer.

    Examples
    --------
    >>> from sparsejax.applications import nas
    >>> inner = lambda w, a: (w - a) ** 2 / 2  # w(a) = a
    >>> outer = lambda w, a: w**2 / 2 + a
    >>> value, slope = nas.hypergradients.Neumann(2, 0.5)(outer, inner, 3.0, 3.0)
    >>> float(slope)  # 1 + 3·(0.5 + 0.25)
    3.25

    Notes
    -----
    Lorraine, Vicol & Duvenaud, Optimizing millions of hyperparameters by implicit differentiation
    (AISTATS 2020), algorithm 3.
    """

    terms: int = eqx.field(static=True, default=5)
    learning_rate: float = eqx.field(static=True, default=0.025)

    def __check_init__(self) -> None:
        check_integer("terms", self.terms)

    def __call__(
        self, outer: Loss, inner: Loss, weights: Any, alpha: Any
    ) -> tuple[Float[Array, ""], Any]:
        def solve(slope: Any) -> Any:
            def more(carry: tuple[Any, Any], _: None) -> tuple[tuple[Any, Any], None]:
                power, total = carry
                curved = curvature_product(inner, weights, alpha, power)
                power = jax.tree.map(lambda p, c: p - self.learning_rate * c, power, curved)
                return (power, jax.tree.map(jnp.add, total, power)), None

            (_, total), _ = jax.lax.scan(more, (slope, slope), length=self.terms - 1)
            return jax.tree.map(lambda t: self.learning_rate * t, total)

        return indirect(outer, inner, weights, alpha, solve)
