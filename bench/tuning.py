"""Tuning by hypergradients against grids: ``python -m bench.tuning [--fast]``.

One thread for everyone, float64, compiled before it is timed, medians of repeats.

* ``grid``: the strength of the Lasso by 5-fold cross-validation. ``tune`` starts at a tenth of the
  largest strength; its rivals have a grid of 100 strengths down to a hundredth of the largest, on
  the same folds: our own compiled path, scikit-learn's ``LassoCV`` and a loop over celer's paths.
  sparse-ho descends from the same start, in ten steps as in its examples, where it is found: it is
  on no index (``git clone https://github.com/QB3/sparse-ho``, its folder in ``PYTHONPATH``, and
  ``pip install hyperopt``, which it imports).
  The criterion reached is relative to the best of all; seeds make the data.
* ``features``: a strength for each of 1000 features, tuned on held-out data from the best single
  strength; the error on test data relative to that of the single one, over seeds, with a 95 %
  bootstrap interval of the mean.
* ``sure``: the strength by SURE (σ known) and by 5-fold cross-validation: squared error to the
  noiseless targets relative to the best strength of a grid of 100 in hindsight, over seeds.

Writes tuning.csv and tuning_seeds.csv to ``--out``; rows of other parts, cases and seeds stay.
"""

from bench.environment import pin

pin()

import argparse  # noqa: E402
import importlib.util  # noqa: E402
import statistics  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import NamedTuple  # noqa: E402

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from sklearn.linear_model import LassoCV  # noqa: E402
from sklearn.model_selection import KFold  # noqa: E402

import sparsejax as sj  # noqa: E402
from bench import rows as files  # noqa: E402

FOLDS, GRID, RATIO, TOL = 5, 100, 1e-2, 1e-6
FEATURES_STEPS = 60


class Data(NamedTuple):
    X: np.ndarray
    y: np.ndarray
    clean: np.ndarray  # the targets without noise
    sigma: float


