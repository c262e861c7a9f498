"""Hard constraints: basis pursuit, and optimal transport on graphs as Beckmann's flow."""

import numpy as np
import scipy.optimize
import scipy.sparse
import scipy.spatial

import sparsejax as sj
from bench.structures.case import Case, Solver, solved

FEASIBILITY, SUBOPTIMALITY = 1e-9, 1e-7


def basis_pursuit(n: int = 200, p: int = 10_000) -> Case:
    """A vector of twenty spikes from Gaussian measurements."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, p)) / np.sqrt(n)
    w = np.zeros(p)
    w[:20] = rng.normal(size=20)
    return _case(f"basis pursuit {n}x{p}", X, X @ w, np.ones(p))


def neighbours(num_points: int = 1000) -> Case:
    """Transport between two halves of a 5-nearest-neighbour graph of random points."""
    points = np.random.default_rng(0).random((num_points, 2))
    _, near = scipy.spatial.cKDTree(points).query(points, 6)
    pairs = np.stack([np.repeat(np.arange(num_points), 5), near[:, 1:].ravel()], 1)
    return _transport("5 neighbours", points, np.unique(np.sort(pairs, 1), axis=0))


def mesh(side: int = 32) -> Case:
    """The same on a triangulated square."""
    grid = np.stack(np.meshgrid(*2 * [np.linspace(0, 1, side)]), -1).reshape(-1, 2)
    points = grid + 0.2 / side * np.random.default_rng(0).normal(size=grid.shape)
    triangles = scipy.spatial.Delaunay(points).simplices
    pairs = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    return _transport("mesh", points, np.unique(np.sort(pairs, 1), axis=0))


def _transport(name: str, points: np.ndarray, edges: np.ndarray) -> Case:
    """min Σ length·|flow| with div flow = μ − ν, mass moving from left to right."""
    m, size = len(points), len(edges)
    ends = (edges.ravel(), np.repeat(np.arange(size), 2))
    div = scipy.sparse.csc_array((np.tile([1.0, -1.0], size), ends), shape=(m, size))
    lengths = np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1)
    left = points[:, 0] < np.median(points[:, 0])
    mass = np.where(left, 1 / left.sum(), -1 / (~left).sum())
    return _case(f"transport, {name} ({m} nodes, {size} edges)", div, mass, lengths)


def _case(
    name: str, X: np.ndarray | scipy.sparse.csc_array, y: np.ndarray, cost: np.ndarray
) -> Case:
    p = X.shape[1]

    def highs(strength: float, tol: float) -> np.ndarray:
        del strength
        stack = scipy.sparse.hstack if scipy.sparse.issparse(X) else np.hstack
        options = {"primal_feasibility_tolerance": tol, "dual_feasibility_tolerance": tol}
        found = scipy.optimize.linprog(
            np.tile(cost, 2), A_eq=stack([X, -X]), b_eq=y, method="highs", options=options
        )
        return found.x[:p] - found.x[p:]

    def clarabel(strength: float, tol: float) -> np.ndarray:
        import cvxpy as cp

        del strength
        w = cp.Variable(p)
        programme = cp.Problem(cp.Minimize(cost @ cp.abs(w)), [X @ w == y])
        programme.solve(cp.CLARABEL, tol_gap_abs=tol, tol_gap_rel=tol, tol_feas=tol)
        return w.value

    best = cost @ np.abs(highs(1.0, 1e-10))

    def error(coef: np.ndarray, strength: float) -> float:
        """In units of what is allowed: at most one."""
        del strength
        infeasible = np.linalg.norm(X @ coef - y) / max(1.0, np.linalg.norm(y))
        value = abs(cost @ np.abs(coef) - best) / best
        return max(infeasible / FEASIBILITY, value / SUBOPTIMALITY)

    def ours(solver: object) -> Solver:
        def solve(strength: float, tol: float) -> np.ndarray:
            penalty = sj.penalties.L1(strength, weights=cost)
            return solved(sj.Problem(X, y, sj.losses.Equality(), penalty), tol, solver)

        return solve

    solvers = {
        "sparsejax": ours(None),
        "sparsejax PrimalDual": ours(sj.solvers.PrimalDual()),
        "HiGHS": highs,
        "Clarabel": clarabel,
    }
    return Case(name, {"λ = 0": 1.0}, 1.0, error, solvers)
