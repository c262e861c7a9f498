"""What a hypergradient must say, and the products that its kinds are made of."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Loss = Callable[[Any, Any], Float[Array, ""]]  # of the weights and of the parameters


class AbstractHypergradient(eqx.Module):
    """The derivative of outer(w(α), α), where w(α) is what training on inner(·, α) leads to."""

    @abc.abstractmethod
    def __call__(
        self, outer: Loss, inner: Loss, weights: Any, alpha: Any
    ) -> tuple[Float[Array, ""], Any]:
        """The outer loss where it is looked at, and its derivative in α (a tree as α is)."""


def curvature_product(inner: Loss, weights: Any, alpha: Any, direction: Any) -> Any:
    """∂²inner/∂w² times a direction, by forward over reverse mode."""
    slope = jax.grad(inner)
    return jax.jvp(lambda w: slope(w, alpha), (weights,), (direction,))[1]


def indirect(
    outer: Loss, inner: Loss, weights: Any, alpha: Any, solve: Callable[[Any], Any]
) -> tuple[Float[Array, ""], Any]:
    """∂outer/∂α − ∂²inner/∂α∂w · v, where ``solve`` gives v for ∂outer/∂w.

    v = (∂²inner/∂w²)⁻¹ ∂outer/∂w makes it exact at a minimum of inner.
    """
    value, (by_weights, by_alpha) = jax.value_and_grad(outer, (0, 1))(weights, alpha)
    direction = jax.lax.stop_gradient(solve(by_weights))

    def along(alpha: Any) -> Float[Array, ""]:
        return jax.jvp(lambda w: inner(w, alpha), (weights,), (direction,))[1]

    return value, jax.tree.map(jnp.subtract, by_alpha, jax.grad(along)(alpha))
