"""Designs: what X may be, through products and column gathers."""

from ._base import AbstractDesign as AbstractDesign
from ._convert import as_design as as_design
from ._dense import Dense as Dense
from ._grid import GridDifferences as GridDifferences, Identity as Identity
from ._operator import Operator as Operator
from ._per_task import PerTask as PerTask
from ._sparse import Sparse as Sparse
from ._standardised import Standardised as Standardised, standardise as standardise
