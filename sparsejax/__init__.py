"""Sparse regularisation for JAX: certified, differentiable, batched."""

import importlib
from typing import Any

from . import (
    bilevel as bilevel,
    designs as designs,
    losses as losses,
    nn as nn,
    penalties as penalties,
    resampling as resampling,
    solvers as solvers,
    streaming as streaming,
)
from ._adjoint import (
    AbstractAdjoint as AbstractAdjoint,
    Implicit as Implicit,
    Unrolled as Unrolled,
)
from ._complex import complex_coef as complex_coef, complex_problem as complex_problem
from ._path import Path as Path, path as path
from ._problem import Problem as Problem
from ._solution import RESULTS as RESULTS, Solution as Solution
from ._solve import (
    duality_gap as duality_gap,
    kkt_violation as kkt_violation,
    objective as objective,
    solve as solve,
    strength_max as strength_max,
)

_LAZY = ("datasets", "estimators", "plotting")  # they bring scikit-learn or matplotlib


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
