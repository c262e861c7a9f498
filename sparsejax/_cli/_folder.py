"""Output folders that appear complete or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ._errors import UserError


def checked_target(target: Path) -> Path:
    """Where the folder will be; early, before work is done that could not be written.

    Raises
    ------
    UserError
        If `target` is a file.
    """
    target = target.absolute()
    if target.exists() and not target.is_dir():
        raise UserError(f"--out {target} is a file; name a folder.")
    return target


@contextmanager
def output_folder(target: Path) -> Iterator[Path]:
    """Yield a scratch folder beside `target`; publish its files there if the block succeeds.

    A new folder appears by one rename; into an existing one each file moves by one rename, so that
    no reader ever sees half a file. If the block raises, nothing at all is left behind.

    Raises
    ------
    UserError
        If `target` is a file, or its parent cannot be made or written to.
    """
    target = checked_target(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise UserError(f"cannot write to --out {target}: {error.strerror}.") from error
    try:
        yield scratch
        _publish(scratch, target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _publish(scratch: Path, target: Path) -> None:
    try:
        if target.exists():
            for file in sorted(scratch.iterdir()):
                os.replace(file, target / file.name)
        else:
            scratch.chmod(0o755)  # mkdtemp's 0o700 is for secrets
            os.rename(scratch, target)
    except OSError as error:
        raise UserError(f"cannot write to --out {target}: {error.strerror}.") from error
