"""How often JAX traced or compiled something, and how tests have it compile less."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

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


@eqx.filter_jit
def _call(method: Any, arguments: tuple[Any, ...]) -> Any:
    return method(*arguments)


def compiled(method: Any, *arguments: Any) -> Any:
    """The method of a module as one program, for all modules of the same shapes.

    Called as it is, every operation in it would be compiled alone.
    """
    return _call(method, tuple(jnp.asarray(argument) for argument in arguments))
