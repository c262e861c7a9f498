"""Multinomial logistic regression."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._arrays import as_inexact, optional_inexact
from ._base import AbstractSmoothLoss
from ._class_contrasts import ClassContrasts
from ._conjugates import clipped, divergence


class Multinomial(AbstractSmoothLoss):
    """Mean of logsumexp(z_i) − ⟨y_i, z_i⟩ over rows y_i of class probabilities.

    Predictions are (n, classes). Targets are the same, one-hot or probabilities; labels (n,)
    become one-hot.

    Parameters
    ----------
    sample_weight
        (n,) factors ≥ 0 with a positive sum, all one by default.

    Raises
    ------
    ValueError
        If a sample weight is negative, NaN or infinite, or all are zero; for labels that are not
        0, 1, ..., rows that do not sum to one, or fewer than two classes.

    Examples
    --------
    >>> import jax.numpy as jnp, sparsejax as sj
    >>> loss = sj.losses.Multinomial()
    >>> y = loss.targets(jnp.array([0, 2, 1, 2]))
    >>> y.shape, float(loss.value(jnp.zeros((4, 3)), y))
    ((4, 3), 1.099)

    Notes
    -----
    The Hessian of a row, diag(π) − ππᵀ for π = softmax(z), lies below diag(π) and below half the
    identity (D. Böhning, Multinomial logistic regression algorithm, 1992). The Fenchel–Young gap
    is the Kullback–Leibler divergence from π to the probabilities that the dual stands for.
    """

    ignores_shifts: ClassVar[bool] = True

    sample_weight: Float[Array, " n"] | None = eqx.field(
        default=None, converter=optional_inexact("sample_weight")
    )

    def targets(self, y: Float[Array, "n ..."]) -> Float[Array, "n classes"]:
        y = as_inexact(y, "y")
        known = self.known_rows(y)
        if y.ndim == 1:
            return jax.nn.one_hot(y.astype(int), _count_classes(known), dtype=y.dtype)
        if y.ndim != 2 or y.shape[1] < 2:
            raise ValueError(
                f"`y` must be labels (n,), or probabilities (n, classes) of two classes or more; "
                f"got shape {y.shape}."
            )
        if known is not None:
            _check_probabilities(known)
        return y

    def value(self, z: Float[Array, "n k"], y: Float[Array, "n k"]) -> Float[Array, ""]:
        # The rows of y sum to one, so that the normaliser may be subtracted from z first.
        return -jnp.sum(self._weighted(y * jax.nn.log_softmax(z), y))

    def gradient(self, z: Float[Array, "n k"], y: Float[Array, "n k"]) -> Float[Array, "n k"]:
        return self._weighted(jax.nn.softmax(z) - y, y)

    def curvature(self, z: Float[Array, "n k"], y: Float[Array, "n k"]) -> Float[Array, "n k"]:
        return self._weighted(jax.nn.softmax(z), y)

    def contrasts(
        self, z: Float[Array, "n k"], y: Float[Array, "n k"]
    ) -> tuple[ClassContrasts, Float[Array, "n k-1"]]:
        """K and a diagonal H with KᵀHK the Hessian."""
        contrasts, curvature = ClassContrasts.of(jax.nn.log_softmax(z))
        return contrasts, self._weighted(curvature, y)

    def curvature_bound(self, y: Float[Array, "n k"]) -> Float[Array, "n k"]:
        return self._weighted(jnp.full_like(y, 0.5), y)

    def fenchel_gap(
        self, z: Float[Array, "n k"], u: Float[Array, "n k"], y: Float[Array, "n k"]
    ) -> Float[Array, ""]:
        c, is_dual = self._per_sample(u, y)
        dual, is_positive = clipped(c + y, 0.0, jnp.inf, 1.0)
        total = jnp.sum(dual, axis=1, keepdims=True)
        is_dual &= jnp.all(is_positive | (self._row_factors(y) == 0))
        is_dual &= jnp.all((jnp.abs(total - 1) <= _tolerance(z)) | (self._row_factors(y) == 0))
        terms = divergence(dual / total, jax.nn.softmax(z), jax.nn.log_softmax(z))
        return jnp.where(is_dual, jnp.sum(self._weighted(terms, y)), jnp.inf)


def _tolerance(z: Array | np.ndarray) -> float:
    """How far rounding may take a sum of probabilities from one."""
    return 1e-10 if z.dtype == jnp.float64 else 1e-5


def _count_classes(known: np.ndarray | None) -> int:
    if known is None:
        raise ValueError("`y` holds traced labels: give one-hot rows (n, classes) instead.")
    if not np.all((known >= 0) & (known == np.round(known))):
        raise ValueError("`y` must hold the labels 0, 1, ..., classes - 1: encode the classes so.")
    count = int(np.max(known)) + 1
    if count < 2:
        raise ValueError("`y` holds only one class; it must have two or more.")
    return count


def _check_probabilities(known: np.ndarray) -> None:
    off = np.abs(np.sum(known, axis=1, dtype=float) - 1)
    if np.any(known < 0) or np.any(off > _tolerance(known)):
        raise ValueError(
            "`y` must hold one-hot rows or probabilities, nonnegative with sum one: divide each "
            "row by its sum, or give the labels (n,)."
        )
