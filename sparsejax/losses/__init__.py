"""Losses: averages over the samples, with what certificates and solvers need."""

from ._base import (
    AbstractLoss as AbstractLoss,
    AbstractPointwiseLoss as AbstractPointwiseLoss,
    AbstractPointwiseProximalLoss as AbstractPointwiseProximalLoss,
    AbstractProximalLoss as AbstractProximalLoss,
    AbstractQuadraticLoss as AbstractQuadraticLoss,
    AbstractSeparableLoss as AbstractSeparableLoss,
    AbstractSmoothLoss as AbstractSmoothLoss,
)
from ._gamma import Gamma as Gamma
from ._huber import Huber as Huber
from ._labels import AbstractTwoClassLoss as AbstractTwoClassLoss
from ._logistic import Logistic as Logistic
from ._poisson import Poisson as Poisson
from ._squared import Squared as Squared
from ._squared_hinge import SquaredHinge as SquaredHinge
