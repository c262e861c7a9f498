"""The lists that the property tests run over: a new penalty, solver or design is one line here.

Everything is made by a function, because arrays made on import would have the wrong precision.
"""

from collections.abc import Callable, Collection
from typing import Any

import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest
import scipy.sparse
from jax.experimental import sparse as jsparse

import sparsejax as sj
from sparsejax import losses, penalties, solvers


def _weights(p: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0.5, 2.0, p)


def _with(p: int, index: int, factor: float) -> np.ndarray:
    weights = _weights(p)
    weights[index] = factor
    return weights


def _groups(p: int) -> np.ndarray:
    """Three groups, unequal and interleaved."""
    return np.array([0, 2, 0, 1, 0])[np.arange(p) % 5]


# (strength, number of features) -> penalty; a strength of one is a penalty of order one.
SEPARABLE: dict[str, Callable[[float, int], Any]] = {
    "l1": lambda s, p: penalties.L1(s),
    "l1-weights": lambda s, p: penalties.L1(s, weights=_weights(p)),
    "l1-zero-weight": lambda s, p: penalties.L1(s, weights=_with(p, 1, 0.0)),
    "l1-infinite-weight": lambda s, p: penalties.L1(s, weights=_with(p, 0, np.inf)),
    "l1-nonnegative": lambda s, p: penalties.L1(s, nonnegative=True),
    "elastic-net": lambda s, p: penalties.ElasticNet(s, 0.7),
    "elastic-net-nonnegative": lambda s, p: penalties.ElasticNet(s, 0.5, nonnegative=True),
    "elastic-net-ridge": lambda s, p: penalties.ElasticNet(s, 0.0),
    "elastic-net-lasso": lambda s, p: penalties.ElasticNet(s, 1.0),
    "box": lambda s, p: penalties.Box(-0.1 * s, 0.2 * s),
    "box-vector": lambda s, p: penalties.Box(-s * _weights(p), np.full(p, s)),
    "box-nonnegative": lambda s, p: penalties.Box(0.0, np.inf),
}
# Sums over groups: not coordinate by coordinate, but good enough for working sets.
GROUPED: dict[str, Callable[[float, int], Any]] = {
    "group-l2": lambda s, p: penalties.GroupL2(s, _groups(p)),
    "group-l2-weights": lambda s, p: penalties.GroupL2(s, _groups(p), [0.5, 0.0, np.inf]),
    "sparse-group": lambda s, p: penalties.SparseGroup(s, _groups(p), 0.3),
    "sparse-group-weights": lambda s, p: penalties.SparseGroup(s, _groups(p), 0.3, [0, 1, np.inf]),
    "sparse-group-l2": lambda s, p: penalties.SparseGroup(s, _groups(p), 0.0),
    "sparse-group-l1": lambda s, p: penalties.SparseGroup(s, _groups(p), 1.0),
}
STRUCTURED: dict[str, Callable[[float, int], Any]] = GROUPED | {
    "slope": lambda s, p: penalties.SLOPE(s * np.linspace(1.0, 0.2, p)),
    "slope-constant": lambda s, p: penalties.SLOPE(s * np.ones(p)),
    "slope-zeros": lambda s, p: penalties.SLOPE(s * (np.arange(p) < 2)),
    "linf": lambda s, p: penalties.Linf(s),
    "group-linf": lambda s, p: penalties.GroupLinf(s, _groups(p)),
    "group-linf-weights": lambda s, p: penalties.GroupLinf(s, _groups(p), [0.5, 0.0, 2.0]),
    "group-linf-infinite": lambda s, p: penalties.GroupLinf(s, _groups(p), [0.5, 1.0, np.inf]),
    "k-support": lambda s, p: penalties.KSupport(s, 2),
    "total-variation": lambda s, p: penalties.TotalVariation(s),
    "fused-lasso": lambda s, p: penalties.FusedLasso(s, 0.3),
    "fused-lasso-l1": lambda s, p: penalties.FusedLasso(s, 1.0),
    "row-l2": lambda s, p: penalties.RowL2(s),
    "row-l2-weights": lambda s, p: penalties.RowL2(s, _with(p, 1, 0.0)),
    "nuclear": lambda s, p: penalties.Nuclear(s),
    "schatten": lambda s, p: penalties.Schatten(s, 1.5),
    "simplex": lambda s, p: penalties.Simplex(s),
}
# Of a class that others of its cases stand for where not all are run: an option more or less.
VARIANTS = {
    "elastic-net-nonnegative",
    "elastic-net-lasso",
    "box-vector",
    "sparse-group-weights",
    "sparse-group-l2",
    "sparse-group-l1",
    "slope-constant",
    "slope-zeros",
    "group-linf-weights",
    "fused-lasso-l1",
}
PENALTIES = SEPARABLE | STRUCTURED  # convex: what has a conjugate, a gap, a unique prox
# Not convex; sums over coefficients all the same.
CONCAVE: dict[str, Callable[[float, int], Any]] = {
    "mcp": lambda s, p: penalties.MCP(s),
    "mcp-steep": lambda s, p: penalties.MCP(s, gamma=0.5),
    "scad": lambda s, p: penalties.SCAD(s),
    "scad-steep": lambda s, p: penalties.SCAD(s, gamma=1.1),
    "capped-l1": lambda s, p: penalties.CappedL1(s, 0.8),
    "log-sum": lambda s, p: penalties.LogSum(s, 0.3),
    "log-sum-wide": lambda s, p: penalties.LogSum(s, 5.0),
    "lq-half": lambda s, p: penalties.Lq(s, 1 / 2),
    "lq-two-thirds": lambda s, p: penalties.Lq(s, 2 / 3),
    "lq": lambda s, p: penalties.Lq(s, 0.3),
    "l0": lambda s, p: penalties.L0(s),
    "mcp-weights": lambda s, p: penalties.Weighted(penalties.MCP(s), _weights(p)),
    "lq-zero-weight": lambda s, p: penalties.Weighted(penalties.Lq(s, 1 / 2), _with(p, 0, 0.0)),
}
# Those whose parametrisation differs enough for solvers to care, one compilation each.
SOLVER_PENALTIES = [
    "l1",
    "l1-zero-weight",
    "l1-infinite-weight",
    "l1-nonnegative",
    "elastic-net",
    "box",
    "box-nonnegative",
]


