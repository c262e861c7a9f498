"""Lasso against the peers: ``python -m bench.lasso [--fast] [--cells gaussian:10,100 …]``.

Warm, one thread for every library, float64. For every design and strength each solver's
tolerance is scanned downward; the cheapest setting whose result an independent NumPy function
certifies to the target gap is then timed, the solvers taking turns. Writes to ``--out``:

lasso.csv          seconds to the relative gaps 1e-4, 1e-6 and 1e-10 per cell and solver
lasso_trials.csv   every run of the scans: what the convergence plots show
lasso_path.csv     100 strengths from the largest to a hundredth of it, each to 1e-6
lasso_process.csv  seconds of the first call (compilation) and peak memory per design and solver
lasso.json         the machine, versions and settings
convergence_*.png  gap against seconds, one panel per strength
"""

from bench.environment import pin

pin()

import argparse  # noqa: E402
import functools  # noqa: E402
import json  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402

from bench import adapters, designs, environment, gap, measure, report  # noqa: E402
from bench.processes import OutOfTime, SolverError, Worker  # noqa: E402
from bench.rows import write  # noqa: E402

RATIOS = (2, 10, 20, 50, 100, 1000)
SOLVERS = tuple(adapters.ADAPTERS)
PATH_DESIGNS = ("gaussian", "correlated", "newsgroups")
PATH_SOLVERS = ("sparsejax", "celer", "skglm", "sklearn", "adelie")
PATH_TARGET = 1e-6
PATH_WARM_UP = 90.0  # seconds, compilation included

FULL = {"budget": 60.0, "repeats": 7, "ratios": RATIOS, "designs": designs.DEFAULT}
FAST = {
    "budget": 3.0,
    "repeats": 3,
    "ratios": (2, 20, 100),
    "designs": ("gaussian", "tall", "golub"),
}
FAST_SOLVERS = ("sparsejax", "celer", "skglm", "sklearn")


class Tables:
    """The result files; each is written anew after every cell, so a bench cut short keeps all."""

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.rows: dict[str, list[dict]] = {}

    def add(self, name: str, row: dict) -> None:
        self.rows.setdefault(name, []).append(row)

    def write(self) -> None:
        for name, rows in self.rows.items():
            write(rows, self.folder / f"{name}.csv")


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    tables = Tables(options.out)
    settings = {key: str(value) for key, value in vars(options).items()}
    about = environment.machine() | {"settings": settings}
    (options.out / "lasso.json").write_text(json.dumps(about, indent=2) + "\n")
    for name, ratios in options.cells.items():
        try:
            design = designs.build(name)
        except designs.DesignUnavailable as error:
            print(f"skipped: {error}", file=sys.stderr)
            continue
        with tempfile.TemporaryDirectory() as folder:
            designs.save(design, Path(folder))
            bench_design(design, ratios, options, Path(folder), tables)
    report.main(options.out)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.lasso", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--fast", action="store_true", help="fewer cells, under three minutes")
    parser.add_argument("--cells", nargs="+", metavar="DESIGN[:RATIO,…]", help="only these")
    parser.add_argument("--solvers", nargs="+", choices=SOLVERS, help="only these")
    parser.add_argument("--repeats", type=int, help="timed runs of each setting")
    parser.add_argument("--budget", type=float, help="seconds for the scan of one solver and cell")
    parser.add_argument("--no-path", action="store_true", help="leave the 100-strength paths out")
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    options = parser.parse_args(arguments)
    chosen = FAST if options.fast else FULL
    options.repeats = options.repeats or chosen["repeats"]
    options.budget = options.budget or chosen["budget"]
    options.solvers = options.solvers or (FAST_SOLVERS if options.fast else SOLVERS)
    cells = options.cells or chosen["designs"]
    options.cells = dict(_parse_cell(cell, chosen["ratios"]) for cell in cells)
    return options


def _parse_cell(cell: str, ratios: tuple[int, ...]) -> tuple[str, tuple[float, ...]]:
    name, _, chosen = cell.partition(":")
    return name, tuple(float(ratio) for ratio in chosen.split(",")) if chosen else ratios


def bench_design(
    design: designs.Design,
    ratios: tuple[float, ...],
    options: argparse.Namespace,
    folder: Path,
    tables: Tables,
) -> None:
    largest = gap.strength_max(design.X, design.y)
    workers = start_workers(design, options, folder, largest, tables)
    try:
        for ratio in ratios:
            bench_cell(design, largest / ratio, ratio, workers, options, tables)
            tables.write()
        if design.name in PATH_DESIGNS and not options.no_path:
            bench_path(design, largest, workers, options, tables)
        for row in tables.rows["lasso_process"]:
            if row["design"] == design.name:
                row["peak_mb"] = round(workers[row["solver"]].peak_mb, 1)
        tables.write()
    finally:
        for worker in workers.values():
            worker.stop()


