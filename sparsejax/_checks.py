"""Argument checks: values where they are known, shapes always."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.experimental.multihost_utils import process_allgather
from jaxtyping import Array, Bool, Float

_SMALL = 2**14  # entries, for which NumPy is done before a call of JAX has begun


def is_concrete(x: Any) -> bool:
    """Whether the values of ``x`` can be looked at now (they are not being traced)."""
    return isinstance(x, jax.Array | np.ndarray) and not isinstance(x, Tracer)


def values_of(x: jax.Array | np.ndarray) -> np.ndarray:
    """The entries of a concrete array, those that other processes hold included."""
    return np.asarray(process_allgather(x, tiled=True) if _is_elsewhere(x) else x)


def _is_elsewhere(x: jax.Array | np.ndarray) -> bool:
    """Whether a process of several cannot read all of it."""
    known = isinstance(x, np.ndarray) or x.is_fully_addressable or x.is_fully_replicated
    return not known


def is_nonnegative(x: Float[Array, "..."]) -> Bool[Array, "..."]:
    """x ≥ 0 and not NaN."""
    return x >= 0


def check_nonnegative(name: str, x: Array, *, ndim: int, finite: bool) -> None:
    """Raise unless ``x`` has ``ndim`` axes and, where known, entries ≥ 0 (finite if asked)."""
    if x.ndim != ndim:
        kind = "a scalar" if ndim == 0 else "a vector"
        raise ValueError(f"`{name}` must be {kind}; got an array of shape {x.shape}.")
    if not is_concrete(x):
        return
    values = values_of(x)
    if not np.all(values >= 0):
        raise ValueError(f"`{name}` must be nonnegative and not NaN; got {_shown(values)}.")
    if finite and not np.all(np.isfinite(values)):
        raise ValueError(f"`{name}` must be finite; got {_shown(values)}.")


def check_integer(name: str, value: Any, least: int = 1) -> None:
    """Raise unless ``value`` is an integer, and positive or (``least=0``) nonnegative."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        kind = "positive" if least else "nonnegative"
        raise ValueError(f"`{name}` must be a {kind} integer; got {value!r}.")


def check_positive(name: str, x: Array) -> None:
    """Raise unless ``x`` is a positive, finite scalar."""
    check_nonnegative(name, x, ndim=0, finite=True)
    if is_concrete(x) and float(x) == 0:
        raise ValueError(f"`{name}` must be positive; got 0.")


def check_above(name: str, x: Array, low: float) -> None:
    """Raise unless ``x`` is a finite scalar above ``low`` ≥ 0."""
    check_nonnegative(name, x, ndim=0, finite=True)
    if is_concrete(x) and not float(x) > low:
        raise ValueError(f"`{name}` must be above {low:g}; got {float(x):g}.")


def check_interval(name: str, x: Array, low: float, high: float) -> None:
    """Raise unless ``x`` is a scalar in [low, high]."""
    if x.ndim != 0:
        raise ValueError(f"`{name}` must be a scalar; got an array of shape {x.shape}.")
    if is_concrete(x) and not low <= float(x) <= high:
        raise ValueError(f"`{name}` must lie in [{low:g}, {high:g}]; got {float(x):g}.")


def check_length(name: str, x: Array, length: int) -> None:
    """Raise unless the vector ``x`` has one entry for each of ``length`` items."""
    if x.shape != (length,):
        raise ValueError(f"`{name}` must have shape ({length},); got {x.shape}.")


def check_finite(name: str, x: Array, transposed: bool = False) -> None:
    """Raise where a known array holds NaN or infinity, and say where the first one is.

    Of an array that several processes share, only whether: X may be too large for one of them.
    """
    if not is_concrete(x):
        return
    if _is_finite(x):
        return
    where = ""
    if not _is_elsewhere(x):
        values = np.asarray(x.T if transposed else x)
        where = f" (first at index {tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])})"
    raise ValueError(f"`{name}` contains NaN or infinity{where}; remove it.")


def _is_finite(x: jax.Array | np.ndarray) -> bool:
    if x.size <= _SMALL and not _is_elsewhere(x):
        return bool(np.isfinite(np.asarray(x)).all())
    with jax.ensure_compile_time_eval():  # known values are looked at even inside a jit
        return bool(_all_finite(x))


@jax.jit
def _all_finite(x: Array) -> Array:
    return jnp.all(jnp.isfinite(x))


def _shown(values: np.ndarray) -> str:
    return f"{values:g}" if values.ndim == 0 else f"a minimum of {np.min(values):g}"
