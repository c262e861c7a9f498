"""A trained network in a file, and the voices it knows in another."""

import dataclasses
import json
import os
import zipfile
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float

from .._files import digest, write_atomically
from ._ds_tdnn import DSConfig
from ._ecapa import ECAPAConfig
from ._make import Config, Network, make

_KINDS = {"ds-tdnn": DSConfig, "ecapa": ECAPAConfig}


class Recogniser(NamedTuple):
    """A network that has been trained, and from which score on a voice is the same.

    Attributes
    ----------
    config
        Its sizes.
    model, state
        As from ``train``.
    threshold
        Of ``score``, where both errors were equal on speakers it was not trained on; None if
        there were none.
    """

    config: Config
    model: Network
    state: eqx.nn.State
    threshold: float | None = None

    def digest(self) -> str:
        """A short text that differs if any weight does."""
        return digest(*jax.tree.leaves(eqx.filter((self.model, self.state), eqx.is_array)))


def save(path: str | os.PathLike[str], recogniser: Recogniser) -> None:
    """Write a line of JSON, the sizes and threshold, and then the weights.

    Parameters
    ----------
    path
        A file; one that is there is replaced.
    recogniser
        As ``load`` will return it.

    Examples
    --------
    >>> import jax, numpy as np, tempfile
    >>> from pathlib import Path
    >>> from sparsejax.applications import speaker
    >>> config = speaker.ECAPAConfig(
    ...     8, scale=2, dilations=(2,), aggregate=8, attention=2, squeeze=2, embedding=4
    ... )
    >>> one = speaker.Recogniser(config, *speaker.make(config, jax.random.key(0)), 0.3)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     speaker.save(Path(folder, "model.eqx"), one)
    ...     again = speaker.load(Path(folder, "model.eqx"))
    ...     speaker.save_prints(Path(folder, "voices.npz"), one, {"Ada": np.ones((2, 4))})
    ...     prints = speaker.load_prints(Path(folder, "voices.npz"), again)
    >>> again.threshold, again.digest() == one.digest(), sorted(prints)
    (0.3, True, ['Ada'])
    """
    kind = next(name for name, sort in _KINDS.items() if isinstance(recogniser.config, sort))
    config = dataclasses.asdict(recogniser.config)
    head = {"network": kind, "config": config, "threshold": recogniser.threshold}

    def fill(scratch: Path) -> None:
        with scratch.open("wb") as stream:
            stream.write(json.dumps(head).encode() + b"\n")
            eqx.tree_serialise_leaves(stream, (recogniser.model, recogniser.state))

    write_atomically(Path(path), fill)


def load(path: str | os.PathLike[str]) -> Recogniser:
    """What ``save`` has written.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    recogniser

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If it is something else, or truncated; the message names it.

    Examples
    --------
    See ``save``.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file.")
    with path.open("rb") as stream:
        try:
            head = json.loads(stream.readline())
            sizes = {
                name: tuple(size) if isinstance(size, list) else size
                for name, size in head["config"].items()
            }
            config = _KINDS[head["network"]](**sizes)
            like = eqx.filter_eval_shape(make, config, jax.random.key(0))
            model, state = eqx.tree_deserialise_leaves(stream, like)
        except (ValueError, KeyError, TypeError, RuntimeError, EOFError) as error:
            raise ValueError(
                f"{path}: damaged, or not a network that `save` has written."
            ) from error
    return Recogniser(config, model, state, head["threshold"])


def save_prints(
    path: str | os.PathLike[str],
    recogniser: Recogniser,
    prints: dict[str, Float[np.ndarray, "2 embedding"]],
) -> None:
    """Write the voices that are known, an NPZ file.

    Parameters
    ----------
    path
        A file; one that is there is replaced.
    recogniser
        Whose prints they are.
    prints
        Of each speaker, the mean of ``voiceprints`` over recordings.

    Examples
    --------
    See ``save``.
    """
    arrays = {f"print {name}": array for name, array in prints.items()}

    def fill(scratch: Path) -> None:
        with scratch.open("wb") as stream:
            np.savez(stream, allow_pickle=False, network=recogniser.digest(), **arrays)

    write_atomically(Path(path), fill)


def load_prints(
    path: str | os.PathLike[str], recogniser: Recogniser
) -> dict[str, Float[np.ndarray, "2 embedding"]]:
    """What ``save_prints`` has written.

    Parameters
    ----------
    path
        The file.
    recogniser
        The same as then.

    Returns
    -------
    prints

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If it is something else, or of another network; the message names it.

    Examples
    --------
    See ``save``.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file.")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            network = str(arrays["network"])
            prints = {
                name.removeprefix("print "): arrays[name]
                for name in arrays.files
                if name.startswith("print ")
            }
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: damaged, or not voices that `enrol` has written.") from error
    if network != recogniser.digest():
        raise ValueError(f"{path}: holds voices as another network hears them; enrol them again.")
    return prints
