"""Resemblyzer's encoder: trained by others, on other features, and so an independent baseline."""

import os
import zipfile
from functools import cache
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.signal import stft

from ._features import HOP, RATE
from ._margin import unit

_BINS, _WIDTH, _LAYERS = 40, 256, 3
_WINDOW = RATE // 40
_PIECE = 160  # frames of a piece
_BETWEEN = round(RATE / 1.3 / HOP)  # from one piece to the next
_COVERED = 0.75  # of a piece at the end, or it is left out
_LOUDNESS = -30.0  # dB of full scale, to which what is quieter is raised


class Resemblyzer(eqx.Module):
    """Three LSTMs of 256 over pieces of 1.6 seconds, a linear layer and ReLU: 256 numbers.

    ``load_resemblyzer`` makes it.

    Attributes
    ----------
    inputs, hidden, biases
        Of each LSTM: (1024, …) of what goes in and of what it remembers, in the order input,
        forget, cell, output; and (1024,).
    weight, bias
        Of the linear layer.

    Notes
    -----
    Wan et al., Generalized end-to-end loss for speaker verification (2018); weights of the package
    Resemblyzer (Apache-2.0). Its removal of silence by WebRTC's detector is left out.
    """

    inputs: list[Float[Array, "gates inputs"]]
    hidden: list[Float[Array, "gates width"]]
    biases: list[Float[Array, " gates"]]
    weight: Float[Array, "width width"]
    bias: Float[Array, " width"]

    def __call__(self, features: Float[Array, "frames 40"]) -> Float[Array, " embedding"]:
        """Of one piece, of length one."""
        h = features
        for inputs, hidden, bias in zip(self.inputs, self.hidden, self.biases, strict=True):
            h = _lstm(inputs, hidden, bias, h)
        return unit(jax.nn.relu(self.weight @ h[-1] + self.bias))

    def embed(self, wave: Float[np.ndarray, " samples"]) -> Float[np.ndarray, " embedding"]:
        """Of a recording at 16 kHz: the mean over its pieces, of length one again."""
        pieces, count = _filled(_pieces(_features(wave)))
        return np.asarray(unit(_mean_embedding(self, jnp.asarray(pieces), jnp.array(count))))


def load_resemblyzer(path: str | os.PathLike[str]) -> Resemblyzer:
    """Read the weights of Resemblyzer 0.1.4, as arrays under PyTorch's names.

    Parameters
    ----------
    path
        An NPZ file with ``lstm.weight_ih_l0`` to ``lstm.bias_hh_l2``, ``linear.weight`` and
        ``linear.bias``, in any precision.

    Returns
    -------
    encoder
        In single precision.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, or an array is missing or of another shape; the message names both.

    Examples
    --------
    >>> from sparsejax.applications import speaker
    >>> speaker.load_resemblyzer("/nowhere.npz")
    Traceback (most recent call last):
        ...
    FileNotFoundError: /nowhere.npz: no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file.")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name].astype(np.float32) for name in file.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: damaged, or not an NPZ file.") from error

    def array(name: str, *shape: int) -> Array:
        if name not in arrays:
            raise ValueError(f"{path}: has no array {name!r}.")
        if arrays[name].shape != shape:
            raise ValueError(f"{path}: {name!r} is {arrays[name].shape}; must be {shape}.")
        return jnp.asarray(arrays[name])

    gates, layers = 4 * _WIDTH, range(_LAYERS)
    return Resemblyzer(
        [array(f"lstm.weight_ih_l{i}", gates, _WIDTH if i else _BINS) for i in layers],
        [array(f"lstm.weight_hh_l{i}", gates, _WIDTH) for i in layers],
        [array(f"lstm.bias_ih_l{i}", gates) + array(f"lstm.bias_hh_l{i}", gates) for i in layers],
        array("linear.weight", _WIDTH, _WIDTH),
        array("linear.bias", _WIDTH),
    )


def _lstm(inputs: Array, hidden: Array, bias: Array, x: Array) -> Array:
    """All states of one layer."""

    def step(carry: tuple[Array, Array], entering: Array) -> tuple[tuple[Array, Array], Array]:
        h, cell = carry
        i, f, g, o = jnp.split(entering + hidden @ h, 4)
        cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(cell)
        return (h, cell), h

    zero = jnp.zeros(hidden.shape[1], x.dtype)
    return jax.lax.scan(step, (zero, zero), x @ inputs.T + bias)[1]


@eqx.filter_jit
def _mean_embedding(
    encoder: Resemblyzer, pieces: Float[Array, "pieces 160 40"], count: Array
) -> Float[Array, " embedding"]:
    found = jax.vmap(encoder)(pieces)
    return jnp.sum(jnp.where(jnp.arange(len(pieces))[:, None] < count, found, 0), axis=0) / count


def _filled(pieces: np.ndarray) -> tuple[np.ndarray, int]:
    """As many pieces as a power of two, and how many of them are some: few programs."""
    size = 1 << (len(pieces) - 1).bit_length()
    filled = np.zeros((size, *pieces.shape[1:]), pieces.dtype)
    filled[: len(pieces)] = pieces
    return filled, len(pieces)


def _pieces(features: np.ndarray) -> np.ndarray:
    """(pieces, 160, 40); zeros fill the last one."""
    total = max(-(-(len(features) - _PIECE) // _BETWEEN), 0) + 1
    padded = np.zeros(((total - 1) * _BETWEEN + _PIECE, _BINS), np.float32)
    padded[: len(features)] = features[: len(padded)]
    there = len(features) - _BETWEEN * (total - 1)
    if total > 1 and there < _COVERED * _PIECE:
        total -= 1
    return np.stack([padded[_BETWEEN * i :][:_PIECE] for i in range(total)])


def _features(wave: np.ndarray) -> np.ndarray:
    """(frames, 40): energies in mel bands, not their logarithms."""
    louder = 10 ** (_LOUDNESS / 20) / np.sqrt(np.mean(wave**2))
    wave = wave * max(louder, 1.0)
    _, _, spectra = stft(wave, RATE, "hann", _WINDOW, _WINDOW - HOP, boundary="even", padded=False)
    power = np.abs(spectra * _WINDOW / 2) ** 2  # SciPy divides by the window's sum
    return (_triangles() @ power).T.astype(np.float32)


@cache
def _triangles() -> np.ndarray:
    """(40, 201): Slaney's mel scale, linear to 1 kHz and logarithmic above, areas of two."""
    top = 15 + 27 * np.log(RATE / 2 / 1000) / np.log(6.4)
    mel = np.linspace(0, top, _BINS + 2)
    corners = np.where(mel < 15, mel * 200 / 3, 1000 * np.exp(np.log(6.4) / 27 * (mel - 15)))
    frequencies = np.linspace(0, RATE / 2, _WINDOW // 2 + 1)
    rising = (frequencies - corners[:-2, None]) / np.diff(corners)[:-1, None]
    falling = (corners[2:, None] - frequencies) / np.diff(corners)[1:, None]
    areas = 2 / (corners[2:] - corners[:-2])
    return np.maximum(0, np.minimum(rising, falling)) * areas[:, None]
