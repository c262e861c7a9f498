"""The direct part alone."""

from typing import Any

import jax
from jaxtyping import Array, Float

from ._base import AbstractHypergradient, Loss


class FirstOrder(AbstractHypergradient):
    """∂outer/∂α at the weights as they are: what they would do about it is left out.

    Examples
    --------
    >>> from sparsejax.applications import nas
    >>> inner = lambda w, a: (w - a) ** 2 / 2  # w(a) = a
    >>> outer = lambda w, a: w**2 / 2 + a
    >>> value, slope = nas.hypergradients.FirstOrder()(outer, inner, 3.0, 3.0)
    >>> float(slope)
    1.0

    Notes
    -----
    Liu, Simonyan & Yang, DARTS (ICLR 2019), with ξ = 0.
    """

    def __call__(
        self, outer: Loss, inner: Loss, weights: Any, alpha: Any
    ) -> tuple[Float[Array, ""], Any]:
        return jax.value_and_grad(outer, 1)(weights, alpha)
