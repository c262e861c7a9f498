"""Complex coefficients, each a group of its real and imaginary part."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from ._checks import check_finite
from ._problem import Problem
from .penalties import GroupL2


def complex_problem(
    X: Complex[Any, "n p"],
    y: Complex[Any, " n"],
    strength: float | Float[Array, ""],
    groups: Any = None,
    weights: Float[Any, " groups"] | None = None,
) -> Problem:
    """The real problem of ‖y − Xw‖²/(2n) + strength·Σ_g weights_g ‖w_g‖ over complex w.

    Parameters
    ----------
    X, y
        (n, p) and (n,), complex or real.
    strength
        As of ``penalties.GroupL2``.
    groups
        (p,) labels; by default every coefficient is a group of its own, and the penalty is
        strength·Σ_j weights_j |w_j|: the Lasso of super-resolution.
    weights
        One a group; by default one for single coefficients, else the root of the number of
        complex coefficients.

    Returns
    -------
    Problem
        With 2n samples and 2p features, in the order Re w₁, Im w₁, Re w₂, …; objective and gap
        are those of the complex problem, ``complex_coef`` gives back its coefficients.

    Raises
    ------
    ValueError
        For shapes that do not fit, and for NaN or infinity.

    Examples
    --------
    >>> import numpy as np, sparsejax as sj
    >>> X, y = np.eye(2), np.array([3 + 4j, 0.1j])
    >>> solution = sj.solve(sj.complex_problem(X, y, 0.5))
    >>> np.round(sj.complex_coef(solution.coef), 4).tolist()  # shrunk along the phase
    [(2.4+3.2j), 0j]

    Notes
    -----
    Poon & Peyré, Smooth bilevel programming for sparse regularization (NeurIPS 2021).
    """
    X, y = jnp.asarray(X), jnp.asarray(y)
    if X.ndim != 2 or y.shape != X.shape[:1]:
        raise ValueError(f"`X` must be (n, p) and `y` (n,); got shapes {X.shape} and {y.shape}.")
    check_finite("X", X)
    check_finite("y", y)
    p = X.shape[1]
    labels = np.arange(p) if groups is None else np.asarray(groups)
    if labels.shape != (p,):
        raise ValueError(f"`groups` must have shape {(p,)}; got {labels.shape}.")
    if weights is None:
        weights = np.sqrt(np.unique(labels, return_counts=True)[1])
    # Twice the samples would halve their mean.
    rows = jnp.stack([_pairs(X.real, -X.imag), _pairs(X.imag, X.real)]).reshape(-1, 2 * p)
    targets = jnp.concatenate([y.real, y.imag])
    root = np.sqrt(2.0).astype(rows.dtype)
    return Problem(
        root * rows, root * targets, penalty=GroupL2(strength, labels.repeat(2), weights)
    )


def complex_coef(coef: Float[Array, " 2p"]) -> Complex[Array, " p"]:
    """The complex coefficients of a solution of ``complex_problem``.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> sj.complex_coef(jnp.array([1.0, 2.0, 0.0, -1.0])).tolist()
    [(1+2j), -1j]
    """
    return coef[::2] + 1j * coef[1::2]


def _pairs(first: Float[Array, "n p"], second: Float[Array, "n p"]) -> Float[Array, "n 2p"]:
    """Columns of the two in turn."""
    return jnp.stack([first, second], axis=2).reshape(first.shape[0], -1)
