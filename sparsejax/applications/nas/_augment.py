"""Samples changed at random before they are learned from."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..._checks import check_integer

Augmentation = Callable[[Array, PRNGKeyArray], Array]  # of one sample, to its own shape


class Shift(eqx.Module):
    """Move a sample along each of its places, by at most so many either way; zeros come in.

    Parameters
    ----------
    places
        The farthest; all shifts are equally likely.

    Raises
    ------
    ValueError
        If ``places`` is not a positive integer, or not below the lengths of a sample.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from sparsejax.applications import nas
    >>> nas.Shift(2)(jnp.ones((1, 5)), jax.random.key(1)).tolist()
    [[0.0, 1.0, 1.0, 1.0, 1.0]]

    Notes
    -----
    The padded crop that DARTS trains with (Liu, Simonyan & Yang, ICLR 2019).
    """

    places: int = eqx.field(static=True)

    def __check_init__(self) -> None:
        check_integer("places", self.places)

    def __call__(
        self, x: Float[Array, "channels *places"], key: PRNGKeyArray
    ) -> Float[Array, "channels *places"]:
        """The sample, moved."""
        axes = x.ndim - 1
        if self.places >= min(x.shape[1:]):
            raise ValueError(
                f"`places` must be below the lengths of a sample; got {self.places} for one of "
                f"shape {x.shape}."
            )
        padded = jnp.pad(x, [(0, 0)] + [(self.places, self.places)] * axes)
        starts = jax.random.randint(key, (axes,), 0, 2 * self.places + 1)
        return jax.lax.dynamic_slice(padded, [0, *starts], x.shape)


def augmented(
    augment: Augmentation | None, X: Float[Array, "batch ..."], key: PRNGKeyArray
) -> Float[Array, "batch ..."]:
    """A batch, each sample changed by itself."""
    return X if augment is None else jax.vmap(augment)(X, jax.random.split(key, len(X)))
