"""The multitask Lasso, sparse in whole rows."""

import numpy as np

import sparsejax as sj
from bench.structures.case import Case, fractions, solved, squared_gap


def multitask(n: int = 300, p: int = 1000, tasks: int = 20, rows: int = 10) -> Case:
    rng = np.random.default_rng(0)
    X = np.asfortranarray(rng.normal(size=(n, p)))
    W = np.zeros((p, tasks))
    W[:rows] = rng.normal(size=(rows, tasks))
    Y = np.asfortranarray(X @ W + rng.normal(size=(n, tasks)))

    def norms(c: np.ndarray) -> np.ndarray:
        return np.linalg.norm(c, axis=1)

    def error(coef: np.ndarray, strength: float) -> float:
        return squared_gap(X, Y, coef, strength, norms)

    design = sj.designs.as_design(X)

    def ours(strength: float, tol: float) -> np.ndarray:
        return solved(sj.Problem(design, Y, penalty=sj.penalties.RowL2(strength)), tol)

    def skglm(strength: float, tol: float) -> np.ndarray:
        from skglm.datafits import QuadraticMultiTask
        from skglm.penalties import L2_1
        from skglm.solvers import MultiTaskBCD

        solver = MultiTaskBCD(tol=tol, fit_intercept=False, max_iter=10_000)
        return solver.solve(X, Y, QuadraticMultiTask(), L2_1(strength))[0]

    def sklearn(strength: float, tol: float) -> np.ndarray:
        from sklearn.linear_model import MultiTaskLasso

        model = MultiTaskLasso(strength, tol=tol, fit_intercept=False, max_iter=10**6)
        return model.fit(X, Y).coef_.T

    def celer(strength: float, tol: float) -> np.ndarray:
        from celer.homotopy import mtl_path  # its estimator asks scikit-learn for what is gone

        path = mtl_path(X, Y, alphas=[strength], tol=tol, max_iter=100, max_epochs=10**6)
        return path[1][:, :, 0].T

    solvers = {"sparsejax": ours, "celer": celer, "skglm": skglm, "sklearn": sklearn}
    largest = norms(X.T @ Y).max() / n
    return Case(f"multitask {n}x{p}x{tasks}", fractions(largest), 1e-8, error, solvers)
