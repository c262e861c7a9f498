"""Sparse regularisation for JAX: certified, differentiable, batched."""

from . import designs as designs, losses as losses, penalties as penalties, solvers as solvers
from ._adjoint import AbstractAdjoint as AbstractAdjoint, Implicit as Implicit
from ._problem import Problem as Problem
from ._solution import RESULTS as RESULTS, Solution as Solution
from ._solve import (
    duality_gap as duality_gap,
    kkt_violation as kkt_violation,
    objective as objective,
    solve as solve,
    strength_max as strength_max,
)
