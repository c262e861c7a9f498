"""Ways to prune a linear layer, given its weight and what is known about its inputs."""

import inspect
from collections.abc import Callable
from typing import Any, cast

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ._pattern import AbstractPattern
from ._refit import refit
from ._sds import sds
from ._sparsegpt import sparsegpt
from ._statistics import InputStatistics
from ._wanda import wanda

Pruned = tuple[Float[Array, "out in"], Bool[Array, "out in"]]
Method = Callable[[Float[Array, "out in"], InputStatistics, AbstractPattern], Pruned]


def by_magnitude(
    W: Float[Array, "out in"], statistics: InputStatistics, pattern: AbstractPattern
) -> Pruned:
    """Drop the smallest weights of each output, whatever the inputs: the baseline.

    Parameters
    ----------
    W
        (out, in).
    statistics
        Not used.
    pattern
        As of ``wanda``.
    """
    return wanda(W, jnp.ones_like(statistics.norms), pattern)


def _wanda(W: Any, statistics: InputStatistics, pattern: AbstractPattern) -> Pruned:
    return wanda(W, statistics.norms, pattern)


def _sparsegpt(W: Any, statistics: InputStatistics, pattern: AbstractPattern) -> Pruned:
    return sparsegpt(W, statistics.gram, pattern)


def _sds(W: Any, statistics: InputStatistics, pattern: AbstractPattern) -> Pruned:
    return sds(W, statistics.gram, pattern, cross=_dense_targets(W, statistics))


class Refitted(eqx.Module):
    """A method whose mask is kept, and whose weights are fitted anew by least squares.

    Parameters
    ----------
    method
        A name or a function, as of ``prune_layerwise``.
    damping
        As of ``refit``. Without any, few calibration data are overfitted, and errors build up over
        the blocks (docs/limits.md).

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> seen = sj.nn.InputStatistics.zeros(2).update(jnp.array([[1.0, 1.0], [1.0, 0.0]]))
    >>> method = sj.nn.Refitted("wanda")
    >>> method(jnp.array([[2.0, 1.0]]), seen, sj.nn.Unstructured(0.5))[0].round(1).tolist()
    [[2.5, 0.0]]
    """

    method: str | Method = eqx.field(static=True)
    damping: float = 0.01

    def __call__(
        self, W: Float[Array, "out in"], statistics: InputStatistics, pattern: AbstractPattern
    ) -> Pruned:
        mask = as_method(self.method)(W, statistics, pattern)[1]
        cross = _dense_targets(W, statistics)
        return refit(W, mask, statistics.gram, self.damping, cross=cross), mask


def _dense_targets(W: Array, statistics: InputStatistics) -> Float[Array, "out in"] | None:
    """W X_d Xᵀ, where the inputs X_d of the dense model have been seen."""
    return None if statistics.cross is None else W.astype(statistics.gram.dtype) @ statistics.cross


METHODS: dict[str, Method] = {
    "magnitude": by_magnitude,
    "wanda": _wanda,
    "sparsegpt": _sparsegpt,
    "sds": _sds,
}
_FUNCTIONS: dict[Any, Method] = {wanda: _wanda, sparsegpt: _sparsegpt, sds: _sds}


def as_method(method: Any) -> Method:
    """A method by its name, one of this library's functions, or a function of the user's."""
    if isinstance(method, str):
        if method not in METHODS:
            names = ", ".join(map(repr, METHODS))
            raise ValueError(f"`method` must be one of {names} or a function; got {method!r}.")
        return METHODS[method]
    if not callable(method):
        raise TypeError(f"`method` must be a name or a function; got {type(method).__name__}.")
    # Modules may hold arrays, which cannot be looked up.
    return cast(Method, _FUNCTIONS.get(method, method) if inspect.isfunction(method) else method)
