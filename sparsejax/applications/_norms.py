"""Running statistics of BatchNorm, taken when training is done."""

from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float


@eqx.filter_jit
def fitted_state(
    model: Any, state: eqx.nn.State, images: Float[Array, "samples ..."], batch: int = 128
) -> eqx.nn.State:
    """Running statistics of BatchNorm for the weights as they are.

    Parameters
    ----------
    model, state
        The state is where the running averages begin.
    images
        To average over, in batches in this order; what does not fill a batch is left out.
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
    model = eqx.nn.inference_mode(model, value=False)
    call = jax.vmap(model, (0, None), (0, None), axis_name="batch")

    def body(state: eqx.nn.State, images: Array) -> tuple[eqx.nn.State, None]:
        return call(images, state)[1], None

    batches = images[: count * batch].reshape(count, batch, *images.shape[1:])
    return jax.lax.scan(body, copied_state(state), batches)[0]


def copied_state(state: eqx.nn.State) -> eqx.nn.State:
    """The same values: Equinox invalidates a state that has been updated."""
    values, structure = jax.tree.flatten(state)
    return jax.tree.unflatten(structure, values)
