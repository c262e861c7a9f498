"""How often JAX traced or compiled something."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import jax

_EVENTS = ("/jax/core/compile/jaxpr_trace_duration", "/jax/core/compile/backend_compile_duration")
_seen = [0]


def _listen(event: str, duration: float, **more: object) -> None:
    del duration, more
    _seen[0] += event in _EVENTS


jax.monitoring.register_event_duration_secs_listener(_listen)


@contextmanager
def count_compilations() -> Iterator[Callable[[], int]]:
    """Yield a function that says how many traces and compilations there were since entering."""
    before = _seen[0]
    yield lambda: _seen[0] - before
