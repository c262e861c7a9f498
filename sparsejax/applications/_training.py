"""Training in compiled steps, of one model or several at once; what is done survives."""

import os
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .._checks import check_integer
from ._checkpoint import Checkpoint
from ._files import digest

Callback = Callable[[int, Float[np.ndarray, "*seeds every"]], None]


class BatchLoss(Protocol):
    """What is minimised: of a model, a batch of each array of the data, a key and an epoch."""

    def __call__(
        self, model: Any, batch: tuple[Array, ...], key: PRNGKeyArray, epoch: Array
    ) -> Float[Array, ""]: ...


def train_on_batches(
    model: Any,
    data: tuple[Array, ...],
    loss: BatchLoss | Sequence[BatchLoss],
    optimiser: optax.GradientTransformation,
    *,
    steps: int,
    batch: int,
    key: PRNGKeyArray,
    every: int,
    run: dict[str, Any],
    checkpoint: str | os.PathLike[str] | None,
    callback: Callback | None,
) -> tuple[Any, Float[np.ndarray, "*seeds steps"]]:
    """Minimise a loss over batches that are drawn anew in each epoch, without replacement.

    Parameters
    ----------
    model
        Any pytree whose floating-point arrays are trained; with several keys, several stacked.
    data
        Arrays with a first axis of samples.
    loss
        A ``BatchLoss``; itself a pytree, so that arrays it holds are no constants. Or several, of
        which one is drawn for each step.
    optimiser
        Of Optax.
    steps, batch, key, every, checkpoint, callback
        As of ``vision.train``.
    run
        What else must be the same for a run to go on.

    Returns
    -------
    model, losses

    Raises
    ------
    ValueError
        As of ``vision.train``.
    FloatingPointError
        If a loss is not finite.
    """
    samples = data[0].shape[0]
    for name, size in (("steps", steps), ("batch", batch), ("every", every)):
        check_integer(name, size)
    if batch > samples:
        raise ValueError(f"`batch` must be at most the {samples} samples; got {batch}.")
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key) or key.ndim > 1:
        raise ValueError("`key` must be one of `jax.random.key`, or a vector of them.")
    weights, rest = eqx.partition(model, eqx.is_inexact_array)
    dtype = jnp.result_type(*jax.tree.leaves(weights))
    start = jax.vmap(optimiser.init) if key.ndim else optimiser.init
    state = _State(weights, start(weights), np.zeros((*key.shape, 0), dtype))
    saved = None
    if checkpoint is not None:
        run = run | {"steps": steps, "batch": batch, "key": digest(jax.random.key_data(key))}
        run |= {"model": digest(*jax.tree.leaves(weights)), "data": digest(*data)}
        saved = Checkpoint(checkpoint, run, "train")
        found = saved.progress()
        if found is not None:
            losses = np.zeros((*key.shape, found["done"]), dtype)
            state = saved.state(_State(weights, state.optimiser, losses))
    several = loss if isinstance(loss, Sequence) else [loss]
    each = [_Step(rest, one, optimiser, batch) for one in several]
    turns = _turns(key, len(each), steps)
    while (done := state.losses.shape[-1]) < steps:
        length = min(every, steps - done)
        end, parts = (state.weights, state.optimiser), []
        at_once = 1 if len(each) > 1 or _avoids_loops(key) else length
        for first in range(done, done + length, at_once):
            step = each[turns[first]]
            end, part = _advance(step, end, data, key, jnp.array(first), at_once)
            parts.append(part)
        new = np.concatenate(parts, axis=-1)
        state = _State(*end, np.concatenate([state.losses, new], axis=-1))
        if not np.isfinite(new).all():
            raise FloatingPointError(
                f"the loss is not finite within steps {done} to {done + length}: a lower learning "
                "rate may help."
            )
        if saved is not None:
            saved.write({"done": done + length}, state)
        if callback is not None:
            callback(done + length, new)
    return eqx.combine(state.weights, rest), state.losses


def _turns(key: PRNGKeyArray, num: int, steps: int) -> Int[np.ndarray, " steps"]:
    """Whose turn each step is: known outside, since XLA runs convolutions in branches slowly."""
    drawn = np.random.default_rng(np.ravel(jax.random.key_data(key)))
    return drawn.integers(num, size=steps)


def _avoids_loops(key: PRNGKeyArray) -> bool:
    """Whether steps had better be called one by one.

    On CPU XLA computes convolutions inside of compiled loops by plain code, many times slower than
    outside (https://github.com/jax-ml/jax/issues/12868); those of several models at once anyway.
    """
    return jax.default_backend() == "cpu" and not key.ndim


class _State(eqx.Module):
    """What training changes."""

    weights: Any
    optimiser: Any
    losses: Float[np.ndarray, "*seeds done"]


class _Step(eqx.Module):
    """One step of one model."""

    rest: Any
    loss: BatchLoss
    optimiser: optax.GradientTransformation
    batch: int

    def __call__(
        self, weights: Any, state: Any, data: tuple[Array, ...], key: PRNGKeyArray, step: Array
    ) -> tuple[Any, Any, Float[Array, ""]]:
        samples = data[0].shape[0]
        epoch, place = jnp.divmod(step, samples // self.batch)
        key = jax.random.fold_in(key, epoch)
        order = jax.random.permutation(key, samples)
        index = jax.lax.dynamic_slice_in_dim(order, place * self.batch, self.batch)
        batch, key = tuple(array[index] for array in data), jax.random.fold_in(key, place)
        value, slope = eqx.filter_value_and_grad(
            lambda weights: self.loss(eqx.combine(weights, self.rest), batch, key, epoch)
        )(weights)
        change, state = self.optimiser.update(slope, state, weights)
        return eqx.apply_updates(weights, change), state, value


@eqx.filter_jit
def _advance(
    step: _Step,
    start: tuple[Any, Any],
    data: tuple[Array, ...],
    key: PRNGKeyArray,
    done: Int[Array, ""],
    length: int,
) -> tuple[tuple[Any, Any], Float[Array, "*seeds length"]]:
    """Some steps: weights and what the optimiser remembers after them, and losses."""
    of_all = jax.vmap(step, in_axes=(0, 0, None, 0, None)) if key.ndim else step

    def body(carry: tuple[Any, Any], number: Array) -> tuple[tuple[Any, Any], Array]:
        weights, optimiser, value = of_all(*carry, data, key, number)
        return (weights, optimiser), value

    if length == 1:  # without a loop
        end, losses = body(start, done)
        return end, losses[..., None]
    end, losses = jax.lax.scan(body, start, done + jnp.arange(length))
    return end, jnp.moveaxis(losses, 0, -1)
