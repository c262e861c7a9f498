"""Train agents, one a seed and all at once; what is done survives the process."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ..._checks import check_integer
from ...penalties import AbstractPenalty
from .._checkpoint import Checkpoint
from .._files import digest
from ._agent import State, Training, used_of
from ._algorithm import AbstractAlgorithm
from ._networks import Sizes
from ._policy import Policy, Scaling
from ._rules import AbstractRule
from ._transitions import Transitions

Evaluate = Callable[[Policy, PRNGKeyArray], Float[np.ndarray, " seeds"]]


class Progress(NamedTuple):
    """How far a training is.

    Attributes
    ----------
    done, steps
        Of the training.
    losses
        By network: of every seed, the mean since the last report (0 if it did not move).
    scores
        Of every seed; empty where nothing evaluates.
    """

    done: int
    steps: int
    losses: dict[str, tuple[float, ...]]
    scores: tuple[float, ...]


class Trained(NamedTuple):
    """Trained agents.

    Attributes
    ----------
    policies
        A ``Policy`` whose arrays have a leading axis of seeds.
    networks
        By name, with zeros where masks say so; stacked too.
    history
        ``Progress``, in order.
    """

    policies: Policy
    networks: dict[str, Any]
    history: tuple[Progress, ...]

    def policy(self, i: int) -> Policy:
        """One of the policies."""
        return jax.tree.map(lambda leaf: leaf[i] if eqx.is_array(leaf) else leaf, self.policies)

    def scores(self, last: int = 3) -> Float[np.ndarray, " seeds"]:
        """The mean of the last evaluations of every seed."""
        return np.mean([step.scores for step in self.history[-last:]], axis=0)


def train(
    algorithm: AbstractAlgorithm,
    data: Transitions,
    rule: AbstractRule | None = None,
    penalties: Mapping[str, AbstractPenalty] | None = None,
    *,
    seeds: Sequence[int] = (0,),
    steps: int = 10_000,
    width: int = 256,
    depth: int = 2,
    dropout: float = 0.0,
    learning_rate: float = 1e-3,
    batch: int = 256,
    evaluate: Evaluate | None = None,
    every: int = 1000,
    checkpoint: str | os.PathLike[str] | None = None,
    callback: Callable[[Progress], None] | None = None,
) -> Trained:
    """Learn a policy from data alone, by networks of which a part is used.

    Parameters
    ----------
    algorithm
        ``TD3BC``, ``IQL``, ``AWAC`` or ``BC``.
    data
        One set for all seeds, or as many sets as seeds, stacked. Observations are scaled to mean 0
        and standard deviation 1, rewards to the latter.
    rule
        Which weights are used: ``SNIP``, ``Magnitude``, ``SET`` or ``RigL``. None: all.
    penalties
        By name of the network (``"actor"``, ``"critics"``, ``"value"``), applied to its weights by
        ``nn.prox_updates`` after Adam, whose steps are of size ``learning_rate``: a strength is
        to be compared with 1. ``L1`` and groups make zeros; ``ElasticNet(strength, 0.0)`` is
        weight decay.
    seeds
        Of networks, batches and noise; one agent each.
    steps
        Of Adam, for each network.
    width, depth, dropout
        Of the hidden layers.
    learning_rate, batch
        Of Adam.
    evaluate
        A function of stacked policies and of keys, such as ``Evaluation``.
    every
        Steps between evaluations, checkpoints and calls of ``callback``.
    checkpoint
        A file. If the process dies, the same call goes on from there and ends in the same
        numbers. Delete it when the result is safe.
    callback
        Called with ``Progress``, once at the start if there is some already.

    Returns
    -------
    trained

    Raises
    ------
    ValueError
        If a size does not fit, a penalty is of no network, or ``checkpoint`` holds a run with
        other arguments.
    FloatingPointError
        If a loss is not finite.

    Examples
    --------
    >>> import jax
    >>> from sparsejax.applications import offline_rl as rl
    >>> task = rl.Pendulum()
    >>> data = rl.collect(task, 200, jax.random.key(0))
    >>> trained = rl.train(rl.BC(), data, rl.SNIP(0.5), seeds=(0, 1), steps=20, width=8)
    >>> trained.policy(1)(task.observe(task.reset(jax.random.key(1)))).shape
    (1,)

    Notes
    -----
    Arnob, Fujimoto & Precup, Sparse-Reg (2025).
    """
    for name, size in (("steps", steps), ("width", width), ("batch", batch), ("every", every)):
        check_integer(name, size)
    check_integer("depth", depth, least=0)
    if not 0 <= dropout < 1:
        raise ValueError(f"`dropout` must lie in [0, 1); got {dropout}.")
    if not len(seeds):
        raise ValueError("`seeds` is empty: there is nothing to train.")
    sets = data.rewards.shape[:-1]
    if sets not in ((), (len(seeds),)):
        raise ValueError(f"`data` has {sets[0]} sets, `seeds` {len(seeds)}; one, or as many.")
    penalties, names = dict(penalties or {}), list(algorithm.losses())
    for name in penalties:
        if name not in names:
            raise ValueError(f"`penalties`: there is no network {name!r}; there are {names}.")
    sizes = Sizes(width, depth, dropout)
    rate = jnp.asarray(learning_rate, data.rewards.dtype)
    training = Training(algorithm, rule, penalties, sizes, steps, batch, rate)
    keys = jnp.stack([jax.random.key(seed) for seed in seeds])
    axis = 0 if sets else None
    scaling, data = _scaled(data, axis, len(seeds))
    state = _start(training, data, keys, axis)
    saved, history = None, []
    if checkpoint is not None:
        saved = Checkpoint(checkpoint, _fingerprint(training, data, seeds, every), "train")
        found = saved.progress()
        if found is not None:
            state = saved.state(state)
            history = [_as_progress(*entry) for entry in found["history"]]
            if callback is not None:
                callback(history[-1])
    done = history[-1].done if history else 0
    while done < steps:
        length = min(every, steps - done)
        state, losses = _advance(training, state, data, keys, jnp.array(done), length, axis)
        done += length
        scores = ()
        if evaluate is not None:
            at = jax.vmap(lambda key, done=done: jax.random.fold_in(key, done))(keys)
            scores = np.asarray(evaluate(_policies(state, scaling), at)).tolist()
        means = {name: np.asarray(of).tolist() for name, of in losses.items()}
        history.append(_as_progress(done, steps, means, scores))
        _check_finite(history[-1], length, seeds)
        if saved is not None:
            saved.write({"history": history}, state)
        if callback is not None:
            callback(history[-1])
    networks = used_of(state.nets, state.masks)
    return Trained(_policies(state, scaling), networks, tuple(history))


def _as_progress(
    done: int, steps: int, losses: Mapping[str, Sequence[float]], scores: Sequence[float]
) -> Progress:
    return Progress(done, steps, {name: tuple(of) for name, of in losses.items()}, tuple(scores))


def _policies(state: State, scaling: Scaling) -> Policy:
    return Policy(used_of(state.nets, state.masks)["actor"], scaling)


@eqx.filter_jit
def _scaled(data: Transitions, axis: int | None, seeds: int) -> tuple[Scaling, Transitions]:
    """The scaling of every seed, and the data scaled."""
    if axis is None:
        scaling = Scaling.of(data)
        data = scaling.apply(data)
        return jax.tree.map(lambda x: jnp.broadcast_to(x, (seeds, *x.shape)), scaling), data
    scaling = jax.vmap(Scaling.of)(data)
    return scaling, jax.vmap(Scaling.apply)(scaling, data)


@eqx.filter_jit
def _start(training: Training, data: Transitions, keys: PRNGKeyArray, axis: int | None) -> State:
    return jax.vmap(training.start, in_axes=(axis, 0))(data, keys)


@eqx.filter_jit
def _advance(
    training: Training,
    state: State,
    data: Transitions,
    keys: PRNGKeyArray,
    done: Int[Array, ""],
    length: int,
    axis: int | None,
) -> tuple[State, dict[str, Float[Array, " seeds"]]]:
    """Some steps: the state after them, and mean losses."""
    of_all = jax.vmap(training.step, in_axes=(0, axis, 0, None))

    def body(state: State, number: Array) -> tuple[State, dict[str, Array]]:
        return of_all(state, data, keys, number)

    numbers = done + jnp.arange(length)
    state, losses = jax.lax.scan(body, state, numbers)
    moves = {name: training.moves(name, numbers) for name in losses}
    count = {name: jnp.maximum(jnp.sum(moved), 1) for name, moved in moves.items()}
    return state, {name: jnp.sum(of, axis=0) / count[name] for name, of in losses.items()}


def _check_finite(progress: Progress, length: int, seeds: Sequence[int]) -> None:
    for name, losses in progress.losses.items():
        wrong = [seed for seed, loss in zip(seeds, losses, strict=True) if not np.isfinite(loss)]
        if wrong:
            raise FloatingPointError(
                f"the loss of the {name} is not finite within steps {progress.done - length} to "
                f"{progress.done}, for seeds {wrong}: a lower learning rate may help."
            )


def _fingerprint(
    training: Training, data: Transitions, seeds: Sequence[int], every: int
) -> dict[str, Any]:
    """What must be the same for a run to go on."""
    sizes = training.sizes
    return {
        "algorithm": repr(training.algorithm),
        "data": digest(*jax.tree.leaves(data)),
        "rule": repr(training.rule),
        "penalties": [
            [name, type(p).__name__, digest(*jax.tree.leaves(p))]
            for name, p in training.penalties.items()
        ],
        "seeds": [int(seed) for seed in seeds],
        "steps": training.steps,
        "width": sizes.width,
        "depth": sizes.depth,
        "dropout": sizes.dropout,
        "learning_rate": float(training.learning_rate),
        "batch": training.batch,
        "every": every,
    }
