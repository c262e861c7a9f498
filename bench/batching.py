"""Bootstrap Lassos against celer in a joblib loop: ``python -m bench.batching [--fast]``.

500 resamples of 200×1000 Gaussian data at λmax/20, to a relative duality gap of 1e-6, on two cores:
two processes that are warm, each with one thread. celer fits the drawn rows, copied, in joblib, 25
resamples a task; as a loop over fits would, and from the solution of all samples, as ours does.
Ours is one call of ``resampling.bootstrap`` a process, compiled before it is timed: in turn (the
default), and in batches of ``Lockstep()``; in double precision, and in single (JAX's default). The
largest gap of all resamples is computed for everyone in double precision by NumPy, from the drawn
rows.

Medians of repeats that take turns. Writes batching.csv to ``--out``.
"""

from bench.environment import pin

pin()
import argparse  # noqa: E402
import functools  # noqa: E402
import multiprocessing  # noqa: E402
import statistics  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from concurrent.futures import ProcessPoolExecutor  # noqa: E402
from pathlib import Path  # noqa: E402

import jax  # noqa: E402
import numpy as np  # noqa: E402
from celer import Lasso  # noqa: E402
from joblib import Parallel, delayed  # noqa: E402

import sparsejax as sj  # noqa: E402
from bench.gap import judge  # noqa: E402
from bench.rows import write  # noqa: E402

TOL, RATIO = 1e-6, 1 / 20
CORES, TASK, BATCH = 2, 25, 4


def make(n: int, p: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Twenty features matter; the noise has a third of the signal's norm."""
    rng = np.random.default_rng(0)
    X, coef = np.asfortranarray(rng.normal(size=(n, p))), np.zeros(p)
    coef[rng.choice(p, 20, replace=False)] = rng.normal(size=20)
    clean = X @ coef
    y = clean + np.linalg.norm(clean) / np.sqrt(n) / 3 * rng.normal(size=n)
    return X, y, RATIO * float(np.max(np.abs(X.T @ y))) / n


def celer_fits(
    X: np.ndarray, y: np.ndarray, strength: float, rows: np.ndarray, start: np.ndarray | None
) -> np.ndarray:
    # Relative to ‖y‖²/n, of which our unit is half.
    model = Lasso(strength, fit_intercept=False, tol=TOL / 2, warm_start=start is not None)
    coefs = np.zeros((len(rows), X.shape[1]), X.dtype)
    for at, coef in zip(rows, coefs, strict=True):
        if start is not None:
            model.coef_ = start.copy()
        coef[:] = model.fit(np.asfortranarray(X[at]), y[at]).coef_
    return coefs


def celer(
    X: np.ndarray, y: np.ndarray, strength: float, rows: np.ndarray, warm: bool
) -> np.ndarray:
    start = celer_fits(X, y, strength, np.arange(len(y))[None], None)[0] if warm else None
    tasks = [rows[k : k + TASK] for k in range(0, len(rows), TASK)]
    fit = delayed(celer_fits)
    fits = Parallel(n_jobs=CORES)(fit(X, y, strength, task, start) for task in tasks)
    return np.concatenate([np.asarray(found) for found in fits])


def our_fits(
    X: np.ndarray, y: np.ndarray, strength: float, num: int, seed: int, lockstep: bool
) -> tuple[np.ndarray, np.ndarray]:
    problem = sj.Problem(X, y, penalty=sj.penalties.L1(strength))
    how = {"solver": sj.solvers.Lockstep(), "batch_size": BATCH} if lockstep else {}
    fits = sj.resampling.bootstrap(problem, num, jax.random.key(seed), tol=TOL, **how)
    return np.asarray(fits.coefs), np.asarray(fits.counts)


def ours(
    X: np.ndarray, y: np.ndarray, strength: float, num: int, lockstep: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients, and how often each sample was drawn."""
    tasks = [
        process.submit(our_fits, X, y, strength, num // CORES, seed, lockstep)
        for seed, process in enumerate(_processes())
    ]
    coefs, counts = (
        np.concatenate(part) for part in zip(*(t.result() for t in tasks), strict=True)
    )
    return coefs, counts


@functools.cache
def _processes() -> list[ProcessPoolExecutor]:
    """One worker each: joblib would end those whose memory grows, as that of a compiler does."""
    spawn = multiprocessing.get_context("spawn")
    return [ProcessPoolExecutor(1, spawn) for _ in range(CORES)]


def largest_gap(
    X: np.ndarray, y: np.ndarray, strength: float, counts: np.ndarray, coefs: np.ndarray
) -> float:
    """Of all resamples, relative to the objective at zero."""
    rows = [np.repeat(np.arange(len(y)), c) for c in np.asarray(counts, int)]
    fits = zip(rows, np.asarray(coefs, float), strict=True)
    return max(judge(X[at], y[at], coef, strength).gap for at, coef in fits)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.batching", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--fast", action="store_true", help="50 resamples, one repeat")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("bench/results/batching"))
    options = parser.parse_args(arguments)
    num, repeats = (50, 1) if options.fast else (500, options.repeats)
    X, y, strength = make(200, 1000)
    ways: dict[str, Callable] = {}
    for dtype in ("float64", "float32"):
        data = X.astype(dtype, order="F"), y.astype(dtype), strength
        for name, lockstep in (("in turn", False), ("Lockstep", True)):
            ways[f"sparsejax {name}, {dtype}"] = functools.partial(ours, *data, num, lockstep)
    _, counts = next(iter(ways.values()))()
    rows = np.stack([np.repeat(np.arange(len(y)), c) for c in counts.astype(int)])
    for dtype in ("float64", "float32"):
        data = X.astype(dtype, order="F"), y.astype(dtype), strength
        for name, warm in (("celer", False), ("celer from all samples", True)):
            ways[f"{name}, {dtype}"] = functools.partial(celer, *data, rows, warm)
    found, seconds = {}, {way: [] for way in ways}
    for repeat in range(-1, repeats):
        for way, run in ways.items():
            begun = time.perf_counter()
            found[way] = run()
            if repeat >= 0:  # the first compiles, or starts processes
                seconds[way].append(time.perf_counter() - begun)
    baseline = statistics.median(seconds["celer, float64"])
    table = []
    for way, result in found.items():
        coefs = result[0] if isinstance(result, tuple) else result
        median = statistics.median(seconds[way])
        table.append(
            {
                "method": way,
                "resamples": num,
                "seconds": f"{median:.3g}",
                "fastest": f"{min(seconds[way]):.3g}",
                "slowest": f"{max(seconds[way]):.3g}",
                "celer_over_this": f"{baseline / median:.3g}",
                "largest_gap": f"{largest_gap(X, y, strength, counts, coefs):.2g}",
                "selected": f"{np.mean(np.sum(coefs != 0, axis=1)):.3g}",
            }
        )
        print("  ".join(f"{key}={value}" for key, value in table[-1].items()))
    options.out.mkdir(parents=True, exist_ok=True)
    write(table, options.out / "batching.csv")


if __name__ == "__main__":
    main()
