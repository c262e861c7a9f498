"""Pruning by weights and activations."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ._layer import checked_layer, checked_norms
from ._pattern import AbstractPattern
from ._scores import wanda_scores
from ._unstructured import Unstructured


def wanda(
    W: Float[Array, "out in"], norms: Float[Array, " in"], pattern: AbstractPattern
) -> tuple[Float[Array, "out in"], Bool[Array, "out in"]]:
    """Drop the weights of least |W_ij| · ‖X_j‖; the others stay as they are.

    Parameters
    ----------
    W
        (out, in).
    norms
        (in,) Euclidean norms of the inputs over the calibration data, on any scale.
    pattern
        ``Unstructured`` weights compete within their output.

    Returns
    -------
    weight, mask
        (out, in): exact zeros where the mask is False.

    Raises
    ------
    ValueError
        For NaN, infinity or shapes that do not fit; the message names the argument.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> W, norms = jnp.array([[3.0, -1.0]]), jnp.array([0.1, 2.0])
    >>> sj.nn.wanda(W, norms, sj.nn.Unstructured(0.5))[0].tolist()
    [[0.0, -1.0]]

    Notes
    -----
    Sun et al., A simple and effective pruning approach for large language models (ICLR 2024).
    """
    W, pattern = checked_layer(W, pattern, "W")
    return _wanda(W, checked_norms(norms, W.shape[1]), pattern)


@functools.partial(jax.jit, static_argnums=2)
def _wanda(W: Any, norms: Any, pattern: AbstractPattern) -> tuple[Array, Array]:
    scope = "row" if isinstance(pattern, Unstructured) else "leaf"
    mask = pattern.mask(wanda_scores(W, norms), scope=scope)
    return jnp.where(mask, W, jnp.zeros_like(W)), mask
