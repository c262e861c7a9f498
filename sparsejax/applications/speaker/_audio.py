"""Recordings from files, and folders of them."""

import math
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.io import wavfile
from scipy.signal import resample_poly

from .._extra import require
from ._features import RATE, features_of

_LEAST_RATE, _LEAST_SECONDS = 8_000, 0.5
_SUFFIXES = (".wav", ".flac", ".ogg")


class Voices(NamedTuple):
    """Recordings of several speakers.

    Attributes
    ----------
    features
        Of each recording, (80, frames) as from ``log_mel``.
    speakers
        (recordings,): the place in ``names`` of who speaks.
    names
        Of the speakers.
    files
        Where each recording is from.
    """

    features: tuple[Float[np.ndarray, "80 frames"], ...]
    speakers: Int[np.ndarray, " recordings"]
    names: tuple[str, ...]
    files: tuple[str, ...]

    def of_speakers(self, chosen: Int[np.ndarray, " speakers"]) -> "Voices":
        """The recordings of some speakers, who keep their order here."""
        place = {int(old): new for new, old in enumerate(chosen)}
        kept = [i for i, speaker in enumerate(self.speakers.tolist()) if speaker in place]
        return Voices(
            tuple(self.features[i] for i in kept),
            np.array([place[int(self.speakers[i])] for i in kept], np.int32),
            tuple(self.names[i] for i in map(int, chosen)),
            tuple(self.files[i] for i in kept),
        )


def read_wave(path: str | os.PathLike[str]) -> Float[np.ndarray, " samples"]:
    """A recording at 16 kHz, between −1 and 1; several channels are averaged.

    Parameters
    ----------
    path
        A WAV file (integers or floating point), or with the extra ``speaker`` a FLAC or Ogg
        file. Other rates than 16 kHz are resampled; below it the upper bands stay empty.

    Returns
    -------
    wave
        In single precision.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, silent, shorter than half a second, has samples that are not finite, or
        is sampled at less than 8 kHz; the message names the file.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from pathlib import Path
    >>> from scipy.io import wavfile
    >>> from sparsejax.applications import speaker
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "tone.wav")
    ...     wavfile.write(file, 8000, np.sin(np.arange(8000)).astype(np.float32))
    ...     speaker.read_wave(file).shape
    (16000,)
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file.")
    rate, samples = _read_wav(path) if path.suffix.lower() == ".wav" else _read_other(path)
    if rate < _LEAST_RATE:
        raise ValueError(f"{path}: sampled at {rate} Hz; at least {_LEAST_RATE} are needed.")
    if samples.shape[0] < _LEAST_SECONDS * rate:
        raise ValueError(
            f"{path}: {samples.shape[0] / rate:.2f} seconds; at least {_LEAST_SECONDS} are needed."
        )
    wave = samples.mean(axis=1) if samples.ndim == 2 else samples
    if not np.isfinite(wave).all():
        raise ValueError(f"{path}: has samples that are not finite.")
    if not wave.any():
        raise ValueError(f"{path}: silent.")
    return resampled(wave, rate)


def load_voices(folder: str | os.PathLike[str]) -> Voices:
    """The recordings of a folder with a folder for each speaker.

    Parameters
    ----------
    folder
        Its folders are the speakers; all files in them, at any depth, that end in ``.wav``,
        ``.flac`` or ``.ogg`` are theirs.

    Returns
    -------
    voices
        In the order of names. An hour takes 115 MB.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If it has no folders, one of them no recordings, or as of ``read_wave``; the message names
        the folder or file.

    Examples
    --------
    >>> from sparsejax.applications import speaker
    >>> speaker.load_voices("/nowhere")
    Traceback (most recent call last):
        ...
    FileNotFoundError: /nowhere: no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder.")
    people = sorted(path for path in folder.iterdir() if path.is_dir())
    if not people:
        raise ValueError(f"{folder}: no folders; each speaker's recordings need one of their own.")
    features, speakers, files = [], [], []
    for number, person in enumerate(people):
        found = sorted(path for path in person.rglob("*") if path.suffix.lower() in _SUFFIXES)
        if not found:
            raise ValueError(f"{person}: no recordings ({', '.join(_SUFFIXES)}).")
        features += [features_of(read_wave(path)) for path in found]
        speakers += [number] * len(found)
        files += map(str, found)
    names = tuple(person.name for person in people)
    return Voices(tuple(features), np.array(speakers, np.int32), names, tuple(files))


def resampled(wave: Float[np.ndarray, " samples"], rate: int) -> Float[np.ndarray, " more"]:
    """A recording at 16 kHz.

    Parameters
    ----------
    wave
        At any rate.
    rate
        Its samples a second.

    Returns
    -------
    wave
        In single precision.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsejax.applications import speaker
    >>> speaker.resampled(np.ones(44100), 44100).shape
    (16000,)
    """
    common = math.gcd(rate, RATE)
    wave = wave if rate == RATE else resample_poly(wave, RATE // common, rate // common)
    return wave.astype(np.float32)


def voices_of(waves: Mapping[str, Sequence[Float[np.ndarray, " samples"]]]) -> Voices:
    """Recordings that are in memory.

    Parameters
    ----------
    waves
        Of each speaker, at 16 kHz.

    Returns
    -------
    voices

    Raises
    ------
    ValueError
        If a recording is no vector, or too short.

    Examples
    --------
    >>> from sparsejax.applications import speaker
    >>> voices = speaker.voices_of({"Ada": speaker.formant_voice(0, 2, seconds=1.0)})
    >>> voices.names, [x.shape for x in voices.features]
    (('Ada',), [(80, 101), (80, 101)])
    """
    counts = [len(own) for own in waves.values()]
    return Voices(
        tuple(features_of(np.asarray(wave)) for own in waves.values() for wave in own),
        np.repeat(np.arange(len(waves), dtype=np.int32), counts),
        tuple(waves),
        tuple(f"{name} {i}" for name, own in waves.items() for i in range(len(own))),
    )


def _read_wav(path: Path) -> tuple[int, np.ndarray]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wavfile.WavFileWarning)  # parts that are no sound
        warnings.filterwarnings("error", "Reached EOF", wavfile.WavFileWarning)
        try:
            rate, samples = wavfile.read(path)
        except Exception as error:  # it raises what NumPy and struct happen to
            raise ValueError(f"{path}: damaged, or not a WAV file ({error}).") from error
    if samples.dtype == np.uint8:
        samples = (samples.astype(np.float32) - 128) / 128
    elif np.issubdtype(samples.dtype, np.integer):
        samples = samples / -float(np.iinfo(samples.dtype).min)
    return rate, samples


def _read_other(path: Path) -> tuple[int, np.ndarray]:
    soundfile = require("soundfile", "speaker")
    try:
        samples, rate = soundfile.read(path)
    except soundfile.LibsndfileError as error:
        raise ValueError(f"{path}: damaged, or of an unknown format ({error}).") from error
    return rate, samples
