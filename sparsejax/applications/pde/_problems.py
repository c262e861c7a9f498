"""The problems of the paper and of its neighbours, by name."""

import math
from collections.abc import Callable
from functools import cache
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from . import _references as references
from ._box import Box
from ._derivatives import Field, derivatives
from ._problem import Problem, Reference
from ._terms import Condition, Data

Conditions = Literal["soft", "hard"]

_STRIP = Box((0.0, -1.0), (1.0, 1.0))  # time, then space


def singular(x: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """√|x| with jumps of one at −½ and ½: a function that no smooth one fits well.

    Parameters
    ----------
    x
        Anything between −1 and 1.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsejax.applications import pde
    >>> pde.singular(np.array([-1.0, 0.0, 0.25])).tolist()
    [0.0, 0.0, 0.5]
    """
    return np.sqrt(np.abs(x)) + np.where(x > 0.5, 1.0, 0.0) - np.where(x < -0.5, 1.0, 0.0)


def function_fit(num: int = 300, noise: float = 0.1, seed: int = 0) -> Problem:
    """Noisy samples of a function with singularities; the reference is the function.

    Parameters
    ----------
    num
        How many samples, uniform in [−1, 1].
    noise
        Its standard deviation.
    seed
        Of samples and noise.

    Examples
    --------
    >>> from sparsejax.applications import pde
    >>> pde.function_fit(num=40).terms[0].values.shape
    (40, 1)
    """
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, size=(num, 1))
    data = Data(x, singular(x) + noise * rng.normal(size=(num, 1)))

    @cache
    def reference() -> Reference:
        grid = np.linspace(-1, 1, 2001)
        return Reference((grid,), singular(grid)[:, None])

    return Problem("function", Box((-1.0,), (1.0,)), 1, (data,), reference=reference)


def burgers(
    viscosity: float = 0.1 / math.pi, conditions: Conditions = "soft", num: int = 10_000
) -> Problem:
    """Burgers' equation, u_t + u·u_x = ν·u_xx on [0, 1] × [−1, 1], which makes a front at x = 0.

    It starts at u(0, x) = −sin πx and is zero at both ends.

    Parameters
    ----------
    viscosity
        ν.
    conditions
        ``"soft"``: initial and boundary conditions are terms of the loss, on 100 points each;
        ``"hard"``: u = −sin πx + t·(1 − x²)·network, for which they hold.
    num
        How many points stand for the domain.

    Raises
    ------
    ValueError
        If ``viscosity`` is not positive or ``conditions`` is neither.

    Examples
    --------
    >>> from sparsejax.applications import pde
    >>> [term.name for term in pde.burgers().terms]
    ['equation', 'initial', 'left', 'right']

    Notes
    -----
    Raissi, Perdikaris & Karniadakis, Physics-informed neural networks (2019), with ν = 0.01/π.
    """
    if not viscosity > 0:
        raise ValueError(f"`viscosity` must be positive; got {viscosity}.")

    def equation(u: Field, x: Array) -> Array:
        value, slope, curvature = derivatives(u, x, axis=1, order=2)
        return derivatives(u, x, axis=0)[1] + value * slope - viscosity * curvature

    return _evolution(
        f"burgers, viscosity {viscosity:.6g}",
        equation,
        lambda x: -jnp.sin(jnp.pi * x),
        conditions,
        num,
        cache(lambda: references.burgers_cole_hopf(viscosity)),
    )


def allen_cahn(conditions: Conditions = "hard", num: int = 5000) -> Problem:
    """The Allen–Cahn equation, u_t = 10⁻⁴·u_xx + 5(u − u³) on [0, 1] × [−1, 1].

    It starts at u(0, x) = x² cos πx and is −1 at both ends, as the periodic solution is.

    Parameters
    ----------
    conditions
        As of ``burgers``, with u = x² cos πx + t·(1 − x²)·network.
    num
        How many points stand for the domain.

    Raises
    ------
    ValueError
        If ``conditions`` is neither.

    Examples
    --------
    >>> from sparsejax.applications import pde
    >>> [term.name for term in pde.allen_cahn().terms]
    ['equation']
    """

    def equation(u: Field, x: Array) -> Array:
        value, _, curvature = derivatives(u, x, axis=1, order=2)
        change = derivatives(u, x, axis=0)[1]
        return change - 1e-4 * curvature - 5 * (value - value**3)

    start = lambda x: x**2 * jnp.cos(jnp.pi * x)  # noqa: E731
    reference = cache(references.allen_cahn_method_of_lines)
    return _evolution("allen-cahn", equation, start, conditions, num, reference)


