"""Training on recordings by the angular margin, and with penalties on the filters."""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ... import nn, penalties
from ..._checks import check_integer, check_nonnegative
from .._norms import copied_state, fitted_state
from .._training import Callback, train_on_batches
from ._audio import Voices
from ._augment import crop, spec_augment
from ._features import normalised
from ._make import Network, filters
from ._margin import AAMSoftmax

_FITTING = 32  # recordings in a batch of those that norms are averaged over at the end


class Trained(NamedTuple):
    """A trained network.

    Attributes
    ----------
    model, state
        As they were given, with other weights and with the norms' averages over the recordings.
    losses
        (steps,) of every batch.
    """

    model: Network
    state: eqx.nn.State
    losses: Float[np.ndarray, " steps"]


def train(
    model: Network,
    state: eqx.nn.State,
    voices: Voices,
    *,
    epochs: int,
    batch: int,
    key: PRNGKeyArray,
    crop_frames: int | Sequence[int] = 200,
    sparse_epochs: int = 20,
    margin: float = 0.2,
    scale: float = 30.0,
    learning_rate: float = 1e-3,
    weight_decay: float = 2e-5,
    penalty: penalties.AbstractPenalty | None = None,
    every: int = 50,
    checkpoint: str | os.PathLike[str] | None = None,
    callback: Callback | None = None,
) -> Trained:
    """Teach a network to tell the speakers of some recordings apart.

    In each epoch every recording gives one piece, from a place drawn anew, of which some bins and
    frames are hidden; Adam lowers the loss of ``AAMSoftmax``. In the first epochs
    the sparse rule thins out the filters.

    Parameters
    ----------
    model, state
        As from ``make``.
    voices
        Of at least two speakers. Recordings shorter than a piece are repeated.
    epochs, batch
        Passes over the recordings, and recordings in a batch; what does not fill the last one
        waits for another epoch.
    key
        Of all that is drawn.
    crop_frames
        Length of a piece, 10 ms each; best ``DSConfig.frames``. Of several lengths one is drawn
        for each batch, so that shorter recordings than that are told apart, too.
    sparse_epochs
        For how many epochs filters are thinned out, with the probabilities of the model's config.
    margin, scale
        As of ``AAMSoftmax``.
    learning_rate
        Adam's, times .97 after each epoch.
    weight_decay
        How much of each weight is added to its gradient.
    penalty
        Of this library, on ``filters``, by its proximal operator after each step: ``L1`` makes
        entries zero, ``RowL2`` the filter of a channel or a whole expert.
    every
        How many steps go by from one checkpoint and call of ``callback`` to the next.
    checkpoint
        A file. If the process dies, the same call goes on after what it holds, and ends in the
        same weights. Delete it when the result is safe.
    callback
        Called with the number of steps done and the losses of the last ones: to show progress.

    Returns
    -------
    trained

    Raises
    ------
    ValueError
        If there are fewer than two speakers, sizes do not fit together, the model has no filters
        to penalise, or ``checkpoint`` holds a run with other arguments.
    FloatingPointError
        If a loss is not finite.

    Examples
    --------
    >>> import jax
    >>> from sparsejax.applications import speaker
    >>> voices = speaker.voices_of({
    ...     name: speaker.formant_voice(seed, 5, seconds=1.0)
    ...     for seed, name in enumerate(["Ada", "Ben", "Cy"])
    ... })
    >>> config = speaker.DSConfig(
    ...     8, (2,), (2,), (0.5,), frames=20, aggregate=8, attention=2, squeeze=2, embedding=4
    ... )
    >>> model, state = speaker.make(config, jax.random.key(0))
    >>> trained = speaker.train(
    ...     model, state, voices, epochs=4, batch=8, key=jax.random.key(1), crop_frames=40,
    ...     learning_rate=1e-2, every=2,
    ... )
    >>> trained.losses.shape
    (4,)

    Notes
    -----
    The recipe of Li, Gan & Lin, DS-TDNN (2024), without the noises and echoes it adds.
    """
    for name, size in (("epochs", epochs), ("batch", batch)):
        check_integer(name, size)
    crops = _lengths(crop_frames)
    check_integer("sparse_epochs", sparse_epochs, least=0)
    if len(voices.names) < 2:
        raise ValueError(f"`voices` must have at least two speakers; got {len(voices.names)}.")
    if batch > len(voices.features):
        raise ValueError(
            f"`batch` must be at most the {len(voices.features)} recordings; got {batch}."
        )
    check_nonnegative("weight_decay", jnp.asarray(weight_decay), ndim=0, finite=True)
    if penalty is not None and not filters(model):
        raise ValueError("`penalty` is one on filters, of which `model` has none.")
    data = _stacked(voices, max(crops), precision_of(model))
    class_key, key = jax.random.split(key)
    embedding = model.head.linear.out_features
    assert isinstance(embedding, int)
    classes = AAMSoftmax(len(voices.names), embedding, class_key, margin=margin, scale=scale)
    per_epoch = len(voices.features) // batch
    (model, _), losses = train_on_batches(
        (model, classes),
        data,
        [_Loss(state, jnp.array(sparse_epochs), size) for size in crops],
        _adam(learning_rate, weight_decay, per_epoch, penalty),
        steps=epochs * per_epoch,
        batch=batch,
        key=key,
        every=every,
        run={
            **{"crop_frames": crops, "sparse_epochs": sparse_epochs, "margin": margin},
            **{"scale": scale, "learning_rate": learning_rate, "weight_decay": weight_decay},
            "penalty": str(penalty),
        },
        checkpoint=checkpoint,
        callback=callback,
    )
    middle = sorted(crops)[len(crops) // 2]
    pieces = _pieces(data, jax.random.fold_in(key, epochs), middle)
    state = fitted_state(model, state, pieces, min(_FITTING, len(pieces)))
    return Trained(model, state, losses)


def _lengths(crop_frames: int | Sequence[int]) -> list[int]:
    """Of the pieces."""
    crops = [*crop_frames] if isinstance(crop_frames, Sequence) else [crop_frames]
    if not crops:
        raise ValueError("`crop_frames` must have at least one length.")
    for size in crops:
        check_integer("crop_frames", size)
    return [*map(int, crops)]


class _Loss(eqx.Module):
    """Of pieces of some recordings."""

    state: eqx.nn.State
    sparse_epochs: Int[Array, ""]
    crop_frames: int = eqx.field(static=True)

    def __call__(
        self,
        model: tuple[Network, AAMSoftmax],
        batch: tuple[Array, ...],
        key: PRNGKeyArray,
        epoch: Array,
    ) -> Float[Array, ""]:
        network, classes = model
        labels = batch[2]
        piece_key, hide_key, thin_key = jax.random.split(key, 3)
        pieces = _pieces(batch, piece_key, self.crop_frames)
        pieces = jax.vmap(spec_augment)(pieces, jax.random.split(hide_key, len(labels)))
        call = jax.vmap(network, (0, None, 0, None), (0, None), axis_name="batch")
        keys = jax.random.split(thin_key, len(labels))
        embeddings, _ = call(pieces, copied_state(self.state), keys, epoch < self.sparse_epochs)
        return jnp.mean(jax.vmap(classes)(embeddings, labels))


def _adam(
    learning_rate: float,
    weight_decay: float,
    per_epoch: int,
    penalty: penalties.AbstractPenalty | None,
) -> optax.GradientTransformation:
    rate = optax.exponential_decay(learning_rate, per_epoch, 0.97, staircase=True)
    steps: list[Any] = [optax.add_decayed_weights(weight_decay), optax.adam(rate)]
    if penalty is not None:
        steps.append(nn.prox_updates(penalty, rate, lambda weights: filters(weights[0])))
    return optax.chain(*steps)


def precision_of(model: Any) -> Any:
    """That of a network's weights; single if it has none."""
    return jnp.result_type(
        *jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array)) or [np.float32]
    )


def _stacked(voices: Voices, least: int, precision: Any) -> tuple[Array, Array, Array]:
    """(recordings, 80, frames) features padded with zeros, lengths, and speakers."""
    features = [wrapped(x, max(least, x.shape[1])) for x in voices.features]
    lengths = np.array([x.shape[1] for x in features], np.int32)
    padded = np.zeros((len(features), features[0].shape[0], lengths.max()), np.float32)
    for row, x in zip(padded, features, strict=True):
        row[:, : x.shape[1]] = x
    features_of_all = jnp.asarray(padded, precision)
    return features_of_all, jnp.asarray(lengths), jnp.asarray(voices.speakers, jnp.int32)


def wrapped(features: Float[np.ndarray, "80 frames"], size: int) -> Float[np.ndarray, "80 size"]:
    """As many frames, from the start again after the last; the filters see time as a circle."""
    return features.take(np.arange(size) % features.shape[1], axis=1)


def _pieces(data: Sequence[Array], key: PRNGKeyArray, size: int) -> Float[Array, "rows 80 size"]:
    features, lengths = data[:2]
    keys = jax.random.split(key, len(lengths))
    return normalised(jax.vmap(crop, (0, 0, None, 0))(features, lengths, size, keys))
