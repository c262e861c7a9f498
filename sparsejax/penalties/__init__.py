"""Penalties: one class a family, every solver and certificate picks it up."""

from ._base import (
    AbstractPenalty as AbstractPenalty,
    AbstractSeparablePenalty as AbstractSeparablePenalty,
    AbstractStrengthPenalty as AbstractStrengthPenalty,
    AbstractVariationalPenalty as AbstractVariationalPenalty,
)
from ._box import Box as Box
from ._elastic_net import ElasticNet as ElasticNet
from ._l1 import L1 as L1
