"""A file that holds how far a run is, and what identifies the run."""

import json
import os
from pathlib import Path
from typing import Any

import equinox as eqx

from ._files import write_atomically


class Checkpoint:
    """A line of JSON (the run's arguments, and how far it is), then the arrays of its state.

    Parameters
    ----------
    path
        The file; its folder is made when something is written.
    run
        What must be the same for a run to go on, as JSON takes it.
    maker
        The function that writes the file, as messages call it.
    """

    def __init__(self, path: str | os.PathLike[str], run: dict[str, Any], maker: str):
        self._path, self._run, self._maker = Path(path), json.loads(json.dumps(run)), maker

    def progress(self) -> dict[str, Any] | None:
        """How far the run is; None if it is new.

        Raises
        ------
        ValueError
            If the file is that of another run, or something else.
        """
        if not self._path.exists():
            return None
        with self._path.open("rb") as stream:
            try:
                found = json.loads(stream.readline())
                run, progress = found["run"], found["progress"]
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f"`checkpoint`: {self._path} is not a checkpoint, or not one of "
                    f"`{self._maker}`."
                ) from error
        other = [name for name, value in self._run.items() if run.get(name) != value]
        if other:
            raise ValueError(
                f"`checkpoint`: {self._path} holds a run with other {', '.join(other)}; finish "
                "that one, or delete the file."
            )
        return progress

    def state(self, like: Any) -> Any:
        """The arrays, in a tree that looks like this one."""
        with self._path.open("rb") as stream:
            stream.readline()
            return eqx.tree_deserialise_leaves(stream, like)

    def write(self, progress: dict[str, Any], state: Any) -> None:
        """Replace the file, which is whole at every moment."""
        self._path.parent.mkdir(parents=True, exist_ok=True)

        def fill(scratch: Path) -> None:
            with scratch.open("wb") as stream:
                stream.write(json.dumps({"run": self._run, "progress": progress}).encode() + b"\n")
                eqx.tree_serialise_leaves(stream, state)

        write_atomically(self._path, fill)
