"""Sparse designs of up to a million features: ``python -m bench.large [--fast] [--out …]``.

Each solver in a process of its own, tightened until an independent NumPy judge finds a relative
gap of 1e-6 or less. Writes large.csv: seconds of the first call (compilation included, at
λmax/2) and of the one that met the target (after it, not repeated), the gap, the size of the
support, and the memory that the process took beyond the data and its imports, at its peak.
"""

from bench.environment import pin

pin()

import argparse  # noqa: E402
import tempfile  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import scipy.sparse  # noqa: E402

from bench import designs, measure  # noqa: E402
from bench.gap import judge, strength_max  # noqa: E402
from bench.processes import OutOfTime, SolverError, Worker  # noqa: E402
from bench.rows import write  # noqa: E402

TARGET = 1e-6
TOLERANCES = (1e-6, 1e-8, 1e-10)
SOLVERS = ("sparsejax", "celer")
RATIOS, WIDE = (2.0, 20.0, 50.0), (200.0,)


def synthetic(
    name: str, n: int, p: int, density: float, planted: int, noise: float = 1 / 3
) -> designs.Design:
    """Normal entries at random places, planted coefficients, noise relative to their signal."""
    rng = np.random.default_rng(0)
    normal = rng.standard_normal
    X = scipy.sparse.random_array(
        (n, p), density=density, format="csc", rng=rng, data_sampler=normal
    )
    coef = np.zeros(p)
    coef[rng.choice(p, planted, replace=False)] = rng.normal(size=planted)
    y = X @ coef
    y += rng.normal(size=n) * np.linalg.norm(y) / np.sqrt(n) * noise
    return designs.Design(name, X, y - y.mean())


def tables(fast: bool) -> Iterator[tuple[designs.Design, tuple[float, ...]]]:
    """With the ratios of λmax to the strength; the last has a support of thousands."""
    if fast:
        yield synthetic("synthetic", 1000, 10_000, 1e-3, 500), RATIOS[:1]
        return
    yield synthetic("synthetic", 100_000, 1_000_000, 1e-5, 500), RATIOS
    yield designs.build("newsgroups"), RATIOS
    yield synthetic("many features matter", 8000, 20_000, 5e-3, 6000, 0.02), WIDE


def rows_of(design: designs.Design, ratios: tuple[float, ...], budget: float) -> Iterator[dict]:
    most = strength_max(design.X, design.y)
    n, p = design.X.shape
    with tempfile.TemporaryDirectory() as folder:
        designs.save(design, Path(folder))
        for solver in SOLVERS:
            worker = Worker(solver, Path(folder), {"strength": most / 2, "tol": 1e-4})
            try:
                first = worker.start()["first_call_seconds"]
                for ratio in ratios:
                    run = measure.fit_run(
                        worker,
                        most / ratio,
                        lambda coef, ratio=ratio: judge(design.X, design.y, coef, most / ratio),
                    )
                    trials, note = measure.scan(run, budget, TOLERANCES, TARGET)
                    if not trials:
                        print(design.name, ratio, note)
                        continue
                    yield {
                        "design": design.name,
                        "n": n,
                        "p": p,
                        "entries": design.X.nnz,
                        "ratio": ratio,
                        "solver": solver,
                        "seconds": round(trials[-1].seconds, 3),
                        "gap": f"{trials[-1].gap:.1e}",
                        "support": int(trials[-1].nnz),
                        "first_call_seconds": round(first, 1),
                        "peak_mb": round(worker.peak_mb),
                    }
            except (OutOfTime, SolverError) as error:
                print(error)
            finally:
                worker.stop()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.large", description=__doc__)
    parser.add_argument("--fast", action="store_true", help="a hundredth of the size, one strength")
    parser.add_argument("--budget", type=float, default=120.0, help="seconds a solver and strength")
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    options = parser.parse_args(arguments)
    rows = []
    options.out.mkdir(parents=True, exist_ok=True)
    for design, ratios in tables(options.fast):
        for row in rows_of(design, ratios, options.budget):
            rows.append(row)
            print(row, flush=True)
            write(rows, options.out / "large.csv")


if __name__ == "__main__":
    main()
