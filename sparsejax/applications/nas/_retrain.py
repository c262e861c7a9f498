"""Discrete cells, trained from the beginning."""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .._training import Callback, train_on_batches
from ._architecture import one_hot
from ._augment import Augmentation, augmented
from ._data import Samples
from ._measures import accuracy
from ._space import Space
from ._steps import checked_samples, falling_sgd, mean_loss, seed_keys, supernets
from ._supernet import Supernet


class Network(eqx.Module):
    """A supernet with weights of operations that stay what they are.

    Parameters
    ----------
    supernet
        Of all operations.
    weights
        (edges, operations), as from ``one_hot``.

    Examples
    --------
    See ``retrain``.
    """

    supernet: Supernet
    weights: Float[Array, "edges operations"]

    def __call__(self, x: Float[Array, "channels *places"]) -> Float[Array, " classes"]:
        """Logits of one sample."""
        return self.supernet(x, jax.lax.stop_gradient(self.weights))


class Retrained(NamedTuple):
    """Trained networks.

    Attributes
    ----------
    networks
        ``Network``, stacked along the first axis of their arrays.
    losses
        (networks, steps): of every batch.
    """

    networks: Network
    losses: Float[np.ndarray, "networks steps"]

    def accuracy(self, samples: Samples) -> Float[np.ndarray, " networks"]:
        """The part of the samples that each network puts into the right class."""
        return accuracy(self.networks.supernet, self.networks.weights, samples)


def retrain(
    space: Space,
    cells: Int[np.ndarray, "networks edges"],
    samples: Samples,
    *,
    seeds: Sequence[int],
    steps: int = 1500,
    batch: int = 64,
    width: int = 8,
    depth: int = 2,
    learning_rate: float = 0.1,
    augment: Augmentation | None = None,
    every: int = 100,
    checkpoint: str | os.PathLike[str] | None = None,
    callback: Callback | None = None,
) -> Retrained:
    """Train networks of discrete cells on all samples, in one compiled loop.

    Operations that a cell does not have are computed and multiplied by zero, so that one program
    trains all cells of a space.

    Parameters
    ----------
    space, cells
        As of ``one_hot``, a row a network.
    samples
        To train with.
    seeds
        Of weights and batches, one a network.
    steps, batch, width, depth, learning_rate, augment, every
        As of ``search``; batches are drawn without replacement.
    checkpoint, callback
        As of ``sparsejax.applications.vision.train``.

    Returns
    -------
    retrained

    Raises
    ------
    ValueError
        If there is not a seed for each cell, or something else does not fit.
    FloatingPointError
        If a loss is not finite.

    Examples
    --------
    >>> from sparsejax.applications import nas
    >>> task, space = nas.mnist1d(), nas.SPACES["small"]  # doctest: +SKIP
    >>> cells = [[2, 0, 1], [1, 1, 1]]
    >>> found = nas.retrain(space, cells, task.train, seeds=(0, 1))  # doctest: +SKIP
    >>> found.accuracy(task.test).shape  # doctest: +SKIP
    (2,)
    """
    X, y = checked_samples(samples)
    weights = jnp.asarray(one_hot(cells, space), X.dtype)
    if weights.ndim != 3 or len(weights) != len(seeds):
        raise ValueError(
            f"`seeds` must be as many as `cells`; got {len(seeds)} and cells of shape "
            f"{np.shape(cells)}."
        )
    keys = seed_keys(seeds)
    networks = Network(supernets(space, X, y, keys, width, depth), weights)
    optimiser = falling_sgd(learning_rate, steps, mask=_all_but_cells)
    networks, losses = train_on_batches(
        networks,
        (X, y),
        _Loss(augment),
        optimiser,
        steps=steps,
        batch=batch,
        key=keys,
        every=every,
        run={"augment": repr(augment)},
        checkpoint=checkpoint,
        callback=callback,
    )
    return Retrained(networks, losses)


def _all_but_cells(networks: Network) -> Any:
    return eqx.tree_at(lambda n: n.weights, jax.tree.map(lambda _: True, networks), False)


class _Loss(eqx.Module):
    """Of the cells as they are; epochs are alike."""

    augment: Augmentation | None

    def __call__(
        self, model: Network, batch: tuple[Array, ...], key: PRNGKeyArray, epoch: Array
    ) -> Float[Array, ""]:
        X = augmented(self.augment, batch[0], key)
        return mean_loss(model.supernet, jax.lax.stop_gradient(model.weights), X, batch[1])
