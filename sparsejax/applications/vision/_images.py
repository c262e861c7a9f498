"""Labelled images from files that others distribute."""

import gzip
import os
import struct
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Float, Int

Split = Literal["train", "test"]
_PIXELS = 3 * 32 * 32
_CIFAR = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}
_FASHION = {"train": "train", "test": "t10k"}


class LabelledImages(NamedTuple):
    """Images and what they show.

    Attributes
    ----------
    images
        (samples, channels, height, width), in single precision between 0 and 1.
    labels
        (samples,) integers from 0.
    """

    images: Float[np.ndarray, "samples channels height width"]
    labels: Int[np.ndarray, " samples"]


def load_fashion_mnist(folder: str | os.PathLike[str], split: Split = "train") -> LabelledImages:
    """Fashion-MNIST from its four ``.gz`` files: 60000 + 10000 grey images of 28×28, 10 classes.

    Debian's package ``dataset-fashion-mnist`` puts them in ``/usr/share/datasets/fashion-mnist``.

    Parameters
    ----------
    folder
        Where ``train-images-idx3-ubyte.gz`` and the others are.
    split
        ``"train"`` or ``"test"``.

    Returns
    -------
    images

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If it is truncated or not in the format; the message names the file.

    Examples
    --------
    >>> from sparsejax.applications import vision
    >>> vision.load_fashion_mnist("/nowhere")
    Traceback (most recent call last):
        ...
    FileNotFoundError: /nowhere/train-images-idx3-ubyte.gz: no such file; ...

    Notes
    -----
    Xiao, Rasul & Vollgraf, Fashion-MNIST (2017). MIT licence.
    """
    start = _FASHION[_checked_split(split)]
    images = _idx(Path(folder) / f"{start}-images-idx3-ubyte.gz", 3)
    labels = _idx(Path(folder) / f"{start}-labels-idx1-ubyte.gz", 1)
    if len(images) != len(labels):
        raise ValueError(f"{folder}: {len(images)} images, but {len(labels)} labels.")
    return LabelledImages(images[:, None] / np.float32(255), labels.astype(np.int32))


def load_cifar10(folder: str | os.PathLike[str], split: Split = "train") -> LabelledImages:
    """CIFAR-10 from its binary version: 50000 + 10000 colour images of 32×32, 10 classes.

    Parameters
    ----------
    folder
        ``cifar-10-batches-bin``, where ``data_batch_1.bin`` and the others are. (The "Python
        version" consists of pickles, which run whatever code they hold: it is not read.)
    split
        ``"train"`` or ``"test"``.

    Returns
    -------
    images

    Raises
    ------
    FileNotFoundError, ValueError
        As of ``load_fashion_mnist``.

    Examples
    --------
    >>> from sparsejax.applications import vision
    >>> vision.load_cifar10("/nowhere", "test")
    Traceback (most recent call last):
        ...
    FileNotFoundError: /nowhere/test_batch.bin: no such file; ...

    Notes
    -----
    Krizhevsky, Learning multiple layers of features from tiny images (2009).
    """
    parts = [_batch(Path(folder) / name) for name in _CIFAR[_checked_split(split)]]
    rows = np.concatenate(parts)
    images = rows[:, 1:].reshape(-1, 3, 32, 32) / np.float32(255)
    return LabelledImages(images, rows[:, 0].astype(np.int32))


def _checked_split(split: str) -> str:
    if split not in get_args(Split):
        raise ValueError(f'`split` must be "train" or "test"; got {split!r}.')
    return split


def _missing(path: Path) -> FileNotFoundError:
    there = sorted(file.name for file in path.parent.iterdir()) if path.parent.is_dir() else []
    found = f"the folder has {', '.join(there[:6])}" if there else "the folder is empty or missing"
    return FileNotFoundError(f"{path}: no such file; {found}.")


def _idx(path: Path, axes: int) -> np.ndarray:
    """An array of bytes in the IDX format."""
    if not path.exists():
        raise _missing(path)
    try:
        with gzip.open(path) as file:
            data = file.read()
    except (EOFError, gzip.BadGzipFile) as error:
        raise ValueError(f"{path}: truncated, or not a gzip file ({error}).") from error
    start = 4 + 4 * axes
    if len(data) < start or data[:4] != bytes([0, 0, 8, axes]):
        raise ValueError(f"{path}: not an IDX file of bytes with {axes} axes.")
    shape = struct.unpack(f">{axes}I", data[4:start])
    if len(data) - start != np.prod(shape):
        raise ValueError(f"{path}: says {shape}, but has {len(data) - start} entries.")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def _batch(path: Path) -> np.ndarray:
    """Rows of a label and three planes of pixels."""
    if not path.exists():
        raise _missing(path)
    data = np.fromfile(path, np.uint8)
    if not data.size or data.size % (1 + _PIXELS):
        raise ValueError(f"{path}: {data.size} bytes are no multiple of {1 + _PIXELS}: truncated?")
    rows = data.reshape(-1, 1 + _PIXELS)
    if rows[:, 0].max() > 9:
        raise ValueError(f"{path}: has labels beyond 9: not CIFAR-10's binary version.")
    return rows
