"""How much a search has decided, and what its decision costs."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._data import Samples
from ._search import Searched
from ._steps import mean_loss
from ._supernet import Supernet
from .relaxations import AbstractRelaxation


def accuracy(
    supernets: Supernet,
    weights: Float[np.ndarray | Array, "seeds edges operations"],
    samples: Samples,
    batch: int = 250,
) -> Float[np.ndarray, " seeds"]:
    """The part of the samples that stacked supernets put into the right class.

    With ``Searched.weights`` this is the accuracy of the supernet, with ``one_hot(cells)`` of what
    is left of it when cells are made discrete; the difference is the gap.

    Parameters
    ----------
    supernets
        As from ``search``.
    weights
        Of operations, for each.
    samples
        To judge by.
    batch
        How many are computed at once.

    Examples
    --------
    See ``search``.
    """
    X = jnp.asarray(samples.X)
    of_operations, y = jnp.asarray(weights, X.dtype), jnp.asarray(samples.y)
    return np.asarray(_accuracy(supernets, of_operations, X, y, batch))


def curvature(
    searched: Searched, relaxation: AbstractRelaxation, samples: Samples
) -> Float[np.ndarray, " seeds"]:
    """The largest eigenvalue of ∂²loss/∂α² at the end of each search.

    Large ones go with cells that lose much when they are made discrete. All columns of the matrix
    are computed, each by the derivative of a gradient along a direction: there are few α, and no
    iteration has to converge.

    Parameters
    ----------
    searched, relaxation
        As from and for ``search``.
    samples
        Of the loss: those for the architecture, or others not trained on.

    Examples
    --------
    See ``search``.

    Notes
    -----
    Zela et al., Understanding and robustifying differentiable architecture search (ICLR 2020).
    """
    X, y = jnp.asarray(samples.X), jnp.asarray(samples.y)
    alpha = jnp.asarray(searched.alpha)
    return np.asarray(_curvature(searched.supernets, relaxation, alpha, X, y))


@eqx.filter_jit
def _curvature(
    supernets: Supernet, relaxation: AbstractRelaxation, alpha: Array, X: Array, y: Array
) -> Array:
    def of_one(net: Supernet, alpha: Array) -> Array:
        def loss(flat: Array) -> Array:
            weights = relaxation.weights(flat.reshape(alpha.shape), net.space)
            return mean_loss(net, weights, X, y)

        flat = alpha.reshape(-1)
        column = lambda v: jax.jvp(jax.grad(loss), (flat,), (v,))[1]  # noqa: E731
        matrix = jax.lax.map(column, jnp.eye(flat.size, dtype=flat.dtype))
        return jnp.linalg.eigvalsh(matrix)[-1]

    return eqx.filter_vmap(of_one)(supernets, alpha)


@eqx.filter_jit
def _accuracy(supernets: Supernet, weights: Array, X: Array, y: Array, batch: int) -> Array:
    def right(sample: tuple[Array, Array]) -> Array:
        x, label = sample
        logits = eqx.filter_vmap(lambda net, w: net(x, w))(supernets, weights)
        return jnp.argmax(logits, axis=-1) == label

    return jnp.mean(jax.lax.map(right, (X, y), batch_size=batch), axis=0)
