"""One step of training is looked ahead."""

from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float

from ._base import AbstractHypergradient, Loss


class Unrolled(AbstractHypergradient):
    """The derivative of outer(w − rate·∂inner/∂w, α), exactly: through the step as well.

    Parameters
    ----------
    learning_rate
        Of the step.

    Examples
    --------
    >>> from sparsejax.applications import nas
    >>> inner = lambda w, a: (w - a) ** 2 / 2  # w(a) = a
    >>> outer = lambda w, a: w**2 / 2 + a
    >>> value, slope = nas.hypergradients.Unrolled(0.5)(outer, inner, 3.0, 3.0)
    >>> float(slope)  # 1 + 3·0.5
    2.5

    Notes
    -----
    Liu, Simonyan & Yang, DARTS (ICLR 2019), equation 6; they take finite differences.
    """

    learning_rate: float = eqx.field(static=True, default=0.025)

    def __call__(
        self, outer: Loss, inner: Loss, weights: Any, alpha: Any
    ) -> tuple[Float[Array, ""], Any]:
        def ahead(alpha: Any) -> Float[Array, ""]:
            slope = jax.grad(inner)(weights, alpha)
            moved = jax.tree.map(lambda w, g: w - self.learning_rate * g, weights, slope)
            return outer(moved, alpha)

        return jax.value_and_grad(ahead)(alpha)
