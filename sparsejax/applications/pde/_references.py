"""Solutions to compare with, in double precision: Cole–Hopf, method of lines, split steps."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._extra import require
from ._problem import Reference

_NODES = 100  # of the quadrature, good to 1e-15; NumPy's are NaN beyond 180

Slope = Callable[[Float[Array, " num"], Callable[[Array, int], Array]], Float[Array, " num"]]


def burgers_cole_hopf(
    viscosity: float,
    times: Float[np.ndarray, " times"] | None = None,
    places: Float[np.ndarray, " places"] | None = None,
) -> Reference:
    """Burgers' equation from u(0, x) = −sin πx, by the transformation of Cole and Hopf.

    u(t, x) = −E[sin π(x − η) f(x − η)] / E[f(x − η)], where f(y) = exp(−cos(πy) / 2πν) and η is
    normal with variance 2νt: two integrals by Gauss–Hermite quadrature.

    Parameters
    ----------
    viscosity
        ν.
    times, places
        101 times in [0, 1] and 257 places in [−1, 1] by default.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsejax.applications import pde
    >>> solution = pde.burgers_cole_hopf(0.1 / np.pi, times=np.array([0.0, 1.0]))
    >>> solution.values.shape
    (2, 257, 1)

    Notes
    -----
    Basdevant et al., Spectral and finite difference solutions of the Burgers equation (1986).
    """
    times = np.linspace(0, 1, 101) if times is None else np.asarray(times, float)
    places = np.linspace(-1, 1, 257) if places is None else np.asarray(places, float)
    nodes, weights = np.polynomial.hermite.hermgauss(_NODES)
    shifts = 2 * np.sqrt(viscosity * times)[:, None, None] * nodes
    arguments = np.pi * (places[:, None] - shifts)
    exponents = -np.cos(arguments) / (2 * np.pi * viscosity)
    heights = weights * np.exp(exponents - exponents.max(axis=-1, keepdims=True))
    values = -np.sum(np.sin(arguments) * heights, axis=-1) / np.sum(heights, axis=-1)
    return Reference((times, places), values[..., None])


def method_of_lines(
    slope: Slope,
    start: Callable[[Float[Array, " num"]], Float[Array, " num"]],
    lower: float,
    upper: float,
    times: Float[np.ndarray, " times"],
    num: int = 1024,
    tol: float = 1e-8,
) -> Reference:
    """A periodic equation u_t = slope(u) by Fourier's derivatives and Tsitouras' 5(4) steps.

    Parameters
    ----------
    slope
        A function of u on the grid and of ``derivative(v, order)``, which differentiates what is
        on the grid; without the upper third of frequencies, where products are aliased.
    start
        From places to values at time zero.
    lower, upper
        The ends of the period.
    times
        Increasing, from zero.
    num
        Points of the grid.
    tol
        Relative and absolute, for each step.

    Returns
    -------
    reference
        At ``times`` and on the grid.

    Raises
    ------
    ImportError
        If diffrax is missing: it is in the extra ``pde``.

    Examples
    --------
    >>> import jax.numpy as jnp, numpy as np
    >>> from sparsejax.applications import pde
    >>> heat = lambda u, derivative: derivative(u, 2)
    >>> solution = pde.method_of_lines(heat, jnp.sin, 0, 2 * np.pi, np.array([0.0, 1.0]), num=16)
    >>> bool(np.allclose(solution.values[1], solution.values[0] / np.e, atol=1e-6))
    True
    """
    diffrax = require("diffrax", "pde")
    with jax.enable_x64(True):
        places = lower + (upper - lower) * jnp.arange(num) / num
        frequencies = 2 * jnp.pi * jnp.fft.rfftfreq(num, (upper - lower) / num)
        kept = jnp.arange(num // 2 + 1) <= num // 3

        def derivative(v: Array, order: int) -> Array:
            return jnp.fft.irfft(kept * (1j * frequencies) ** order * jnp.fft.rfft(v), num)

        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, u, args: slope(u, derivative)),
            diffrax.Tsit5(),
            t0=0.0,
            t1=float(times[-1]),
            dt0=None,
            y0=start(places),
            saveat=diffrax.SaveAt(ts=jnp.asarray(times, float)),
            stepsize_controller=diffrax.PIDController(rtol=tol, atol=tol),
            max_steps=None,
        )
        return Reference(
            (np.asarray(times), np.asarray(places)), np.asarray(solution.ys)[..., None]
        )


def burgers_method_of_lines(viscosity: float, num: int = 1024) -> Reference:
    """Burgers' equation as of ``burgers_cole_hopf``, which is odd and so periodic.

    Parameters
    ----------
    viscosity
        ν.
    num
        Points of the grid; 1024 for an error of 2e-5 at ν = 0.01/π.

    Examples
    --------
    See ``method_of_lines``.
    """
    return method_of_lines(
        lambda u, derivative: viscosity * derivative(u, 2) - derivative(u**2, 1) / 2,
        lambda x: -jnp.sin(jnp.pi * x),
        *(-1.0, 1.0),
        np.linspace(0, 1, 11),
        num,
    )


def allen_cahn_method_of_lines(num: int = 1024) -> Reference:
    """The Allen–Cahn equation from x² cos πx, periodic.

    Parameters
    ----------
    num
        Points of the grid.

    Examples
    --------
    See ``method_of_lines``.
    """
    return method_of_lines(
        lambda u, derivative: 1e-4 * derivative(u, 2) + 5 * (u - u**3),
        lambda x: x**2 * jnp.cos(jnp.pi * x),
        *(-1.0, 1.0),
        np.linspace(0, 1, 101),
        num,
    )


def schroedinger_split_step(num: int = 256, steps: int = 4000) -> Reference:
    """i·h_t + ½h_xx + |h|²h = 0 from 2 sech x, periodic in [−5, 5], by Strang's splitting.

    Parameters
    ----------
    num
        Points of the grid.
    steps
        Up to time π/2; a multiple of 100. The defaults are good to 2e-5.

    Returns
    -------
    reference
        At 101 times; real and imaginary part.

    Examples
    --------
    >>> from sparsejax.applications import pde
    >>> pde.schroedinger_split_step(num=64, steps=100).values.shape
    (101, 64, 2)
    """
    if steps % 100:
        raise ValueError(f"`steps` must be a multiple of 100; got {steps}.")
    places = -5 + 10 * np.arange(num) / num
    step = math.pi / 2 / steps
    drift = np.exp(-0.5j * step * (2 * np.pi * np.fft.fftfreq(num, 10 / num)) ** 2)
    h = 2 / np.cosh(places) + 0j
    kept = [h]
    for i in range(1, steps + 1):
        h = h * np.exp(0.5j * step * np.abs(h) ** 2)
        h = np.fft.ifft(drift * np.fft.fft(h))
        h = h * np.exp(0.5j * step * np.abs(h) ** 2)
        if i % (steps // 100) == 0:
            kept.append(h)
    values = np.stack(kept)
    times = np.linspace(0, math.pi / 2, 101)
    return Reference((times, places), np.stack([values.real, values.imag], axis=-1))
