"""The search: weights and architecture learned together, each on half of the samples."""

import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..._checks import check_integer
from .._checkpoint import Checkpoint
from .._files import digest
from ._architecture import discretise, entropy
from ._augment import Augmentation
from ._data import Samples
from ._space import Space
from ._steps import Step, advance, checked_samples, seed_keys, start
from ._supernet import Supernet
from .hypergradients import AbstractHypergradient, FirstOrder
from .relaxations import AbstractRelaxation


class Progress(NamedTuple):
    """How far a search is; a number a seed.

    Attributes
    ----------
    done, steps
        Of the search.
    train_losses, losses
        Of weights and of architectures on their halves, means over the last steps.
    entropies
        Of the weights of operations, as of ``entropy``.
    cells
        What would be chosen now.
    """

    done: int
    steps: int
    train_losses: tuple[float, ...]
    losses: tuple[float, ...]
    entropies: tuple[float, ...]
    cells: tuple[tuple[int, ...], ...]


class Searched(NamedTuple):
    """The results of searches, one a seed.

    Attributes
    ----------
    supernets
        Stacked along the first axis of their arrays.
    alpha
        (seeds, edges, operations): parameters of the relaxation.
    weights
        (seeds, edges, operations): of operations in the supernets.
    cells
        (seeds, edges): what is chosen.
    history
        ``Progress``, in order.
    """

    supernets: Supernet
    alpha: Float[np.ndarray, "seeds edges operations"]
    weights: Float[np.ndarray, "seeds edges operations"]
    cells: Int[np.ndarray, "seeds edges"]
    history: tuple[Progress, ...]


