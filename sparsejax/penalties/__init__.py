"""Penalties: one class a family, every solver and certificate picks it up."""

from ._base import (
    AbstractGroupSeparablePenalty as AbstractGroupSeparablePenalty,
    AbstractPenalty as AbstractPenalty,
    AbstractSeparablePenalty as AbstractSeparablePenalty,
    AbstractStrengthPenalty as AbstractStrengthPenalty,
    AbstractVariationalPenalty as AbstractVariationalPenalty,
)
from ._block_matrix import BlockMatrix as BlockMatrix
from ._box import Box as Box
from ._elastic_net import ElasticNet as ElasticNet
from ._group_l2 import GroupL2 as GroupL2
from ._l1 import L1 as L1
from ._sparse_group import SparseGroup as SparseGroup
