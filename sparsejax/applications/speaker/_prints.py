"""Recordings as a few numbers that are compared by cosines."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ._features import normalised
from ._margin import unit
from ._training import precision_of, wrapped

_STEP = 50  # frames by which lengths are rounded up: a program for each
_PIECES, _PIECE = 5, 300
_ROWS = 8  # recordings computed at once


def voiceprints(
    model: Callable[..., Any],
    state: eqx.nn.State | None,
    features: Sequence[Float[np.ndarray, "bins frames"]],
) -> Float[np.ndarray, "recordings 2 embedding"]:
    """Embeddings of recordings: of the whole one, and the mean of five pieces of three seconds.

    Each embedding is brought to length one (before the mean), so that ``score`` of two recordings
    is the mean of their cosine and of the 25 between pieces. The pieces lie evenly from start to
    end; what is shorter is repeated, and a whole recording is repeated up to a multiple of half a
    second, so that few programs are compiled.

    Parameters
    ----------
    model, state
        As from ``train``.
    features
        As in ``Voices``.

    Returns
    -------
    prints
        Two rows a recording.

    Examples
    --------
    >>> from sparsejax.applications import speaker
    >>> voices = speaker.voices_of({"Ada": speaker.formant_voice(0, 2, seconds=1.0)})
    >>> model = lambda features, state: (features[:4, 7], state)  # in the place of a network
    >>> speaker.voiceprints(model, None, voices.features).shape
    (2, 2, 4)

    Notes
    -----
    Scoring as in Desplanques et al. (2020) and Li, Gan & Lin (2024), without normalisation by a
    cohort.
    """
    wholes = [wrapped(x, -(-x.shape[1] // _STEP) * _STEP) for x in features]
    found = embeddings(model, state, wholes)
    pieces = embeddings(model, state, [piece for x in features for piece in _pieces(x)])
    means = pieces.reshape(len(features), _PIECES, -1).mean(axis=1)
    return np.stack([found, means], axis=1)


def embeddings(
    model: Callable[..., Any],
    state: eqx.nn.State | None,
    features: Sequence[Float[np.ndarray, "bins frames"]],
) -> Float[np.ndarray, "recordings embedding"]:
    """Embeddings of length one, of exactly these frames; a program is compiled for each length.

    Parameters
    ----------
    model, state
        As from ``train``.
    features
        As in ``Voices``; normalised here.

    Raises
    ------
    ValueError
        If there are none.

    Examples
    --------
    See ``voiceprints``.
    """
    if not features:
        raise ValueError("`features` must have at least one recording.")
    lengths = np.array([x.shape[1] for x in features])
    found: dict[int, np.ndarray] = {}
    for length in np.unique(lengths):
        places = np.flatnonzero(lengths == length).tolist()
        for start in range(0, len(places), _ROWS):
            rows = places[start : start + _ROWS]
            filled = jnp.stack([features[i] for i in (rows * _ROWS)[:_ROWS]])
            found |= zip(rows, np.asarray(_embedded(model, state, filled)), strict=False)
    return np.stack([found[i] for i in range(len(features))])


def score(
    enrolled: Float[np.ndarray, "*one 2 embedding"], tested: Float[np.ndarray, "*other 2 embedding"]
) -> Float[np.ndarray, "..."]:
    """How alike voices are, at most 1: the mean of both rows' cosines.

    Parameters
    ----------
    enrolled, tested
        As from ``voiceprints``; or a mean of several recordings of one speaker, whose score is
        the mean of theirs.

    Returns
    -------
    scores
        Of each of the one with each of the other.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsejax.applications import speaker
    >>> one, other = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[1.0, 0.0], [1.0, 0.0]])
    >>> float(speaker.score(one, other))
    0.5
    """
    return np.tensordot(enrolled, tested, ((-2, -1), (-2, -1))) / 2


def trials(
    speakers: Int[np.ndarray, " recordings"],
) -> tuple[Int[np.ndarray, " trials"], Int[np.ndarray, " trials"], Bool[np.ndarray, " trials"]]:
    """All pairs of different recordings, and whether they are of one speaker.

    Parameters
    ----------
    speakers
        Of each recording.

    Returns
    -------
    first, second, same

    Examples
    --------
    >>> import numpy as np
    >>> from sparsejax.applications import speaker
    >>> first, second, same = speaker.trials(np.array([0, 0, 1]))
    >>> same.tolist()
    [True, False, False]
    """
    first, second = np.triu_indices(len(speakers), 1)
    return first, second, speakers[first] == speakers[second]


@eqx.filter_jit
def _embedded(
    model: Callable[..., Any],
    state: eqx.nn.State | None,
    features: Float[Array, "rows bins frames"],
) -> Float[Array, "rows embedding"]:
    call = jax.vmap(lambda x: eqx.nn.inference_mode(model)(normalised(x), state)[0])
    return unit(call(features.astype(precision_of(model))))


def _pieces(features: Float[np.ndarray, "bins frames"]) -> list[Float[np.ndarray, "bins 300"]]:
    features = wrapped(features, max(_PIECE, features.shape[1]))
    starts = np.linspace(0, features.shape[1] - _PIECE, _PIECES).astype(int)
    return [features[:, start : start + _PIECE] for start in starts]