def search(
    space: Space,
    samples: Samples,
    relaxation: AbstractRelaxation,
    hypergradient: AbstractHypergradient | None = None,
    *,
    seeds: Sequence[int] = (0,),
    steps: int = 1500,
    batch: int = 64,
    width: int = 8,
    depth: int = 2,
    learning_rate: float = 0.1,
    augment: Augmentation | None = None,
    every: int = 100,
    checkpoint: str | os.PathLike[str] | None = None,
    callback: Callable[[Progress], None] | None = None,
) -> Searched:
    """Learn which operations a cell should have, by gradients; all seeds in one compiled loop.

    Every step moves the parameters of the relaxation down the hypergradient on one half of the
    samples, then the weights of the supernet down the gradient on the other one.

    Parameters
    ----------
    space
        Of the cells.
    samples
        To search with; every second one is for the architecture, so they should be shuffled.
    relaxation
        What stands for the choice of an operation.
    hypergradient
        How the loss on the one half depends on the training on the other; ``FirstOrder()`` by
        default.
    seeds
        Of weights, batches and whatever is random; a search each.
    steps, batch
        How many steps, and samples of each half in one.
    width, depth
        Of the ``Supernet``.
    learning_rate
        Of the weights: SGD with momentum, falling to zero by a cosine.
    augment
        Changes each sample of a batch, of both halves, such as ``Shift(4)``: where samples are
        few, weights that know them by heart make architectures prefer skips. To go on from
        ``checkpoint``, its ``repr`` must be the same.
    every
        Steps between checkpoints and calls of ``callback``.
    checkpoint
        A file. If the process dies, the same call goes on from there and ends in the same
        numbers. Delete it when the result is safe.
    callback
        Called with ``Progress``, once at the start if there is some already.

    Returns
    -------
    searched

    Raises
    ------
    ValueError
        If sizes do not fit together, samples are not finite, or ``checkpoint`` holds a run with
        other arguments.
    FloatingPointError
        If a loss is not finite.

    Examples
    --------
    >>> import matplotlib.figure, numpy as np
    >>> from sparsejax.applications import nas
    >>> y = np.arange(64) % 4 // 2
    >>> X = np.random.default_rng(0).normal(size=(64, 1, 8)) + y[:, None, None]
    >>> space = nas.Space("tiny", ("skip", "conv3"), nodes=1)
    >>> relaxation = nas.relaxations.Softmax()
    >>> found = nas.search(
    ...     space, nas.Samples(X, y), relaxation, seeds=(0, 1), steps=4, batch=8, width=2, depth=1
    ... )
    >>> found.weights.shape, found.cells.shape
    ((2, 1, 2), (2, 1))

    The gap between a supernet and what is left of it when its cell is made discrete:

    >>> left = nas.accuracy(found.supernets, nas.one_hot(found.cells, space), nas.Samples(X, y))
    >>> gap = nas.accuracy(found.supernets, found.weights, nas.Samples(X, y)) - left
    >>> gap.shape
    (2,)
    >>> nas.draw_search(found, matplotlib.figure.Figure().subplots()).get_xlabel()
    'step'

    Notes
    -----
    Liu, Simonyan & Yang, DARTS: differentiable architecture search (ICLR 2019), algorithm 1.
    """
    hypergradient = FirstOrder() if hypergradient is None else hypergradient
    X, y = checked_samples(samples)
    for name, size in (("steps", steps), ("batch", batch), ("every", every)):
        check_integer(name, size)
    halves = (X[::2], y[::2]), (X[1::2], y[1::2])
    if batch > len(halves[1][1]):
        raise ValueError(f"`batch` must be at most half of the {len(y)} samples; got {batch}.")
    keys = seed_keys(seeds)
    nets, alpha = start(space, X, y, relaxation, keys, width, depth)
    weights, rest = eqx.partition(nets, eqx.is_inexact_array)
    step = Step(rest, relaxation, hypergradient, augment, steps, batch, learning_rate)
    state = jax.vmap(step.start)(weights, alpha)
    saved, history = None, []
    if checkpoint is not None:
        run: dict[str, Any] = {"steps": steps, "batch": batch, "seeds": list(map(int, seeds))}
        run |= {"width": width, "depth": depth, "learning_rate": learning_rate, "every": every}
        run |= {"space": repr(space), "samples": digest(X, y)}
        run |= {"relaxation": repr(relaxation), "hypergradient": repr(hypergradient)}
        run |= {"augment": repr(augment)}
        saved = Checkpoint(checkpoint, run, "search")
        found = saved.progress()
        if found is not None:
            history = [_progress(*entry) for entry in found["history"]]
            state = saved.state(state)
            if callback is not None:
                callback(history[-1])
    while (done := history[-1].done if history else 0) < steps:
        length = min(every, steps - done)
        state, losses = advance(step, state, halves, keys, jnp.array(done), jnp.array(length))
        now = _weights(relaxation, space, state.alpha)
        done += length
        measured = *np.asarray(losses).tolist(), entropy(now).tolist()
        history.append(_progress(done, steps, *measured, discretise(now, space).tolist()))
        _check_finite(history[-1], length)
        if saved is not None:
            saved.write({"history": history}, state)
        if callback is not None:
            callback(history[-1])
    now = _weights(relaxation, space, state.alpha)
    nets = eqx.combine(state.weights, rest)
    alpha = np.asarray(state.alpha)
    return Searched(nets, alpha, now, discretise(now, space), tuple(history))


@eqx.filter_jit
def _all_weights(relaxation: AbstractRelaxation, space: Space, alpha: Array) -> Array:
    return jax.vmap(lambda a: relaxation.weights(a, space))(alpha)


def _weights(relaxation: AbstractRelaxation, space: Space, alpha: Array) -> np.ndarray:
    return np.asarray(_all_weights(relaxation, space, alpha))


def _progress(done: int, steps: int, *of_seeds: Any) -> Progress:
    train_losses, losses, entropies, cells = of_seeds
    found = tuple(train_losses), tuple(losses), tuple(entropies)
    return Progress(done, steps, *found, tuple(map(tuple, cells)))


def _check_finite(progress: Progress, length: int) -> None:
    sums = np.add(progress.train_losses, progress.losses)
    wrong = np.flatnonzero(~np.isfinite(sums)).tolist()
    if wrong:
        raise FloatingPointError(
            f"the loss of searches {wrong} is not finite within steps {progress.done - length} to "
            f"{progress.done}: a lower learning rate may help."
        )
