"""What weights are worth."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ._leaves import Where, aligned, chosen_leaves, named_leaves, replace_leaves


def magnitude(model: Any, where: Where = None) -> Any:
    """|w|.

    Parameters
    ----------
    model
        Any pytree.
    where
        Which weights, as in ``magnitude_masks``.

    Returns
    -------
    scores
        Of the model's shape, None for what is not pruned: for ``masks_of``.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> sj.nn.magnitude([jnp.array([[3.0, -1.0]]), jnp.ones(1)])
    [Array([[3., 1.]], dtype=float32), None]
    """
    return _scored(model, where, lambda name, w: jnp.abs(w))


def saliency(model: Any, gradient: Any, where: Where = None) -> Any:
    """|w · ∂loss/∂w|: how much the loss changes, to first order, if a weight is dropped.

    Parameters
    ----------
    model, where
        As in ``magnitude``.
    gradient
        Of the loss, of the model's shape.

    Raises
    ------
    ValueError
        If a weight has no gradient of its shape; the message names the leaf.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> sj.nn.saliency(jnp.array([[3.0, -1.0]]), jnp.array([[0.1, 2.0]])).round(1).tolist()
    [[0.3, 2.0]]

    Notes
    -----
    Mozer & Smolensky, Skeletonization (NeurIPS 1988); Molchanov et al. (ICLR 2017).
    """
    leaves = named_leaves(model)
    slopes = aligned(gradient, leaves, "gradient")

    def score(name: str, w: Array) -> Array:
        slope = slopes[name]
        if slope is None or slope.shape != w.shape:
            found = "none" if slope is None else f"shape {slope.shape}"
            raise ValueError(f"`gradient`: {name!r} has shape {w.shape}; got {found}.")
        return jnp.abs(w * slope)

    return _scored(model, where, score)


def snip(loss: Callable[[Any], Float[Array, ""]], model: Any, where: Where = None) -> Any:
    """Connection sensitivity: the saliency at initialisation, summing to one over all weights.

    Parameters
    ----------
    loss
        A function of the model alone, on a batch of the data.
    model, where
        As in ``magnitude``.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> sj.nn.snip(lambda w: jnp.sum(w**2), jnp.array([[3.0, 1.0]])).round(1).tolist()
    [[0.9, 0.1]]

    Notes
    -----
    Lee, Ajanthan & Torr, SNIP (ICLR 2019), equation 6.
    """
    scores = saliency(model, eqx.filter_grad(loss)(model), where)
    total = sum(jnp.sum(score) for score in jax.tree.leaves(scores))
    return jax.tree.map(lambda score: score / jnp.where(total > 0, total, 1.0), scores)


def random_scores(model: Any, key: PRNGKeyArray, where: Where = None) -> Any:
    """Uniform numbers: the control that every other score must beat.

    Parameters
    ----------
    model, where
        As in ``magnitude``.
    key
        Of the random numbers.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, sparsejax as sj
    >>> scores = sj.nn.random_scores(jnp.ones((2, 3)), jax.random.key(0))
    >>> scores.shape
    (2, 3)
    """
    names = list(chosen_leaves(model, where))
    keys = dict(zip(names, jax.random.split(key, len(names)), strict=True))
    return _scored(model, where, lambda n, w: jax.random.uniform(keys[n], w.shape, w.dtype))


def wanda_scores(
    weight: Float[Array, "out in"], norms: Float[Array, " in"]
) -> Float[Array, "out in"]:
    """|W_ij| · ‖X_j‖: the magnitude of what a weight adds to its output.

    Parameters
    ----------
    weight
        (out, in).
    norms
        (in,) Euclidean norms of the inputs over the calibration data.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> sj.nn.wanda_scores(jnp.array([[3.0, -1.0]]), jnp.array([0.1, 2.0])).round(1).tolist()
    [[0.3, 2.0]]

    Notes
    -----
    Sun et al., A simple and effective pruning approach for large language models (ICLR 2024).
    """
    return jnp.abs(weight) * norms


def obs_scores(
    weight: Float[Array, "out in"], inverse_diagonal: Float[Array, " in"]
) -> Float[Array, "out in"]:
    """W_ij² / (H⁻¹)_jj: the error of dropping a weight when the others make up for it.

    Parameters
    ----------
    weight
        (out, in).
    inverse_diagonal
        (in,) of the inverse of the Gram matrix H, up to a factor.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> sj.nn.obs_scores(jnp.array([[3.0, -1.0]]), jnp.array([9.0, 0.5])).tolist()
    [[1.0, 2.0]]

    Notes
    -----
    Hassibi & Stork, Optimal brain surgeon (NeurIPS 1992).
    """
    return weight**2 / inverse_diagonal


def _scored(model: Any, where: Where, score: Callable[[str, Array], Array]) -> Any:
    """The score of every chosen weight, in the model's shape."""
    scores = {name: score(name, w) for name, w in chosen_leaves(model, where).items()}
    return replace_leaves(model, {name: scores.get(name) for name in named_leaves(model)})
