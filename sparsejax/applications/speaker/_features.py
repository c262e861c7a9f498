"""What the networks see of a recording: logarithms of energies in mel bands."""

import math
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._arrays import as_inexact

RATE = 16_000  # samples a second
HOP = RATE // 100  # samples from one frame to the next
_WINDOW, _FFT = RATE // 40, 512
_LOW, _HIGH, _BINS = 20.0, 7600.0, 80
_PRE_EMPHASIS, _FLOOR = 0.97, 1e-6
_CHUNK = 512  # frames that are computed at once for files, whose lengths all differ


def log_mel(wave: Float[Array, " samples"]) -> Float[Array, "80 frames"]:
    """Logarithms of the energy in 80 mel bands every 10 ms, from windows of 25 ms.

    Pre-emphasis x_t − .97·x_{t−1}, Hamming windows centred on every 160th sample (the recording
    is reflected at its ends), power spectra of 512 samples, triangles on HTK's mel scale from 20
    to 7600 Hz, and ln(energy + 1e-6).

    Parameters
    ----------
    wave
        At 16 kHz, between −1 and 1; more than 256 samples.

    Returns
    -------
    features
        (80, 1 + samples // 160). ``normalised`` takes the channel's mean away.

    Raises
    ------
    ValueError
        If ``wave`` is no vector, or too short.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from sparsejax.applications import speaker
    >>> tone = jnp.sin(2 * jnp.pi * 440 * jnp.arange(16000) / 16000)
    >>> features = speaker.log_mel(tone)
    >>> features.shape, int(jnp.argmax(features[:, 50]))
    ((80, 101), 14)
    """
    wave = as_inexact(wave, "wave")
    _check_wave(wave.shape)
    padded = _padded(wave, jnp)
    starts = HOP * jnp.arange(1 + wave.shape[0] // HOP)
    return _of_frames(padded[starts[:, None] + jnp.arange(_FFT)]).T


def normalised(features: Float[Array, "*batch bins frames"]) -> Float[Array, "*batch bins frames"]:
    """Features less their mean over time, and so less what a microphone multiplies by.

    Parameters
    ----------
    features
        As from ``log_mel``.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from sparsejax.applications import speaker
    >>> speaker.normalised(jnp.array([[1.0, 3.0]])).tolist()
    [[-1.0, 1.0]]
    """
    return features - jnp.mean(features, axis=-1, keepdims=True)


def features_of(wave: Float[np.ndarray, " samples"]) -> Float[np.ndarray, "80 frames"]:
    """``log_mel`` in single precision, in pieces: one program for recordings of all lengths."""
    _check_wave(wave.shape)
    padded = _padded(wave.astype(np.float32), np)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[::HOP]
    found = []
    for start in range(0, len(frames), _CHUNK):
        part = frames[start : start + _CHUNK]
        filled = np.zeros((_CHUNK, _FFT), np.float32)
        filled[: len(part)] = part
        found.append(np.asarray(_of_chunk(filled))[: len(part)])
    return np.concatenate(found).T


def _check_wave(shape: tuple[int, ...]) -> None:
    if len(shape) != 1 or shape[0] <= _FFT // 2:
        raise ValueError(
            f"`wave` must be a vector of more than {_FFT // 2} samples; got shape {shape}."
        )


def _padded(wave, xp):
    """Pre-emphasised, then reflected at both ends by half a spectrum's length."""
    before = xp.concatenate([wave[1:2], wave[:-1]])
    return xp.pad(wave - _PRE_EMPHASIS * before, _FFT // 2, mode="reflect")


def _of_frames(frames: Float[Array, "frames 512"]) -> Float[Array, "frames 80"]:
    window, triangles = (jnp.asarray(array, frames.dtype) for array in _window_and_triangles())
    power = jnp.abs(jnp.fft.rfft(frames * window)) ** 2
    return jnp.log(power @ triangles + _FLOOR)


_of_chunk = jax.jit(_of_frames)


@cache
def _window_and_triangles() -> tuple[np.ndarray, np.ndarray]:
    """The window in the middle of a spectrum's length, and (257, 80) weights of mel bands."""
    window = np.zeros(_FFT)
    start = (_FFT - _WINDOW) // 2
    angle = 2 * np.pi * np.arange(_WINDOW) / _WINDOW
    window[start : start + _WINDOW] = 0.54 - 0.46 * np.cos(angle)
    mel = lambda f: 2595 * math.log10(1 + f / 700)  # noqa: E731
    corners = 700 * (10 ** (np.linspace(mel(_LOW), mel(_HIGH), _BINS + 2) / 2595) - 1)
    frequencies = np.linspace(0, RATE / 2, _FFT // 2 + 1)[:, None]
    widths = np.diff(corners)
    rising = (frequencies - corners[:-2]) / widths[:-1]
    falling = (corners[2:] - frequencies) / widths[1:]
    return window, np.maximum(0, np.minimum(rising, falling))
