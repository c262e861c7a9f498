"""Penalties as minima of weighted ridges."""

import abc
from typing import Any, Self

import equinox as eqx
from jaxtyping import Array, Float


class AbstractVariationalForm(eqx.Module):
    """g(w) = min over v of Σ_j w_j²/(2 W_j(v)) + ‖v‖²/2, for W = root(v)².

    v is a vector or a tuple of them, one number a block of coefficients.
    """

    @abc.abstractmethod
    def root(self, v: Any) -> Float[Array, " p"]:
        """√W(v), of either sign; zero where a coefficient must be."""

    @abc.abstractmethod
    def best(self, w: Float[Array, "p ..."]) -> Any:
        """The v ≥ 0 of the minimum."""

    @abc.abstractmethod
    def rescaled(self, scale: Float[Array, " p"]) -> Self:
        """The form of b ↦ g(b/scale); the scale is the same within a group."""