def make(n: int, p: int, seed: int, rho: float = 0.0, nonzeros: int = 20) -> Data:
    """AR(1) features; the noise has a third of the signal's norm."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    if rho:
        for j in range(1, p):
            X[:, j] = rho * X[:, j - 1] + np.sqrt(1 - rho**2) * X[:, j]
    coef = np.zeros(p)
    coef[rng.choice(p, nonzeros, replace=False)] = rng.normal(size=nonzeros)
    clean = X @ coef
    sigma = float(np.linalg.norm(clean) / np.sqrt(n) / 3)
    return Data(np.asfortranarray(X), clean + sigma * rng.normal(size=n), clean, sigma)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.tuning", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--fast", action="store_true", help="smaller data, two seeds")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument(
        "--cases", nargs="+", choices=CASES, help="of the grid", default=list(CASES)
    )
    parser.add_argument("--seeds", nargs="+", type=int, help="0 to 4 if not told")
    parser.add_argument("--out", type=Path, default=Path("bench/results/tuning"))
    options = parser.parse_args(arguments)
    seeds = options.seeds or list(range(2 if options.fast else 5))
    options.out.mkdir(parents=True, exist_ok=True)
    rows = [_numbers(row) for row in files.read(options.out / "tuning_seeds.csv")]
    cases = {name: CASES[name] for name in options.cases}
    for part in options.parts:
        for found in PARTS[part](options.fast, seeds, cases):
            row = dict.fromkeys(COLUMNS, "") | {"part": part, **found}
            print("  ".join(f"{key}={_shown(value)}" for key, value in row.items()))
            updated = files.updated(rows, [row], ("part", "case", "seed", "method"))
            rows = sorted(updated, key=_order)
            files.write(rows, options.out / "tuning_seeds.csv")
    summary = summarise(rows)
    files.write(summary, options.out / "tuning.csv")
    for row in summary:
        print("  ".join(f"{key}={_shown(value)}" for key, value in row.items()))


def grid(fast: bool, seeds: list[int], cases: dict) -> Iterator[dict]:
    """Criterion and seconds of every way to choose one strength."""
    cases = {"200x2000": (200, 2000, 0.0)} if fast else cases
    for name, (n, p, rho) in cases.items():
        for seed in seeds:
            data = make(n, p, seed, rho)
            problem = sj.Problem(data.X, data.y, penalty=sj.penalties.L1(1.0), fit_intercept=True)
            largest = float(sj.strength_max(problem))
            grid = largest * np.geomspace(1, RATIO, GRID)
            start = problem_at(problem, largest / 10)
            ways: dict[str, Callable[[], float]] = {
                "tune": lambda start=start: float(
                    sj.bilevel.tune(
                        start, sj.bilevel.KFold(FOLDS), steps=15, tol=TOL
                    ).problem.penalty.strength
                ),
                "grid": lambda d=data, g=grid: float(
                    sj.estimators.LassoCV(alphas=g, cv=FOLDS, tol=TOL).fit(d.X, d.y).alpha_
                ),
                "scikit-learn": lambda d=data, g=grid: float(
                    LassoCV(alphas=g, cv=FOLDS, tol=TOL, max_iter=10**5).fit(d.X, d.y).alpha_
                ),
                "celer": lambda d=data, g=grid: celer_grid(d, g),
            }
            if importlib.util.find_spec("sparse_ho"):
                ways["sparse-ho"] = lambda d=data, s=largest / 10: sparse_ho_descent(d, s)
            found = {way: timed(run, 1 if n * p > 10**6 else 3) for way, run in ways.items()}
            errors = {way: held_out(problem, strength) for way, (strength, _) in found.items()}
            best = min(errors.values())
            for way, (strength, seconds) in found.items():
                yield {
                    "case": name,
                    "seed": seed,
                    "method": way,
                    "seconds": seconds,
                    "over_grid": seconds / found["grid"][1],
                    "criterion": errors[way] / best,
                    "strength": strength / largest,
                }


CASES = {
    "200x2000": (200, 2000, 0.0),
    "200x10000": (200, 10000, 0.0),
    "500x3000 ρ=.9": (500, 3000, 0.9),
}


def features(fast: bool, seeds: list[int], _: dict) -> Iterator[dict]:
    """A strength for every feature against one for all, on data that neither has seen."""
    n, p = (60, 100) if fast else (200, 1000)
    for seed in seeds:
        data = make(3 * n, p, seed, 0.0, 10)
        parts = [slice(k * n, (k + 1) * n) for k in range(3)]
        (train, held, test) = ((data.X[part], data.y[part]) for part in parts)
        penalty = sj.penalties.L1(1.0, weights=np.ones(p))
        problem = sj.Problem(*train, penalty=penalty, fit_intercept=True)
        criterion = sj.bilevel.Holdout(*held)
        start = problem_at(problem, float(sj.strength_max(problem)) / 5)
        begun = time.perf_counter()
        single = sj.bilevel.tune(start, criterion, tol=1e-8)
        every = sj.bilevel.tune(single.problem, criterion, FEATURES_STEPS, where=_weights, tol=1e-8)
        jax.block_until_ready((single, every))
        seconds = time.perf_counter() - begun  # with compilation, for the first seed
        errors = [
            float(np.mean((test[1] - test[0] @ s.coef - s.intercept) ** 2))
            for s in (single.solution, every.solution)
        ]
        yield {
            "case": f"{n}x{p}",
            "seed": seed,
            "method": "tune",
            "seconds": seconds,
            "criterion": float(every.history.values.min() / single.history.values.min()),
            "test_error": errors[1] / errors[0],
        }


def sure(fast: bool, seeds: list[int], _: dict) -> Iterator[dict]:
    """Risk of the strengths that SURE and cross-validation choose, over the best in hindsight."""
    n, p = (60, 100) if fast else (200, 1000)
    for seed in seeds:
        data = make(n, p, seed)
        problem = sj.Problem(data.X, data.y, penalty=sj.penalties.L1(1.0), fit_intercept=True)
        solutions = sj.path(problem, num=GRID, ratio=1e-3, tol=TOL)
        fits = np.asarray(solutions.coefs) @ data.X.T + np.asarray(solutions.intercepts)[:, None]
        best = np.min(np.mean((fits - data.clean) ** 2, axis=1))
        start = problem_at(problem, float(solutions.strengths[0]) / 10)
        for name, criterion in {
            "SURE": sj.bilevel.SURE(data.sigma),
            "SURE, 5 probes": sj.bilevel.SURE(data.sigma, probes=5),
            "KFold": sj.bilevel.KFold(FOLDS),
        }.items():
            run = lambda start=start, c=criterion: sj.bilevel.tune(start, c, tol=1e-8)  # noqa: E731
            tuned, seconds = timed(run, 1)
            fit = data.X @ tuned.solution.coef + tuned.solution.intercept
            risk = float(np.mean((fit - data.clean) ** 2))
            yield {
                "case": f"{n}x{p}",
                "seed": seed,
                "method": name,
                "seconds": seconds,
                "risk": risk / best,
            }


COLUMNS = (
    *("part", "case", "seed", "method", "seconds", "over_grid", "criterion", "strength"),
    *("test_error", "risk"),
)
PARTS = {"grid": grid, "features": features, "sure": sure}


def problem_at(problem: sj.Problem, strength: float) -> sj.Problem:
    penalty = problem.penalty.with_strength(jnp.asarray(strength))
    return sj.Problem(problem.X, problem.y, problem.loss, penalty, problem.fit_intercept)


def _weights(problem: sj.Problem) -> jax.Array:
    return problem.penalty.weights


def celer_grid(data: Data, grid: np.ndarray) -> float:
    """What celer's LassoCV would do, if it worked with scikit-learn as it is now."""
    from celer import celer_path

    errors = np.zeros(len(grid))
    for train, test in KFold(FOLDS).split(data.X):
        X, y = data.X[train], data.y[train]
        means, mean = X.mean(axis=0), y.mean()
        centred = np.asfortranarray(X - means)
        coefs = celer_path(centred, y - mean, "lasso", alphas=grid, tol=TOL)[1]
        fits = (data.X[test] - means) @ coefs + mean
        errors += np.mean((data.y[test][:, None] - fits) ** 2, axis=0) / 2 / FOLDS
    return float(grid[np.argmin(errors)])


