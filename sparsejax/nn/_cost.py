"""What a model costs where it runs, beside what it costs on paper."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np

from .._checks import check_integer
from ._macs import count_macs


class Cost(NamedTuple):
    """What one call of a model costs; ``str`` makes a line of it.

    Attributes
    ----------
    macs
        Multiply–accumulates, as of ``count_macs``.
    seconds
        Median of a compiled call on the device that holds the arrays.
    compile_seconds
        Of the first call, tracing and compilation included.
    """

    macs: int
    seconds: float
    compile_seconds: float

    def __str__(self) -> str:
        return (
            f"{self.macs:,} multiply–accumulates, {1e3 * self.seconds:.3g} ms a call "
            f"after {self.compile_seconds:.2g} s of compilation"
        )


def cost(model: Callable[..., Any], *example: Any, repeats: int = 20) -> Cost:
    """Multiply–accumulates of a model and the time that it takes on this machine.

    The two need not go together: small layers, odd widths and scattered zeros are slower than
    their count says.

    Parameters
    ----------
    model
        Any function of arrays, not jitted yet.
    example
        Its arguments, as arrays; for the time of a batch, one and ``equinox.filter_vmap(model)``.
    repeats
        Calls whose median is taken, after one that compiles.

    Returns
    -------
    cost

    Raises
    ------
    ValueError
        As of ``count_macs``, and if ``repeats`` is not positive.

    Examples
    --------
    >>> import equinox as eqx, jax, jax.numpy as jnp, sparsejax as sj
    >>> model = eqx.nn.MLP(8, 2, 16, 1, key=jax.random.key(0))
    >>> found = sj.nn.cost(eqx.filter_vmap(model), jnp.zeros((4, 8)))
    >>> found.macs, 0 < found.seconds < found.compile_seconds
    (640, True)
    """
    check_integer("repeats", repeats)
    # A jit of its own, so that the first call compiles; arrays within the model are arguments.
    call = eqx.filter_jit(lambda model, example: model(*example))
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        jax.block_until_ready(call(model, example))
        seconds.append(time.perf_counter() - start)
    return Cost(count_macs(model, *example), float(np.median(seconds[1:])), seconds[0])
