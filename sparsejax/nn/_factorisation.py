"""Weights as products of factors: sparsity by nothing but weight decay."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from .._arrays import as_inexact
from .._checks import check_nonnegative, is_concrete
from ._leaves import Where, chosen_leaves, named_leaves, replace_leaves

_SMALLEST = 0.01  # |w| at initialisation, relative to its root mean square ...
_LARGEST = 2.0  # ... both for the product of factors that all lie at the end of their range


class Factorised(eqx.Module):
    """A model whose chosen weights are entrywise products of factors.

    Attributes
    ----------
    model
        The model, with None in the place of those weights.
    factors
        (depth, *shape) for each of them, by name.
    """

    model: Any
    factors: dict[str, Float[Array, "depth ..."]]

    def collapse(self) -> Any:
        """The model with its weights multiplied out.

        What is rounding next to the largest weight of a leaf becomes exactly zero: decay makes
        factors small, never zero.
        """
        leaves = named_leaves(self.model)
        products = {name: _product(factors) for name, factors in self.factors.items()}
        return replace_leaves(self.model, leaves | products)

    def decay(self, strength: float | Float[Array, ""]) -> Float[Array, ""]:
        """strength/depth · ‖factors‖², to add to a loss.

        At least strength · Σ|w|^(2/depth), and equal where all factors of a weight have one size,
        as at every local minimum: minimisers with this are those with ``L1`` for two factors, and
        with ``Lq(strength, 2/depth)`` for more. The same in Optax: ``add_decayed_weights`` of
        2·strength/depth on ``factors``.
        """
        strength = as_inexact(strength, "strength")
        check_nonnegative("strength", strength, ndim=0, finite=True)
        parts = [jnp.sum(factors**2) / factors.shape[0] for factors in self.factors.values()]
        return strength * jnp.sum(jnp.stack(parts))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.collapse()(*args, **kwargs)


def factorise(
    model: Any, depth: int, where: Where = None, key: PRNGKeyArray | None = None
) -> Factorised:
    """Write weights of a model as products of factors, to be trained with weight decay.

    Parameters
    ----------
    model
        Any pytree.
    depth
        Factors a weight, two or more. More of them ask for larger learning rates and give more
        zeros at once.
    where
        Which weights, as in ``magnitude_masks``.
    key
        Draws the factors anew: normal, their sizes cut off on both sides (a weight with one small
        factor learns slowly, and one with all of them hardly at all), and scaled so that weights
        have the mean square they have in the model. Without it the weights stay as they are and
        their factors get one size; then weights of zero stay zero for good.

    Returns
    -------
    Factorised
        To be trained in the place of the model; ``collapse()`` gives a model again.

    Raises
    ------
    ValueError
        If ``depth`` is below two, nothing is chosen, or weights to be drawn are all zero.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> model = {"w": jnp.array([[8.0, -1.0]]), "b": jnp.ones(1)}
    >>> thrice = sj.nn.factorise(model, depth=3)
    >>> thrice.factors["w"][:, 0].round(3).tolist()
    [[2.0, -1.0], [2.0, 1.0], [2.0, 1.0]]
    >>> float(thrice.decay(0.1).round(3))  # 0.1·(8^⅔ + 1)
    0.5

    Notes
    -----
    Kolb et al., Smoothing the edges: smooth optimization for sparse regularization using Hadamard
    overparametrization (2023); Deep weight factorization (ICLR 2025), whose initialisation this is
    but for two things: the bounds are relative to the size of the weights, and the variance is
    matched after the truncation, not before.
    """
    if not isinstance(depth, int) or depth < 2:
        raise ValueError(f"`depth` must be an integer, two or more; got {depth!r}.")
    weights = chosen_leaves(model, where)
    if key is None:
        factors = {name: _balanced(weight, depth) for name, weight in weights.items()}
    else:
        keys = jax.random.split(key, len(weights))
        pairs = zip(keys, weights.items(), strict=True)
        factors = {name: _drawn(k, name, weight, depth) for k, (name, weight) in pairs}
    rest = named_leaves(model) | dict.fromkeys(weights)
    return Factorised(replace_leaves(model, rest), factors)


def _product(factors: Float[Array, "depth ..."]) -> Float[Array, "..."]:
    weight = jnp.prod(factors, axis=0)
    largest = jnp.max(jnp.abs(weight), initial=0.0)
    return jnp.where(jnp.abs(weight) > jnp.finfo(weight.dtype).eps * largest, weight, 0.0)


def _balanced(weight: Float[Array, "..."], depth: int) -> Float[Array, "depth ..."]:
    size = jnp.abs(weight) ** (1 / depth)
    return jnp.broadcast_to(size, (depth, *weight.shape)).at[0].multiply(jnp.sign(weight))


def _drawn(
    key: PRNGKeyArray, name: str, weight: Float[Array, "..."], depth: int
) -> Float[Array, "depth ..."]:
    size = jnp.sqrt(jnp.mean(weight**2))
    if is_concrete(size) and float(size) == 0:
        raise ValueError(f"`model` has only zeros at {name!r}: there is no size to match.")
    low, high = _SMALLEST ** (1 / depth), _LARGEST ** (1 / depth)
    shape = (depth, *weight.shape)
    of_size, of_sign = jax.random.split(key)
    sizes = jax.random.truncated_normal(of_size, low, high, shape, weight.dtype)
    signs = jax.random.rademacher(of_sign, shape, weight.dtype)
    unit = (size / math.sqrt(_truncated_square(low, high)) ** depth) ** (1 / depth)
    return unit * signs * sizes


def _truncated_square(low: float, high: float) -> float:
    """E[z²] of a standard normal z between two positive numbers."""
    density = [math.exp(-(x**2) / 2) / math.sqrt(2 * math.pi) for x in (low, high)]
    mass = (math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2))) / 2
    return 1 + (low * density[0] - high * density[1]) / mass
