"""Labels of two classes."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._arrays import as_inexact
from ._base import AbstractPointwiseProximalLoss, AbstractSeparableLoss


class AbstractTwoClassLoss(AbstractSeparableLoss):
    """A loss of the margins y·z, for labels {−1, 1}, or {0, 1} which become those."""

    def targets(self, y: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        y = as_inexact(y, "y")
        known = self.known_rows(y)
        if known is not None:
            _check_labels(np.unique(known))
        return jnp.where(y == 0, -1.0, y)


class AbstractUnitSlopeLoss(AbstractTwoClassLoss, AbstractPointwiseProximalLoss):
    """A loss that decreases in the margin by one at most: −y·u lies between 0 and h."""

    def nearest_dual(self, u: Float[Array, " n"], y: Float[Array, " n"]) -> Float[Array, " n"]:
        return -y * jnp.clip(-y * u, 0.0, self._row_factors(y))

    def dual_room(self, u: Float[Array, " n"], y: Float[Array, " n"]) -> Float[Array, " n"]:
        factors = self._row_factors(y)
        return factors * jnp.maximum(jnp.minimum(-y * u, factors + y * u), 0.0)


def _check_labels(labels: np.ndarray) -> None:
    if not (np.isin(labels, (-1, 1)).all() or np.isin(labels, (0, 1)).all()):
        shown = ", ".join(f"{label:g}" for label in labels[:5])
        raise ValueError(
            f"`y` must hold the labels -1 and 1, or 0 and 1; got {shown}"
            f"{', ...' if len(labels) > 5 else ''}. Convert the classes to these two."
        )
