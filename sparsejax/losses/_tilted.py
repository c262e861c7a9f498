"""A loss with a linear function taken from it."""

from typing import Any

from jaxtyping import Array, Float

from .._modules import replace
from ._base import AbstractLoss, AbstractSmoothLoss
from ._profiled import Profiled, unprofiled


class Tilted(AbstractSmoothLoss):
    """f(z) − ⟨tilt, z⟩: its conjugate is f*(u + tilt)."""

    loss: AbstractSmoothLoss
    tilt: Float[Array, "n ..."]

    @property
    def sample_weight(self) -> Float[Array, " n"] | None:  # type: ignore[override]
        """Those of the loss."""
        return self.loss.sample_weight

    def value(self, z: Float[Array, "n ..."], y: Float[Array, "n ..."]) -> Float[Array, ""]:
        return self.loss.value(z, y) - (self.tilt * z).sum()

    def gradient(self, z: Float[Array, "n ..."], y: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        return self.loss.gradient(z, y) - self.tilt

    def curvature(
        self, z: Float[Array, "n ..."], y: Float[Array, "n ..."]
    ) -> Float[Array, "n ..."]:
        return self.loss.curvature(z, y)

    def curvature_bound(self, y: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        return self.loss.curvature_bound(y)

    @property
    def has_bounded_curvature(self) -> bool:
        return self.loss.has_bounded_curvature

    def fenchel_gap(
        self, z: Float[Array, "n ..."], u: Float[Array, "n ..."], y: Float[Array, "n ..."]
    ) -> Float[Array, ""]:
        return self.loss.fenchel_gap(z, u + self.tilt, y)

    def outputs(self, y: Float[Array, "n ..."]) -> tuple[int, ...]:
        return self.loss.outputs(y)


def tilted(loss: AbstractSmoothLoss, tilt: Float[Array, "n ..."]) -> AbstractSmoothLoss:
    """f(z) − ⟨tilt, z⟩, where an intercept is profiled out for a tilt that sums to zero."""
    if isinstance(loss, Profiled):
        return replace(loss, loss=tilted(loss.loss, tilt))
    kind: Any = Tilted
    return kind(loss=loss, tilt=tilt)


def untilted(loss: AbstractLoss) -> AbstractLoss:
    """The loss that is bounded below, which a tilted one need not be."""
    if isinstance(loss, Profiled):
        return replace(loss, loss=untilted(loss.loss))
    return loss.loss if isinstance(loss, Tilted) else loss


def bare(loss: AbstractLoss) -> AbstractLoss:
    """The loss that users know."""
    return unprofiled(untilted(loss))
