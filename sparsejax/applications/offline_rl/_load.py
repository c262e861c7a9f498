"""Data sets from files: D4RL's and Minari's layout of HDF5, and NPZ."""

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .._extra import require
from ._transitions import Transitions

# What files call a field: D4RL's name first.
_NAMES = {
    "observations": ("observations", "obs"),
    "actions": ("actions", "act"),
    "rewards": ("rewards", "rew"),
    "next_observations": ("next_observations", "next_obs"),
    "terminals": ("terminals", "terminations", "dones", "done"),
    "timeouts": ("timeouts", "truncations", "timeout"),
}
_OPTIONAL = ("next_observations", "timeouts")


def load(path: str | os.PathLike[str]) -> Transitions:
    """Read a data set; timeouts count as ends of episodes.

    Parameters
    ----------
    path
        ``.npz``, or HDF5 (``pip install 'sparsejax[offline-rl]'``) as D4RL has it: arrays
        ``observations``, ``actions``, ``rewards``, ``terminals`` and, if there are, ``timeouts``
        and ``next_observations``; without the latter, what is next in the file comes next. Or as
        Minari has it: groups ``episode_0``, … with ``observations`` (one more than actions),
        ``actions``, ``rewards``, ``terminations``, ``truncations``.

    Returns
    -------
    data
        In the precision of the file's observations, but at most JAX's.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is something else, a key is missing, or an array is not numbers, not finite or of
        another length than the others; the message names file and key.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from sparsejax.applications import offline_rl as rl
    >>> file = tempfile.mkdtemp() + "/steps.npz"
    >>> np.savez(file, observations=np.zeros((4, 3)), actions=np.zeros((4, 1)),
    ...          rewards=np.ones(4), terminals=np.eye(4)[3])
    >>> len(rl.load(file))
    4

    Notes
    -----
    Fu et al., D4RL (2020); Younis et al., Minari (2024).
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"{file}: {'is a folder' if file.is_dir() else 'no such file'}.")
    suffix = file.suffix.lower()
    if suffix == ".npz":
        found = _read_npz(file)
    elif suffix in (".hdf5", ".h5"):
        found = _read_hdf5(file)
    else:
        raise ValueError(f"{file}: cannot tell the format from the name; use .hdf5, .h5 or .npz.")
    try:
        return Transitions(**found)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{file}: {error}") from error


def _read_npz(file: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, AttributeError) as error:
        raise ValueError(f"{file}: is no NPZ file of numbers, or a damaged one.") from error
    return _flat(arrays, str(file))


def _read_hdf5(file: Path) -> dict[str, np.ndarray]:
    h5py = require("h5py", "offline-rl")
    try:
        with h5py.File(file, "r") as stored:
            episodes = [name for name in stored if name.startswith("episode_")]
            if not episodes:
                return _flat(_arrays(stored, str(file)), str(file))
            episodes.sort(key=lambda name: int(name.removeprefix("episode_")))
            parts = [_episode(stored[name], f"{file}: {name}") for name in episodes]
    except OSError as error:
        raise ValueError(f"{file}: is no HDF5 file, or a damaged one ({error}).") from error
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _arrays(group: Any, where: str) -> dict[str, np.ndarray]:
    """The fields of a group of HDF5, and nothing else that it may hold."""
    found = {}
    for name in sum(_NAMES.values(), ()):
        if name in group:
            if not hasattr(group[name], "dtype"):
                raise ValueError(f"{where}: {name!r} is a group, not an array: flatten it first.")
            found[name] = group[name][()]
    return found


def _flat(stored: Mapping[str, np.ndarray], where: str) -> dict[str, np.ndarray]:
    """Fields of all episodes, one after the other."""
    fields = _fields(stored, where)
    steps = len(fields["actions"])
    _check_lengths(fields, steps, where)
    ends = _ends(fields)
    if "next_observations" not in fields:
        # The one after the last of an episode is not looked at.
        seen = fields["observations"]
        fields["next_observations"] = np.concatenate([seen[1:], seen[-1:]])
        ends[-1] = True
    return {**_steps(fields), "terminals": ends.astype(fields["observations"].dtype)}


def _episode(group: Any, where: str) -> dict[str, np.ndarray]:
    """Fields of one episode of Minari, which sees one observation more."""
    fields = _fields(_arrays(group, where), where)
    steps = len(fields["actions"])
    seen = fields.pop("observations")
    if len(seen) != steps + 1:
        raise ValueError(
            f"{where}: 'observations' has {len(seen)} rows, 'actions' {steps}; an episode has one "
            "observation more than actions."
        )
    fields |= {"observations": seen[:-1], "next_observations": seen[1:]}
    _check_lengths(fields, steps, where)
    ends = _ends(fields)
    ends[-1] = True
    return {**_steps(fields), "terminals": ends.astype(seen.dtype)}


def _fields(stored: Mapping[str, np.ndarray], where: str) -> dict[str, np.ndarray]:
    fields = {}
    for field, names in _NAMES.items():
        name = next((name for name in names if name in stored), None)
        if name is None:
            if field not in _OPTIONAL:
                there = ", ".join(sorted(stored)) or "none of those needed"
                raise ValueError(f"{where}: there is no key {names[0]!r}; there are {there}.")
            continue
        array = np.asarray(stored[name])
        if array.dtype.kind not in "biuf":
            raise ValueError(f"{where}: {name!r} is no array of numbers ({array.dtype}).")
        if not array.ndim or not len(array):
            raise ValueError(f"{where}: {name!r} is empty.")
        bad = np.argwhere(~np.isfinite(array))
        if len(bad):
            index = tuple(int(i) for i in bad[0])
            raise ValueError(f"{where}: {name!r} has {array[index]} at index {index}.")
        # Columns of one number are often stored as (steps, 1).
        fields[field] = array.reshape(len(array)) if _is_column(field, array) else array
    for field in ("observations", "next_observations", "actions"):
        if field in fields:
            fields[field] = _real(fields[field].reshape(len(fields[field]), -1))
    return fields | {"rewards": _real(fields["rewards"])}


def _is_column(field: str, array: np.ndarray) -> bool:
    return field in ("rewards", "terminals", "timeouts") and array.shape[1:] == (1,)


def _real(array: np.ndarray) -> np.ndarray:
    return array if array.dtype.kind == "f" else array.astype(np.float32)


def _check_lengths(fields: Mapping[str, np.ndarray], steps: int, where: str) -> None:
    for field, array in fields.items():
        if len(array) != steps:
            raise ValueError(f"{where}: {field!r} has {len(array)} rows, 'actions' has {steps}.")


def _ends(fields: Mapping[str, np.ndarray]) -> np.ndarray:
    ends = fields["terminals"].astype(bool)
    return ends | fields["timeouts"].astype(bool) if "timeouts" in fields else ends.copy()


def _steps(fields: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {
        name: fields[name]
        for name in _NAMES
        if name in fields and name not in ("terminals", "timeouts")
    }
