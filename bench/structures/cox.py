"""Cox's proportional hazards with an ℓ1 penalty, of survival times without ties."""

import numpy as np

import sparsejax as sj
from bench.structures.case import Case, fractions, regression, solved


def cox(n: int = 300, p: int = 1000) -> Case:
    X, risk = regression(n, p)
    rng = np.random.default_rng(1)
    times = rng.exponential(np.exp(-risk / risk.std()))
    events = (rng.random(n) < 0.7).astype(float)
    order = np.argsort(times)
    X, events = np.asfortranarray(X[order]), events[order]
    y = np.column_stack([times[order], events])
    design = sj.designs.as_design(X)

    def hazards(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The share of each event in its risk set, and what is expected of each sample."""
        rates = np.exp(z - z.max())
        at_risk = np.cumsum(rates[::-1])[::-1]
        return rates / at_risk, rates * np.cumsum(events / at_risk)

    def error(coef: np.ndarray, strength: float) -> float:
        shares, expected = hazards(X @ coef)
        pull = X.T @ (events - expected) / n
        s = min(1.0, strength / np.abs(pull).max())
        # KL(s·π + (1 − s)·e ‖ π) of every event e with the shares π of its risk set.
        own = s * shares + 1 - s
        others = (1 - shares) * s * np.log(s)
        dual = np.sum(events * (others + own * np.log(own / shares))) / n
        at_zero = np.sum(events * np.log(np.arange(n, 0, -1))) / n
        return (dual + np.sum(strength * np.abs(coef) - s * coef * pull)) / at_zero

    def ours(strength: float, tol: float, solver: object = None) -> np.ndarray:
        problem = sj.Problem(design, y, sj.losses.Cox(), sj.penalties.L1(strength))
        return solved(problem, tol, solver)

    def skglm(strength: float, tol: float) -> np.ndarray:
        from skglm.estimators import CoxEstimator

        model = CoxEstimator(strength, l1_ratio=1.0, method="breslow", tol=tol, max_iter=1000)
        return model.fit(X, y).coef_.ravel()

    _, expected = hazards(np.zeros(n))
    largest = np.abs(X.T @ (events - expected)).max() / n
    return Case(
        f"cox {n}x{p}",
        fractions(largest),
        1e-8,
        error,
        {
            "sparsejax": ours,
            "sparsejax-fista": lambda strength, tol: ours(strength, tol, sj.solvers.FISTA()),
            "skglm": skglm,
        },
    )
