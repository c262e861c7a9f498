"""Losses: averages over the samples, with what certificates and solvers need."""

from ._base import (
    AbstractLoss as AbstractLoss,
    AbstractPointwiseLoss as AbstractPointwiseLoss,
    AbstractQuadraticLoss as AbstractQuadraticLoss,
    AbstractSmoothLoss as AbstractSmoothLoss,
)
from ._squared import Squared as Squared