def schroedinger(num: int = 20_000, conditions: Conditions = "soft") -> Problem:
    """The nonlinear Schrödinger equation, i·h_t + ½h_xx + |h|²h = 0, periodic in [−5, 5].

    From h(0, x) = 2 sech x to t = π/2; the outputs are the real and the imaginary part.

    Parameters
    ----------
    num
        How many points stand for the domain.
    conditions
        ``"soft"``: the initial condition is a term of the loss, on 50 points; ``"hard"``:
        h = 2 sech x + t·network, for which it holds. The periodic one is a term in both.

    Raises
    ------
    ValueError
        If ``conditions`` is neither.

    Examples
    --------
    >>> from sparsejax.applications import pde
    >>> [term.name for term in pde.schroedinger(conditions="hard").terms]
    ['equation', 'periodic']

    Notes
    -----
    Raissi, Perdikaris & Karniadakis, Physics-informed neural networks (2019).
    """
    domain = Box((0.0, -5.0), (math.pi / 2, 5.0))

    def equation(u: Field, x: Array) -> Array:
        h, _, curvature = derivatives(u, x, axis=1, order=2)
        change = derivatives(u, x, axis=0)[1]
        a, b = curvature / 2 + jnp.sum(h**2) * h
        return jnp.stack([change[0] + b, change[1] - a])

    def start(x: Array) -> Array:
        return jnp.stack([2 / jnp.cosh(x[1]), jnp.zeros_like(x[1])])

    def hard(network: Field, x: Array) -> Array:
        return start(x) + x[0] * network(x)

    def periodic(u: Field, x: Array) -> Array:
        right, left = (derivatives(u, x.at[1].set(end), axis=1) for end in (5.0, -5.0))
        return jnp.concatenate([a - b for a, b in zip(right, left, strict=True)])

    terms = (
        Condition(equation, domain, num),
        Condition(periodic, domain.face(1, "upper"), 50, name="periodic"),
    )
    reference = cache(references.schroedinger_split_step)
    if conditions == "hard":
        return Problem("schroedinger, hard", domain, 2, terms, hard, reference)
    _check(conditions)
    face = domain.face(0, "lower")
    terms += (Condition(lambda u, x: u(x) - start(x), face, 50, name="initial"),)
    return Problem("schroedinger, soft", domain, 2, terms, None, reference)


PROBLEMS: dict[str, Callable[..., Problem]] = {
    "function": function_fit,
    "burgers": burgers,
    "allen-cahn": allen_cahn,
    "schroedinger": schroedinger,
}


def _evolution(
    name: str,
    equation: Callable[[Field, Array], Array],
    start: Callable[[Array], Array],
    conditions: Conditions,
    num: int,
    reference: Callable[[], Reference],
) -> Problem:
    """On the strip, with an initial condition and its values at both ends, soft or hard."""
    terms = (Condition(equation, _STRIP, num),)
    if conditions == "hard":

        def hard(network: Field, x: Array) -> Array:
            t, place = x
            return start(place) + t * (1 - place**2) * network(x)

        return Problem(f"{name}, hard", _STRIP, 1, terms, hard, reference)
    _check(conditions)
    faces = {
        "initial": _STRIP.face(0, "lower"),
        "left": _STRIP.face(1, "lower"),
        "right": _STRIP.face(1, "upper"),
    }
    terms += tuple(
        Condition(lambda u, x: u(x) - start(x[1]), face, 100, name=side)
        for side, face in faces.items()
    )
    return Problem(f"{name}, soft", _STRIP, 1, terms, None, reference)


def _check(conditions: Conditions) -> None:
    if conditions not in ("soft", "hard"):
        raise ValueError(f'`conditions` must be "soft" or "hard"; got {conditions!r}.')
