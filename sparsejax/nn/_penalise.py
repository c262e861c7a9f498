"""A penalty on weights of a model, to add to its loss."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..penalties import AbstractPenalty
from ._coefficients import as_coefficients, checked_penalty
from ._leaves import Where, chosen_leaves
from ._masks import checked_masks


def penalise(
    model: Any, penalty: AbstractPenalty, where: Where = None, masks: Any = None
) -> Float[Array, ""]:
    """The sum of a penalty over weights of a model: a scalar to add to a loss.

    Parameters
    ----------
    model
        Any pytree.
    penalty
        Any penalty of this library. A weight (out, in, *kernel) is a matrix (out, rest) to those
        of matrices (``RowL2``: output channels; ``Nuclear``), a vector to the others.
    where
        Which weights, as in ``magnitude_masks``.
    masks
        If given, only weights marked to be dropped (False) are penalised; what is kept, or has no
        mask, is left alone.

    Returns
    -------
    value
        A scalar, differentiable in the model and in the penalty's parameters. Its gradient alone
        never makes exact zeros: ``prox_updates`` does.

    Raises
    ------
    TypeError
        If ``penalty`` is none.
    ValueError
        If nothing is chosen or shapes do not fit; the message names the leaf.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> model = {"w": jnp.array([[3.0, -1.0]]), "b": jnp.ones(1)}
    >>> float(sj.nn.penalise(model, sj.penalties.L1(0.5)))
    2.0
    >>> mask = {"w": jnp.array([[True, False]]), "b": None}
    >>> float(sj.nn.penalise(model, sj.penalties.L1(0.5), masks=mask))
    0.5

    Notes
    -----
    With masks this is the second stage of MaskSparsity (Jiang et al., Pruning-aware sparse
    regularization for network pruning, 2022).
    """
    penalty = checked_penalty(penalty)
    weights = chosen_leaves(model, where)
    if masks is not None:
        found = checked_masks(model, masks)
        weights = {
            name: jnp.where(found[name], jnp.zeros_like(w), w)
            for name, w in weights.items()
            if found[name] is not None
        }
    values = [penalty.value(as_coefficients(penalty, w, name)) for name, w in weights.items()]
    return jnp.sum(jnp.stack(values)) if values else jnp.zeros(())
