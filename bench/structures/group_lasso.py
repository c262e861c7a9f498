"""The group Lasso, with groups of ten."""

import numpy as np

import sparsejax as sj
from bench.adapters import GROUP
from bench.structures.case import (
    Case,
    Solver,
    adelie,
    fractions,
    regression,
    solved,
    squared_gap,
)


def group_lasso(n: int = 200, p: int = 4000) -> Case:
    X, y = regression(n, p)
    groups = np.repeat(np.arange(p // GROUP), GROUP)
    weights, design = np.ones(p // GROUP), sj.designs.as_design(X)

    def norms(c: np.ndarray) -> np.ndarray:
        return np.linalg.norm(c.reshape(-1, GROUP), axis=1)

    def error(coef: np.ndarray, strength: float) -> float:
        return squared_gap(X, y, coef, strength, norms)

    def ours(strength: float, tol: float) -> np.ndarray:
        penalty = sj.penalties.GroupL2(strength, groups, weights)
        return solved(sj.Problem(design, y, penalty=penalty), tol)

    def celer(strength: float, tol: float) -> np.ndarray:
        from celer import GroupLasso

        model = GroupLasso(GROUP, strength, tol=tol, fit_intercept=False, max_epochs=10**6)
        return model.fit(X, y).coef_

    def skglm(strength: float, tol: float) -> np.ndarray:
        from skglm import GeneralizedLinearEstimator
        from skglm.datafits import QuadraticGroup
        from skglm.penalties import WeightedGroupL2
        from skglm.solvers import GroupBCD
        from skglm.utils.data import grp_converter

        indices, pointers = grp_converter(GROUP, p)
        model = GeneralizedLinearEstimator(
            QuadraticGroup(pointers, indices),
            WeightedGroupL2(strength, weights, pointers, indices),
            GroupBCD(tol=tol, fit_intercept=False, max_iter=10_000),
        )
        return model.fit(X, y).coef_

    largest = norms(X.T @ y).max() / n
    solvers: dict[str, Solver] = {"sparsejax": ours, "celer": celer, "skglm": skglm}
    solvers |= adelie("adelie-groups", X, y)
    return Case(f"group {n}x{p}", fractions(largest), 1e-8, error, solvers)
