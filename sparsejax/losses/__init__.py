"""Losses: averages over the samples, with what certificates and solvers need."""

from ._base import (
    AbstractLoss as AbstractLoss,
    AbstractQuadraticLoss as AbstractQuadraticLoss,
)
from ._squared import Squared as Squared
