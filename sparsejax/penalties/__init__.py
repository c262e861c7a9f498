"""Penalties: one class a family, every solver and certificate picks it up."""

from ._analysis import Analysis as Analysis
from ._base import (
    AbstractGroupSeparablePenalty as AbstractGroupSeparablePenalty,
    AbstractNewtonPenalty as AbstractNewtonPenalty,
    AbstractPenalty as AbstractPenalty,
    AbstractRelaxablePenalty as AbstractRelaxablePenalty,
    AbstractSeparablePenalty as AbstractSeparablePenalty,
    AbstractStrengthPenalty as AbstractStrengthPenalty,
    AbstractVariationalPenalty as AbstractVariationalPenalty,
)
from ._box import Box as Box
from ._capped_l1 import CappedL1 as CappedL1
from ._cardinality import Cardinality as Cardinality
from ._concave import AbstractConcavePenalty as AbstractConcavePenalty
from ._concave_spectral import Spectral as Spectral
from ._elastic_net import ElasticNet as ElasticNet
from ._fused_lasso import FusedLasso as FusedLasso
from ._group_l2 import GroupL2 as GroupL2
from ._group_linf import GroupLinf as GroupLinf, Linf as Linf
from ._grouped import Grouped as Grouped
from ._k_support import KSupport as KSupport
from ._l0 import L0 as L0
from ._l1 import L1 as L1
from ._log_sum import LogSum as LogSum
from ._lq import Lq as Lq
from ._mcp import MCP as MCP
from ._nuclear import Nuclear as Nuclear
from ._operators import (
    difference_groups as difference_groups,
    difference_operator as difference_operator,
    incidence_operator as incidence_operator,
    trend_operator as trend_operator,
)
from ._overlapping_groups import OverlappingGroups as OverlappingGroups
from ._row_l2 import RowL2 as RowL2
from ._rows import Rows as Rows
from ._scad import SCAD as SCAD
from ._schatten import Schatten as Schatten
from ._simplex import Simplex as Simplex
from ._slope import SLOPE as SLOPE
from ._sparse_group import SparseGroup as SparseGroup
from ._total_variation import TotalVariation as TotalVariation
from ._weighted import Weighted as Weighted
