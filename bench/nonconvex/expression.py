"""MCP and SCAD on gene expression (Golub et al., 38 patients, 3051 genes) against skglm."""

from collections.abc import Iterator

import numpy as np

import sparsejax as sj
from bench.structures.__main__ import cell
from bench.structures.case import Case, Solver, fractions, solved

TARGET = 1e-8  # KKT violation relative to the strength
SHAPES = {"MCP": 3.0, "SCAD": 3.7}
RATIOS = (2, 5, 10, 20, 50)


def case(name: str) -> Case:
    """The penalty's problem, judged by its KKT violation in NumPy."""
    data = sj.datasets.load_golub()
    X = np.asfortranarray((data.X - data.X.mean(0)) / data.X.std(0))
    y = np.asarray(data.y - data.y.mean(), float)
    gamma, n = SHAPES[name], len(y)

    def error(coef: np.ndarray, strength: float) -> float:
        pull = X.T @ (y - X @ coef) / n
        moving = np.abs(pull - np.sign(coef) * slope(name, np.abs(coef), strength))
        resting = np.maximum(np.abs(pull) - strength, 0)
        return np.max(np.where(coef == 0, resting, moving)) / strength

    def ours(solver: object) -> Solver:
        def solve(strength: float, tol: float) -> np.ndarray:
            penalty = getattr(sj.penalties, name)(strength, gamma)
            return solved(sj.Problem(X, y, penalty=penalty), tol, solver)

        return solve

    def skglm(strength: float, tol: float) -> np.ndarray:
        from skglm import penalties
        from skglm.datafits import Quadratic
        from skglm.solvers import AndersonCD

        penalty = getattr(penalties, {"MCP": "MCPenalty"}.get(name, name))(strength, gamma)
        # Its tolerance is for the violation itself.
        solver = AndersonCD(tol=tol * strength, fit_intercept=False, max_iter=1000)
        return solver.solve(X, y, Quadratic(), penalty)[0]

    solvers = {
        "sparsejax": ours(None),
        "sparsejax MultiStage": ours(sj.solvers.MultiStage()),
        "skglm": skglm,
    }
    strengths = fractions(np.abs(X.T @ y).max() / n, RATIOS)
    return Case(f"{name} golub", strengths, TARGET, error, solvers)


def slope(name: str, size: np.ndarray, strength: float) -> np.ndarray:
    """Of the penalty as a function of |w|."""
    gamma = SHAPES[name]
    if name == "MCP":
        return np.maximum(strength - size / gamma, 0)
    return np.clip((gamma * strength - size) / (gamma - 1), 0, strength)


def value(name: str, size: np.ndarray, strength: float) -> np.ndarray:
    """The penalty as a function of |w|: MCP is flat from γλ on, SCAD too, and straight up to λ."""
    gamma = SHAPES[name]
    end = gamma * strength
    if name == "MCP":
        curved = np.minimum(size, end)
        return strength * curved - curved**2 / (2 * gamma)
    straight, curved = np.minimum(size, strength), np.clip(size, strength, end)
    return strength * straight + ((end - strength) ** 2 - (end - curved) ** 2) / (2 * (gamma - 1))


def objective(name: str, coef: np.ndarray, strength: float) -> float:
    data = sj.datasets.load_golub()
    X, y = (data.X - data.X.mean(0)) / data.X.std(0), data.y - data.y.mean()
    return np.mean((y - X @ coef) ** 2) / 2 + value(name, np.abs(coef), strength).sum()


def rows(ratios: int, repeats: int, budget: float) -> Iterator[dict]:
    """One row a penalty, strength and solver, with the objective reached."""
    for name in SHAPES:
        problem = case(name)
        for label, strength in list(problem.strengths.items())[:ratios]:
            for row in cell(problem, label, repeats, budget):
                tol = row["tol"] if np.isfinite(row["tol"]) else TARGET
                coef = problem.solvers[row["solver"]](strength, tol)
                row["violation"] = problem.error(coef, strength)
                row["objective"] = objective(name, coef, strength)
                row["nonzeros"] = int(np.count_nonzero(coef))
                yield row


def verdicts(rows: list[dict]) -> Iterator[str]:
    """Of each of our solvers: its time and its objective relative to skglm's."""
    cells = {(row["case"], row["strength"], row["solver"]): row for row in rows}
    for solver in dict.fromkeys(row["solver"] for row in rows if row["solver"] != "skglm"):
        pairs = [
            (row, cells[case, strength, "skglm"])
            for (case, strength, name), row in cells.items()
            if name == solver and (case, strength, "skglm") in cells
        ]
        if not pairs:
            continue
        ratios = [ours["seconds"] / theirs["seconds"] for ours, theirs in pairs]
        values = [ours["objective"] / theirs["objective"] - 1 for ours, theirs in pairs]
        higher = sum(value > 1e-8 for value in values)
        lower = sum(value < -1e-8 for value in values)
        mean, reached = np.exp(np.nanmean(np.log(ratios))), np.isfinite(ratios).sum()
        yield (
            f"{solver} / skglm: time {mean:.2f} (geometric mean, {reached} of {len(pairs)}); "
            f"objective lower in {lower}, higher in {higher}, equal in the others: "
            f"{100 * min(values):.1f} % to {100 * max(values):+.1f} %"
        )
