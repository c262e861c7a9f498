from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """Something the person at the terminal can put right; shown as one line, exit status 2."""


class SolveError(Exception):
    """A solve that did not reach its tolerance; shown as one line, exit status 1."""


@contextmanager
def explained() -> Iterator[None]:
    """What the library says of files and arguments, said to the person at the terminal."""
    try:
        yield
    except (ValueError, OSError, ImportError) as error:
        raise UserError(str(error)) from error