def _signs(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.permutation(np.where(np.arange(n) % 2, 1.0, -1.0))


def _probabilities(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.concatenate([np.eye(3)[:2], rng.dirichlet(np.ones(3), n - 2)])


def _normal(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.normal(size=n)


def _counts(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.poisson(2.0, n).astype(float)


def _survival(rng: np.random.Generator, n: int) -> np.ndarray:
    """Times with ties among them, the first an event."""
    events = (rng.random(n) < 0.7) * 1.0
    events[0] = 1.0
    return np.column_stack([rng.integers(1, n // 2 + 2, n).astype(float), events])


# name -> (sample weights -> loss, (generator, number of samples) -> targets)
LOSSES: dict[str, tuple[Callable[[Any], Any], Callable[[np.random.Generator, int], Any]]] = {
    "squared": (lambda w: losses.Squared(sample_weight=w), _normal),
    "huber": (lambda w: losses.Huber(0.7, w), _normal),
    "logistic": (lambda w: losses.Logistic(sample_weight=w), _signs),
    "poisson": (
        lambda w: losses.Poisson(sample_weight=w),
        _counts,
    ),
    "gamma": (lambda w: losses.Gamma(sample_weight=w), lambda rng, n: rng.gamma(2.0, size=n)),
    "squared-hinge": (lambda w: losses.SquaredHinge(sample_weight=w), _signs),
    "hinge": (lambda w: losses.Hinge(sample_weight=w), _signs),
    "quantile": (lambda w: losses.Quantile(0.3, w), _normal),
    "square-root": (
        lambda w: losses.SquareRoot(sample_weight=w),
        _normal,
    ),
    "equality": (lambda w: losses.Equality(sample_weight=w), _normal),
    "multinomial": (lambda w: losses.Multinomial(sample_weight=w), _probabilities),
    "cox-efron": (lambda w: losses.Cox("efron", w), _survival),
    "cox": (lambda w: losses.Cox("breslow", w), _survival),
}

SOLVERS: dict[str, Callable[[], Any]] = {
    "working-set": solvers.WorkingSet,
    "fista": solvers.FISTA,
    "coordinate-descent": solvers.CoordinateDescent,
    "varpro": solvers.VarPro,
    "working-set-varpro": lambda: solvers.WorkingSet(inner=solvers.VarPro()),
}


def _function_operator(X: np.ndarray) -> lx.FunctionLinearOperator:
    matrix = jnp.asarray(X)
    structure = jax.ShapeDtypeStruct((X.shape[1],), matrix.dtype)
    return lx.FunctionLinearOperator(lambda w: matrix @ w, structure)


def _jax_sparse(X: np.ndarray) -> jsparse.BCOO:
    return jsparse.BCOO.fromdense(jnp.asarray(X))


def _duplicated(X: np.ndarray) -> jsparse.BCOO:
    rows, cols = np.nonzero(X)
    indices = np.stack([np.tile(rows, 2), np.tile(cols, 2)], axis=1)
    data = np.tile(X[rows, cols] / 2, 2)
    return jsparse.BCOO((jnp.asarray(data), jnp.asarray(indices)), shape=X.shape)


# NumPy matrix -> anything that Problem takes as X and that stands for the same matrix.
DESIGNS: dict[str, Callable[[np.ndarray], Any]] = {
    "numpy": lambda X: X,
    "numpy-fortran": np.asfortranarray,
    "list": lambda X: X.tolist(),
    "jax": jnp.asarray,
    "bcoo": _jax_sparse,
    "bcoo-duplicates": _duplicated,
    "bcoo-padded": lambda X: jsparse.BCOO.fromdense(jnp.asarray(X), nse=np.count_nonzero(X) + 3),
    "bcsr": lambda X: jsparse.BCSR.fromdense(jnp.asarray(X)),
    "csr": scipy.sparse.csr_array,
    "csc": scipy.sparse.csc_array,
    "coo": scipy.sparse.coo_array,
    "csr-matrix": scipy.sparse.csr_matrix,
    "lineax-matrix": lambda X: lx.MatrixLinearOperator(jnp.asarray(X)),
    "lineax-function": _function_operator,
    "shifted": lambda X: sj.designs.Standardised(
        sj.designs.as_design(3 * X + 1), jnp.ones(X.shape[1]), jnp.full(X.shape[1], 3.0)
    ),
}
SPARSE_DESIGNS = ["bcoo", "bcoo-duplicates", "bcoo-padded", "bcsr", "csr", "csc", "coo"]


def refusal(solver: Any, problem: sj.Problem) -> str | None:
    """Why the solver does not take the problem, or None if it does."""
    try:
        solver.check(problem)
    except TypeError as error:
        return str(error)
    return None


def skip_unless_supported(solver: Any, problem: sj.Problem) -> None:
    if reason := refusal(solver, problem):
        pytest.skip(reason)


def each(
    names: str, cases: dict[str, Any], slow: Collection[str] = VARIANTS
) -> pytest.MarkDecorator:
    """Run a test for every case; for some of them only where slow tests are run."""
    return pytest.mark.parametrize(
        names,
        [
            pytest.param(
                *(case if isinstance(case, tuple) else (case,)),
                id=name,
                marks=[pytest.mark.slow] * (name in slow),
            )
            for name, case in cases.items()
        ],
    )


_MADE = {name: make() for name, make in SOLVERS.items()}
# VarPro compiles for long; its rows have tests of their own.
every_solver = each("solver", _MADE, {name for name in _MADE if "varpro" in name})
# Where what is tested does not depend on how a solver works.
the_main_solver = each("solver", _MADE, _MADE.keys() - {"working-set"})
