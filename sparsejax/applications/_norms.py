"""Running statistics of BatchNorm, taken when training is done."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._modules import replace


def fitted_state(
    model: Any, state: eqx.nn.State, images: Float[Array, "samples ..."], batch: int = 128
) -> eqx.nn.State:
    """Running statistics of BatchNorm for the weights as they are.

    Parameters
    ----------
    model, state
        What the norms remember in the state is replaced.
    images
        Every norm's statistics are those of batches in this order, averaged with equal weights
        whatever its momentum; what does not fill a batch is left out.
    batch
        Its size.

    Raises
    ------
    ValueError
        If there is not one batch of images.

    Examples
    --------
    See ``mask_sparsity``, which does this after training.
    """
    count = len(images) // batch
    if not count:
        raise ValueError(f"`batch` must be at most the {len(images)} images; got {batch}.")
    model, images = eqx.nn.inference_mode(model, value=False), jnp.asarray(images)
    norms = [node for node in jax.tree.leaves(model, is_leaf=_is_norm) if _is_norm(node)]
    # A norm without memory keeps the statistics of the last batch.
    forgetful = jax.tree.map(
        lambda node: replace(node, momentum=0.0) if _is_norm(node) else node,
        model,
        is_leaf=_is_norm,
    )
    state, sums = copied_state(state), None
    for i in range(count):  # no compiled loop, for the same reason as in `_training`
        state = _seen(forgetful, state, images, jnp.array(i * batch), batch)
        found = [state.get(_memory(norm)) for norm in norms]
        sums = found if sums is None else jax.tree.map(jnp.add, sums, found)
    for norm, (mean, variance) in zip(norms, sums or [], strict=True):
        state = _remembering(norm, state, mean / count, variance / count)
    return state


@eqx.filter_jit
def _seen(
    model: Any, state: eqx.nn.State, images: Array, first: Int[Array, ""], batch: int
) -> eqx.nn.State:
    """The state after one batch."""
    call = jax.vmap(model, (0, None), (0, None), axis_name="batch")
    return call(jax.lax.dynamic_slice_in_dim(images, first, batch), state)[1]


def _is_norm(node: Any) -> bool:
    return isinstance(node, eqx.nn.BatchNorm)


def _memory(norm: eqx.nn.BatchNorm) -> eqx.nn.StateIndex:
    index = norm.ema_state_index if norm.mode == "ema" else norm.batch_state_index
    assert index is not None
    return index


def _remembering(
    norm: eqx.nn.BatchNorm, state: eqx.nn.State, mean: Array, variance: Array
) -> eqx.nn.State:
    """The state in which the norm has this mean and variance in inference."""
    if norm.mode == "batch" and norm.batch_counter is not None:
        # There they are divided by how much of them was not there at the beginning.
        part = 1 - norm.momentum ** state.get(norm.batch_counter)
        mean, variance = part * mean, part * variance
    return state.set(_memory(norm), (mean, variance))


def copied_state(state: eqx.nn.State) -> eqx.nn.State:
    """The same values: Equinox invalidates a state that has been updated."""
    values, structure = jax.tree.flatten(state)
    return jax.tree.unflatten(structure, values)