def start_workers(
    design: designs.Design,
    options: argparse.Namespace,
    folder: Path,
    largest: float,
    tables: Tables,
) -> dict[str, Worker]:
    """The solvers that start, warmed up; the others are named and left out."""
    workers = {}
    for solver in options.solvers:
        python = environment.adelie_python() if solver == "adelie" else sys.executable
        if python is None:
            print("skipped: adelie's environment cannot be made", file=sys.stderr)
            continue
        worker = Worker(solver, folder, {"strength": largest / 2, "tol": 1e-3}, python)
        try:
            seconds = worker.start()
        except (OutOfTime, SolverError) as error:
            print(f"skipped on {design.name}: {error}", file=sys.stderr)
            continue
        workers[solver] = worker
        rounded = {key: round(value, 4) for key, value in seconds.items()}
        row = {"design": design.name, "solver": solver, **rounded, "peak_mb": np.nan}
        tables.add("lasso_process", row)
    return workers


def bench_cell(
    design: designs.Design,
    strength: float,
    ratio: float,
    workers: dict[str, Worker],
    options: argparse.Namespace,
    tables: Tables,
) -> None:
    runs = {}
    for name, worker in workers.items():
        # A float32 solver is given, and judged on, the problem rounded to float32.
        X, y = _rounded(design) if name.endswith("float32") else (design.X, design.y)
        judge = functools.partial(gap.judge, X, y, strength=strength)
        runs[name] = measure.fit_run(worker, strength, judge)
    cell = {"design": design.name, "n": len(design.y), "p": design.X.shape[1], "ratio": ratio}
    scans, notes = {}, {}
    for solver, run in runs.items():
        scans[solver], notes[solver] = measure.scan(run, options.budget)
        for trial in scans[solver]:
            tables.add("lasso_trials", cell | {"solver": solver} | _trial_row(trial))
    chosen = measure.settings(scans, measure.TARGETS)
    timings = measure.repeat_interleaved(runs, chosen, options.repeats, options.budget / 4)
    for solver, trials in scans.items():
        best = min((trial.gap for trial in trials), default=np.inf)
        nnz = trials[-1].nnz if trials else ""
        for target in measure.TARGETS:
            row = cell | {"strength": strength, "solver": solver, "target": target}
            row |= _timing_row(timings.get((solver, target, "gap")))
            objective = timings.get((solver, target, "objective"))
            row |= {"seconds_objective": f"{objective.seconds:.6g}" if objective else "nan"}
            row |= {"best_gap": f"{best:.3g}", "nnz": nnz, "note": notes[solver]}
            tables.add("lasso", row)
    print(report.cell_line(design.name, ratio, timings, list(workers)), flush=True)


def _rounded(design: designs.Design):
    return tuple(array.astype(np.float32).astype(np.float64) for array in (design.X, design.y))


def bench_path(
    design: designs.Design,
    largest: float,
    workers: dict[str, Worker],
    options: argparse.Namespace,
    tables: Tables,
) -> None:
    """100 strengths: the first call of every solver warms it up and is not counted."""
    strengths = largest * np.geomspace(1.0, 1e-2, 100)
    judge = functools.partial(gap.judge, design.X, design.y)
    runs, scans = {}, {}
    tolerances = [tol for tol in measure.TOLERANCES if tol <= 1e-4]
    for solver in PATH_SOLVERS:
        if solver not in workers:
            continue
        run = measure.path_run(workers[solver], strengths, judge)
        warm, note = measure.scan(run, PATH_WARM_UP, tolerances[:1])
        runs[solver] = run
        scans[solver] = []
        if warm:
            scans[solver], note = _scan_to(run, 3 * options.budget, tolerances)
        if not any(trial.gap <= PATH_TARGET for trial in scans[solver]):
            print(f"{design.name} path, {solver}: {note}", file=sys.stderr)
    chosen = measure.settings(scans, (PATH_TARGET,), ("gap",))
    timings = measure.repeat_interleaved(runs, chosen, options.repeats, options.budget / 4)
    for solver in runs:
        row = {"design": design.name, "solver": solver, "target": PATH_TARGET}
        tables.add("lasso_path", row | _timing_row(timings.get((solver, PATH_TARGET, "gap"))))


def _scan_to(run: measure.Run, budget: float, tolerances: list[float]):
    """Scan one tolerance at a time: on the path, unlike in the cells, 1e-6 is enough."""
    trials: list[measure.Trial] = []
    for tol in tolerances:
        more, note = measure.scan(run, budget, [tol])
        trials += more
        if not more or more[0].gap <= PATH_TARGET:
            return trials, note
    return trials, "tolerances exhausted"


def _timing_row(timing: measure.Timing | None) -> dict:
    if timing is None:
        return {"seconds": "nan", "gap": "nan", "tol": "nan", "repeats": 0}
    return {
        "seconds": f"{timing.seconds:.6g}",
        "gap": f"{timing.gap:.3g}",
        "tol": f"{timing.tol:.0e}",
        "repeats": timing.repeats,
    }


def _trial_row(trial: measure.Trial) -> dict:
    claimed = trial.claimed or {}
    return {
        "tol": f"{trial.tol:.0e}",
        "seconds": f"{trial.seconds:.6g}",
        "gap": f"{trial.gap:.3g}",
        "objective": f"{trial.objective:.15g}",
        "nnz": trial.nnz,
        "claimed_converged": claimed.get("converged", ""),
        "claimed_gap": claimed.get("gap", ""),
    }


if __name__ == "__main__":
    main()
