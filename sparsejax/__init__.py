"""Sparse regularisation for JAX: certified, differentiable, batched.

State a problem, solve it, and read the certificate::

    import sparsejax as sj

    problem = sj.Problem(X, y, penalty=sj.penalties.L1(0.1), fit_intercept=True)
    solution = sj.solve(problem)
    solution.coef, solution.intercept, solution.gap

Rooms, each with a docstring of its own: ``penalties``, ``losses``, ``designs`` (what X may be),
``solvers``, ``bilevel`` (tuning by hypergradients), ``resampling`` (bootstrap, stability selection,
cross-validation), ``streaming`` (tables larger than memory), ``estimators`` (scikit-learn's
interface), ``nn`` (sparsity for Equinox networks), ``plotting``, ``datasets``, ``applications``.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import (
        applications as applications,
        bilevel as bilevel,
        datasets as datasets,
        designs as designs,
        estimators as estimators,
        losses as losses,
        nn as nn,
        penalties as penalties,
        plotting as plotting,
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

# Rooms and names are imported when they are first asked for: a program that prunes a network does
# not wait for the solvers, nor one that solves for scikit-learn.
_ROOMS = (
    *("applications", "bilevel", "datasets", "designs", "estimators", "losses", "nn"),
    *("penalties", "plotting", "resampling", "solvers", "streaming"),
)
_HOMES = {
    **dict.fromkeys(("AbstractAdjoint", "Implicit", "Unrolled"), "_adjoint"),
    **dict.fromkeys(("complex_coef", "complex_problem"), "_complex"),
    **dict.fromkeys(("Path", "path"), "_path"),
    "Problem": "_problem",
    **dict.fromkeys(("RESULTS", "Solution"), "_solution"),
    **dict.fromkeys(
        ("duality_gap", "kkt_violation", "objective", "solve", "strength_max"), "_solve"
    ),
}
__all__ = [
    "RESULTS",
    "AbstractAdjoint",
    "Implicit",
    "Path",
    "Problem",
    "Solution",
    "Unrolled",
    "applications",
    "bilevel",
    "complex_coef",
    "complex_problem",
    "datasets",
    "designs",
    "duality_gap",
    "estimators",
    "kkt_violation",
    "losses",
    "nn",
    "objective",
    "path",
    "penalties",
    "plotting",
    "resampling",
    "solve",
    "solvers",
    "streaming",
    "strength_max",
]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f".{name}", __name__)
    if name in _HOMES:
        value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
        globals()[name] = value  # from now on without this function
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
