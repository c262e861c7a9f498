"""The search: weights and architecture learned together, each on half of the samples."""

import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ..._arrays import as_inexact, cast_floats
from ..._checks import check_finite
from .._checkpoint import Checkpoint
from .._files import digest
from .._sizes import check_size
from ._architecture import discretise, entropy
from ._data import Samples
from ._space import Space
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
    >>> space, relaxation = nas.SPACES["skip-or-conv"], nas.relaxations.Softmax()
    >>> found = nas.search(
    ...     space, nas.Samples(X, y), relaxation, seeds=(0, 1), steps=4, batch=8, width=2, depth=1
    ... )
    >>> found.weights.shape, found.cells.shape
    ((2, 6, 2), (2, 6))

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
        check_size(name, size)
    halves = (X[::2], y[::2]), (X[1::2], y[1::2])
    if batch > len(halves[1][1]):
        raise ValueError(f"`batch` must be at most half of the {len(y)} samples; got {batch}.")
    keys = seed_keys(seeds)
    nets, alpha = start(space, X, y, relaxation, keys, width, depth)
    weights, rest = eqx.partition(nets, eqx.is_inexact_array)
    step = _Step(rest, relaxation, hypergradient, steps, batch, learning_rate)
    state = jax.vmap(step.start)(weights, alpha)
    saved, history = None, []
    if checkpoint is not None:
        run: dict[str, Any] = {"steps": steps, "batch": batch, "seeds": list(map(int, seeds))}
        run |= {"width": width, "depth": depth, "learning_rate": learning_rate, "every": every}
        run |= {"space": repr(space), "samples": digest(X, y)}
        run |= {"relaxation": repr(relaxation), "hypergradient": repr(hypergradient)}
        saved = Checkpoint(checkpoint, run, "search")
        found = saved.progress()
        if found is not None:
            history = [_progress(*entry) for entry in found["history"]]
            state = saved.state(state)
            if callback is not None:
                callback(history[-1])
    while (done := history[-1].done if history else 0) < steps:
        length = min(every, steps - done)
        state, losses = _advance(step, state, halves, keys, jnp.array(done), jnp.array(length))
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


def checked_samples(samples: Samples) -> tuple[Array, Array]:
    """Samples as arrays, or an error that says what is wrong."""
    X, y = as_inexact(samples.X, "samples.X"), jnp.asarray(samples.y)
    check_finite("samples.X", X)
    if X.ndim not in (3, 4) or y.shape != X.shape[:1] or not jnp.issubdtype(y.dtype, jnp.integer):
        raise ValueError(
            "`samples` must have X of shape (samples, channels, length) or (samples, channels, "
            f"height, width) and as many integers y; got shapes {X.shape} and {y.shape}, y of "
            f"{y.dtype}."
        )
    if not y.size or int(y.min()) < 0:
        raise ValueError("`samples` must have classes y from 0, of one sample at least.")
    return X, y


def seed_keys(seeds: Sequence[int]) -> PRNGKeyArray:
    """A key a seed."""
    if not len(seeds):
        raise ValueError("`seeds` is empty: there is nothing to train.")
    return jnp.stack([jax.random.key(seed) for seed in seeds])


def start(
    space: Space,
    X: Array,
    y: Array,
    relaxation: AbstractRelaxation,
    keys: PRNGKeyArray,
    width: int,
    depth: int,
) -> tuple[Supernet, Float[Array, "seeds edges operations"]]:
    """Stacked supernets, and parameters, in the precision of the samples."""
    nets = supernets(space, X, y, keys, width, depth)
    alpha = jax.vmap(lambda key: relaxation.init(space, jax.random.fold_in(key, 1)))(keys)
    return nets, cast_floats(alpha, X.dtype)


def supernets(
    space: Space, X: Array, y: Array, keys: PRNGKeyArray, width: int, depth: int
) -> Supernet:
    """Stacked, for these samples and in their precision."""
    shape, classes = tuple(X.shape[1:]), 1 + int(y.max())
    make = lambda key: Supernet(space, shape, classes, key, width=width, depth=depth)  # noqa: E731
    return cast_floats(eqx.filter_vmap(make)(keys), X.dtype)


