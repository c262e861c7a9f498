"""Group Lasso, ℓ1 logistic and multitask Lasso: ``python -m bench.structures [--fast] [--out …]``.

Warm, one thread for every library, float64, in one process; the solvers take turns. Each peer's
tolerance is tightened until an independent NumPy function certifies a relative gap of 1e-8, and
that setting is timed. Writes structures.csv: the median of ``--repeats`` runs per problem,
strength and solver, the gap that was reached, and the seconds of the first call (compilation).
"""

from bench.environment import pin

pin()

import argparse  # noqa: E402
import csv  # noqa: E402
import statistics  # noqa: E402
import time  # noqa: E402
import warnings  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import NamedTuple  # noqa: E402

import jax  # noqa: E402
import numpy as np  # noqa: E402

import sparsejax as sj  # noqa: E402

TARGET = 1e-8
RATIOS = (2, 10, 20, 50, 100)
TOLERANCES = tuple(10.0**-k for k in range(4, 15))
GROUP = 10


class Case(NamedTuple):
    """A problem: its data, its largest strength, its judge and its solvers."""

    name: str
    strength_max: float
    gap: Callable[[np.ndarray, float], float]
    solvers: dict[str, Callable[[float, float], np.ndarray]]  # (strength, tol) -> coefficients


def group_lasso(n: int = 200, p: int = 4000) -> Case:
    X, y = _regression(n, p)
    groups = np.repeat(np.arange(p // GROUP), GROUP)
    weights = np.ones(p // GROUP)

    def norms(c: np.ndarray) -> np.ndarray:
        return np.linalg.norm(c.reshape(-1, GROUP), axis=1)

    def gap(coef: np.ndarray, strength: float) -> float:
        return _squared_gap(X, y, coef, strength, norms)

    def ours(strength: float, tol: float) -> np.ndarray:
        penalty = sj.penalties.GroupL2(strength, groups, weights)
        return _solve(sj.Problem(X, y, penalty=penalty), tol)

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
    return Case(f"group {n}x{p}", largest, gap, {"sparsejax": ours, "celer": celer, "skglm": skglm})


def logistic(n: int = 500, p: int = 5000) -> Case:
    X, y = _regression(n, p)
    y = np.where(y > 0, 1.0, -1.0)
    return _logistic_case(f"logistic {n}x{p}", X, y)


def golub() -> Case:
    data = sj.datasets.load_golub()
    X = (data.X - data.X.mean(0)) / data.X.std(0)
    return _logistic_case("logistic golub", np.asfortranarray(X), np.where(data.y > 0, 1.0, -1.0))


def _logistic_case(name: str, X: np.ndarray, y: np.ndarray) -> Case:
    n = len(y)

    def gap(coef: np.ndarray, strength: float) -> float:
        z = y * (X @ coef)
        u = 1 / (1 + np.exp(z))  # minus the gradient, times n, where y = 1
        pull = X.T @ (y * u) / n
        s = min(1.0, strength / np.abs(pull).max())
        q = s * u
        dual = np.sum(_xlogy(q, u) + _xlogy(1 - q, 1 - u)) / n  # KL(s·u ‖ u)
        return (dual + np.sum(strength * np.abs(coef) - s * coef * pull)) / np.log(2)

    def ours(strength: float, tol: float) -> np.ndarray:
        problem = sj.Problem(X, y, sj.losses.Logistic(), sj.penalties.L1(strength))
        return _solve(problem, tol)

    def celer(strength: float, tol: float) -> np.ndarray:
        from celer import LogisticRegression

        model = LogisticRegression(C=1 / (n * strength), tol=tol, max_epochs=10**6)
        return model.fit(X, y).coef_.ravel()

    def skglm(strength: float, tol: float) -> np.ndarray:
        from skglm import GeneralizedLinearEstimator
        from skglm.datafits import Logistic
        from skglm.penalties import L1
        from skglm.solvers import ProxNewton

        solver = ProxNewton(tol=tol, fit_intercept=False, max_iter=1000)
        model = GeneralizedLinearEstimator(Logistic(), L1(strength), solver)
        return model.fit(X, y).coef_.ravel()

    def sklearn(strength: float, tol: float) -> np.ndarray:
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(
            l1_ratio=1.0,
            C=1 / (n * strength),
            solver="liblinear",
            fit_intercept=False,
            tol=tol,
            max_iter=10**5,
        )
        return model.fit(X, y).coef_.ravel()

    solvers = {"sparsejax": ours, "celer": celer, "skglm": skglm, "sklearn": sklearn}
    return Case(name, np.abs(X.T @ y).max() / (2 * n), gap, solvers)


def multitask(n: int = 300, p: int = 1000, tasks: int = 20) -> Case:
    rng = np.random.default_rng(0)
    X = np.asfortranarray(rng.normal(size=(n, p)))
    W = np.zeros((p, tasks))
    W[:10] = rng.normal(size=(10, tasks))
    Y = np.asfortranarray(X @ W + rng.normal(size=(n, tasks)))

    def norms(c: np.ndarray) -> np.ndarray:
        return np.linalg.norm(c, axis=1)

    def gap(coef: np.ndarray, strength: float) -> float:
        return _squared_gap(X, Y, coef, strength, norms)

    def ours(strength: float, tol: float) -> np.ndarray:
        return _solve(sj.Problem(X, Y, penalty=sj.penalties.RowL2(strength)), tol)

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
    return Case(f"multitask {n}x{p}x{tasks}", norms(X.T @ Y).max() / n, gap, solvers)


def _regression(n: int, p: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = np.asfortranarray(rng.normal(size=(n, p)))
    w = np.zeros(p)
    w[:50] = rng.normal(size=50)
    return X, X @ w + 0.5 * rng.normal(size=n)


def _squared_gap(
    X: np.ndarray, y: np.ndarray, coef: np.ndarray, strength: float, norms: Callable
) -> float:
    """The relative gap for ‖y − Xw‖²/(2n) + strength·Σ‖w_g‖, as a sum of small terms."""
    n = len(y)
    residual = y - X @ coef
    pull = X.T @ residual / n
    s = min(1.0, strength / norms(pull).max())
    fit = np.sum(residual**2) / (2 * n)
    terms = strength * norms(coef).sum() - s * np.sum(coef * pull)
    return ((1 - s) ** 2 * fit + terms) / (np.sum(y**2) / (2 * n))


def _xlogy(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    return np.where(p > 0, p * np.log(np.where(p > 0, p, 1) / q), 0.0)


def _solve(problem: sj.Problem, tol: float) -> np.ndarray:
    return np.asarray(sj.solve(problem, tol=tol, throw=False).coef)


CASES = {"group": group_lasso, "logistic": logistic, "golub": golub, "multitask": multitask}
FAST_CASES = {"group": lambda: group_lasso(40, 200), "golub": golub}


def measure(case: Case, ratio: float, repeats: int, budget: float) -> Iterator[dict]:
    """One row a solver: the cheapest setting that is certified, its median over the rounds."""
    strength = case.strength_max / ratio
    settings, first = {}, {}
    for name, solve in case.solvers.items():
        begin = time.perf_counter()
        for tol in TOLERANCES:
            start = time.perf_counter()
            try:
                reached = case.gap(solve(strength, tol), strength)
            except ImportError:
                break  # a peer that is not installed
            if name not in first:  # the budget is for tightening, not for compiling
                first[name] = time.perf_counter() - start
                begin = time.perf_counter()
            if reached <= TARGET:
                settings[name] = (tol, reached)
                break
            if time.perf_counter() - begin > budget:
                break
    times: dict[str, list[float]] = {name: [] for name in settings}
    for _ in range(repeats):
        for name, (tol, _) in settings.items():
            start = time.perf_counter()
            case.solvers[name](strength, tol)
            times[name].append(time.perf_counter() - start)
    for name in first:
        tol, reached = settings.get(name, (np.nan, np.inf))
        seconds = statistics.median(times[name]) if name in times else np.nan
        yield {
            "case": case.name,
            "ratio": ratio,
            "solver": name,
            "seconds": seconds,
            "gap": reached,
            "tol": tol,
            "first_call": first[name],
        }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.structures", description=__doc__)
    parser.add_argument("--fast", action="store_true", help="small problems, two strengths")
    parser.add_argument("--cases", nargs="+", choices=CASES, help="only these")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--budget", type=float, default=20.0, help="seconds of tightening a cell")
    parser.add_argument("--out", type=Path, default=Path("bench/results/structures"))
    options = parser.parse_args(arguments)
    jax.config.update("jax_enable_x64", True)
    warnings.simplefilter("ignore")  # peers warn whenever they stop above their tolerance
    cases = FAST_CASES if options.fast else CASES
    ratios = (2, 10) if options.fast else RATIOS
    rows: list[dict] = []
    options.out.mkdir(parents=True, exist_ok=True)
    for name, make in cases.items():
        if options.cases and name not in options.cases:
            continue
        case = make()
        for ratio in ratios:
            for row in measure(case, ratio, options.repeats, options.budget):
                print({k: f"{v:.3g}" if isinstance(v, float) else v for k, v in row.items()})
                rows.append(row)
            with open(options.out / "structures.csv", "w", newline="") as file:
                writer = csv.DictWriter(file, rows[0].keys())
                writer.writeheader()
                writer.writerows(rows)


if __name__ == "__main__":
    main()
