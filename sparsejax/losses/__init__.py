"""Losses: averages over the samples, with what certificates and solvers need."""

from ._base import (
    AbstractLoss as AbstractLoss,
    AbstractPointwiseLoss as AbstractPointwiseLoss,
    AbstractPointwiseProximalLoss as AbstractPointwiseProximalLoss,
    AbstractProximalLoss as AbstractProximalLoss,
    AbstractQuadraticLoss as AbstractQuadraticLoss,
    AbstractSeparableLoss as AbstractSeparableLoss,
    AbstractSmoothLoss as AbstractSmoothLoss,
    AbstractVariationalLoss as AbstractVariationalLoss,
)
from ._cox import Cox as Cox
from ._equality import Equality as Equality
from ._gamma import Gamma as Gamma
from ._hinge import Hinge as Hinge
from ._huber import Huber as Huber
from ._labels import AbstractTwoClassLoss as AbstractTwoClassLoss
from ._logistic import Logistic as Logistic
from ._multinomial import Multinomial as Multinomial
from ._poisson import Poisson as Poisson
from ._quantile import Quantile as Quantile
from ._square_root import SquareRoot as SquareRoot
from ._squared import Squared as Squared
from ._squared_hinge import SquaredHinge as SquaredHinge