def mean_loss(
    net: Supernet,
    weights: Float[Array, "edges operations"],
    X: Float[Array, "batch ..."],
    y: Int[Array, " batch"],
    key: PRNGKeyArray | None = None,
) -> Float[Array, ""]:
    """Cross-entropy."""
    logits = jax.vmap(lambda x: net(x, weights, key))(X)
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, y))


class _State(eqx.Module):
    """What the search of one seed changes."""

    weights: Any
    alpha: Float[Array, "edges operations"]
    weights_memory: Any
    alpha_memory: Any


class _Step(eqx.Module):
    """One step of one seed."""

    rest: Any
    relaxation: AbstractRelaxation
    hypergradient: AbstractHypergradient
    steps: int = eqx.field(static=True)
    batch: int = eqx.field(static=True)
    learning_rate: float = eqx.field(static=True)

    def optimiser(self) -> optax.GradientTransformation:
        return falling_sgd(self.learning_rate, self.steps)

    def start(self, weights: Any, alpha: Array) -> _State:
        memories = self.optimiser().init(weights), self.relaxation.optimiser().init(alpha)
        return _State(weights, alpha, *memories)

    def __call__(
        self, state: _State, halves: Any, key: PRNGKeyArray, number: Array
    ) -> tuple[_State, Float[Array, " 2"]]:
        first, second, drawn, noise = jax.random.split(jax.random.fold_in(key, number), 4)

        def loss_on(half: tuple[Array, Array], key: PRNGKeyArray) -> Callable[..., Array]:
            chosen = jax.random.randint(key, (self.batch,), 0, len(half[1]))
            X, y = half[0][chosen], half[1][chosen]

            def loss(weights: Any, alpha: Array) -> Float[Array, ""]:
                net = eqx.combine(weights, self.rest)
                progress = number / self.steps
                of_operations = self.relaxation.weights(alpha, net.space, progress, drawn)
                return mean_loss(net, of_operations, X, y, noise)

            return loss

        inner, outer = loss_on(halves[0], first), loss_on(halves[1], second)
        value, slope = self.hypergradient(outer, inner, state.weights, state.alpha)
        change, alpha_memory = self.relaxation.optimiser().update(
            slope, state.alpha_memory, state.alpha
        )
        alpha = jnp.asarray(optax.apply_updates(state.alpha, change))
        train_value, slope = jax.value_and_grad(inner)(state.weights, alpha)
        change, memory = self.optimiser().update(slope, state.weights_memory, state.weights)
        weights = optax.apply_updates(state.weights, change)
        return _State(weights, alpha, memory, alpha_memory), jnp.stack([train_value, value])


def falling_sgd(
    learning_rate: float, steps: int, weight_decay: float = 3e-4, mask: Any = None
) -> optax.GradientTransformation:
    """As DARTS trains weights: momentum, clipped gradients, a rate that falls by a cosine."""
    return optax.chain(
        optax.clip_by_global_norm(5.0),
        optax.add_decayed_weights(weight_decay, mask),
        optax.sgd(optax.cosine_decay_schedule(learning_rate, steps), momentum=0.9),
    )


@eqx.filter_jit
def _advance(
    step: _Step, state: _State, halves: Any, keys: PRNGKeyArray, done: Array, num: Array
) -> tuple[_State, Float[Array, "2 seeds"]]:
    """`num` more steps of all seeds, and their mean losses."""
    of_all = jax.vmap(step, (0, None, 0, None))

    def body(i: Array, carry: tuple[_State, Array]) -> tuple[_State, Array]:
        state, losses = of_all(carry[0], halves, keys, done + i)
        return state, carry[1] + losses

    losses = jnp.zeros((len(keys), 2), state.alpha.dtype)
    state, losses = jax.lax.fori_loop(0, num, body, (state, losses))
    return state, losses.T / num


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