def sparse_ho_descent(data: Data, start: float) -> float:
    """The best strength that sparse-ho meets, of a Lasso of centred data: it has no intercept."""
    from celer import Lasso
    from sparse_ho import ImplicitForward, grad_search, models
    from sparse_ho.criterion import CrossVal, HeldOutMSE
    from sparse_ho.optimizers import GradientDescent
    from sparse_ho.utils import Monitor

    X, y = np.asfortranarray(data.X - data.X.mean(axis=0)), data.y - data.y.mean()
    model = models.Lasso(Lasso(fit_intercept=False, warm_start=True))
    criterion = CrossVal(HeldOutMSE(None, None), cv=KFold(FOLDS))
    optimizer, monitor = GradientDescent(n_outer=10, tol=TOL), Monitor()
    grad_search(ImplicitForward(), criterion, model, optimizer, X, y, start, monitor)
    return float(np.ravel(monitor.alphas[int(np.argmin(monitor.objs))])[0])


def held_out(problem: sj.Problem, strength: float) -> float:
    """The criterion at a strength, to high accuracy."""
    criterion = sj.bilevel.KFold(FOLDS)
    return float(_criterion(criterion, problem_at(problem, strength)))


@jax.jit
def _criterion(criterion: sj.bilevel.KFold, problem: sj.Problem) -> jax.Array:
    return criterion.value(problem, criterion.start(problem), 1e-10)[0]


def timed(run: Callable[[], object], repeats: int) -> tuple:
    """The result and the median of seconds, after a call that compiles."""
    result, seconds = run(), []
    jax.block_until_ready(result)
    for _ in range(repeats):
        begun = time.perf_counter()
        jax.block_until_ready(run())
        seconds.append(time.perf_counter() - begun)
    return result, statistics.median(seconds)


def summarise(rows: list[dict]) -> list[dict]:
    """Medians of seconds and means with intervals of the rest, per case and method."""
    keys = dict.fromkeys((row["part"], row["case"], row["method"]) for row in rows)
    summary = []
    for part, case, method in keys:
        chosen = [r for r in rows if (r["part"], r["case"], r["method"]) == (part, case, method)]
        line = {"part": part, "case": case, "method": method, "seeds": len(chosen)}
        line["seconds"] = statistics.median(r["seconds"] for r in chosen)
        for name in ("over_grid", "criterion", "risk", "test_error"):
            values = np.array([r[name] for r in chosen if r[name] != ""])
            known = values.size > 0
            line[name] = float(values.mean()) if known else ""
            low, high = interval(values) if known else ("", "")
            line[f"{name}_low"], line[f"{name}_high"] = low, high
        summary.append(line)
    return summary


def interval(values: np.ndarray) -> tuple[float, float]:
    """95 % bootstrap interval of the mean."""
    draws = np.random.default_rng(0).choice(values, (10_000, len(values))).mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)


def _order(row: dict) -> tuple:
    """By part, case and seed; methods as they came."""
    return list(PARTS).index(row["part"]), [*CASES, row["case"]].index(row["case"]), row["seed"]


def _numbers(row: dict[str, str]) -> dict:
    texts = ("part", "case", "method")
    values = {k: v if k in texts or v == "" else float(v) for k, v in row.items()}
    return values | {"seed": int(row["seed"])}


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
