"""Structures other than the Lasso: ``python -m bench.structures [--fast] [--cases …] [--out …]``.

Warm, one thread for every library, float64, in one process but for adelie; the solvers take turns.
Designs lie as each library wants them before the clock starts. Each solver's tolerance is tightened
until an independent NumPy judge says that the target is met, and that setting is timed. Writes
structures.csv: the median of ``--repeats`` runs per problem, strength and solver, the error that
was reached, and the seconds of the first call (compilation). Cases and solvers that are not run
keep their rows.
"""

from bench.environment import pin

pin()

import argparse  # noqa: E402
import sys  # noqa: E402
import warnings  # noqa: E402
from collections.abc import Callable, Iterator, Mapping  # noqa: E402
from pathlib import Path  # noqa: E402

import jax  # noqa: E402
import numpy as np  # noqa: E402

from bench import measure  # noqa: E402
from bench.designs import DesignUnavailable  # noqa: E402
from bench.processes import SolverError  # noqa: E402
from bench.rows import read, updated, write  # noqa: E402
from bench.structures.case import Case, Elsewhere, Solver  # noqa: E402
from bench.structures.cox import cox  # noqa: E402
from bench.structures.denoising import photograph  # noqa: E402
from bench.structures.group_lasso import group_lasso  # noqa: E402
from bench.structures.inpainting import half_missing  # noqa: E402
from bench.structures.interpolation import basis_pursuit, mesh, neighbours  # noqa: E402
from bench.structures.logistic import golub, logistic, text  # noqa: E402
from bench.structures.multinomial import digits, multinomial  # noqa: E402
from bench.structures.multitask import multitask  # noqa: E402
from bench.structures.trace_norm import schools, synthetic, tecator  # noqa: E402
from bench.worker import repeated  # noqa: E402

TOLERANCES = tuple(10.0**-k for k in range(4, 15))
CASES: Mapping[str, Callable[[], Case]] = {
    "group": group_lasso,
    "logistic": logistic,
    "golub": golub,
    "text": text,
    "cox": cox,
    "cox-tall": lambda: cox(5000, 200),
    "multinomial": multinomial,
    "digits": digits,
    "multitask": multitask,
    # Those of the paper: Poon & Peyré (NeurIPS 2021).
    "multitask-300": lambda: multitask(300, 1000, 100, rows=5),
    "multitask-50": lambda: multitask(50, 1200, 20, rows=10),
    "multitask-30": lambda: multitask(30, 1000, 100, rows=5),
    "trace": synthetic,
    # The same: trace norm on its sizes of several tasks.
    "trace-300": lambda: synthetic(300, 1000, 100),
    "trace-50": lambda: synthetic(50, 1200, 20),
    "trace-30": lambda: synthetic(30, 1000, 100),
    "tecator": tecator,
    "schools": schools,
    "pursuit": basis_pursuit,
    "neighbours": neighbours,
    "mesh": mesh,
    "photograph": photograph,
    "inpainting": half_missing,
}
FAST_CASES: Mapping[str, Callable[[], Case]] = {
    "group": lambda: group_lasso(40, 200),
    "golub": golub,
    "cox": lambda: cox(40, 100),
    "multinomial": lambda: multinomial(40, 50, 3),
    "trace": lambda: synthetic(40, 20, 5),
    "mesh": lambda: mesh(6),
    "photograph": lambda: photograph(16),
    "inpainting": lambda: half_missing(16),
}


def run_of(case: Case, solve: Solver, strength: float) -> measure.Run:
    """Runs of a solver at one strength, judged."""

    def run(tol: float, budget: float) -> measure.Trial:
        del budget  # nothing ends a call within this process
        try:
            if isinstance(solve, Elsewhere):
                coef, seconds = solve.timed(strength, tol)
            else:
                coef, seconds = repeated(lambda: solve(strength, tol))
        except (ImportError, AttributeError) as error:  # not installed, or not this version
            raise SolverError(str(error)) from error
        # Where a solver gives nothing, nothing is right.
        error = np.inf if coef is None else case.error(coef, strength)
        return measure.Trial(tol, seconds, error, error, 0, None)

    return run


def cell(case: Case, name: str, repeats: int, budget: float) -> Iterator[dict]:
    """One row a solver: the fastest setting that meets the target, its median over the rounds."""
    strength = case.strengths[name]
    runs = {solver: run_of(case, solve, strength) for solver, solve in case.solvers.items()}
    first, scans = {}, {}
    for solver, run in runs.items():
        warm_up, _ = measure.scan(run, budget, TOLERANCES[:1], case.target)
        if warm_up:  # the budget is for tightening, not for compiling
            first[solver] = warm_up[0].seconds
            scans[solver], _ = measure.scan(run, budget, TOLERANCES, case.target)
    chosen = measure.settings(scans, (case.target,), ("gap",))
    timings = measure.repeat_interleaved(runs, chosen, repeats, 5 * budget)
    for solver in scans:
        timing = timings.get(
            (solver, case.target, "gap"), measure.Timing(np.nan, np.inf, np.nan, 0)
        )
        yield {
            "case": case.name,
            "strength": name,
            "solver": solver,
            "seconds": timing.seconds,
            "error": timing.gap,
            "tol": timing.tol,
            "first_call": first[solver],
        }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.structures", description=__doc__)
    parser.add_argument("--fast", action="store_true", help="small problems, one strength each")
    parser.add_argument("--cases", nargs="+", choices=CASES, help="only these")
    parser.add_argument("--strengths", nargs="+", help="only these, such as λmax/10")
    parser.add_argument("--solvers", nargs="+", help="only these")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--budget", type=float, default=20.0, help="seconds of tightening a cell")
    parser.add_argument("--out", type=Path, default=Path("bench/results/structures"))
    options = parser.parse_args(arguments)
    jax.config.update("jax_enable_x64", True)
    warnings.simplefilter("ignore")  # peers warn whenever they stop above their tolerance
    cases = FAST_CASES if options.fast else CASES
    options.out.mkdir(parents=True, exist_ok=True)
    table = options.out / "structures.csv"
    for name, make in cases.items():
        if options.cases and name not in options.cases:
            continue
        try:
            case = make()
        except DesignUnavailable as error:
            print(f"skipped: {error}", file=sys.stderr)
            continue
        if options.solvers:
            chosen = {s: case.solvers[s] for s in options.solvers if s in case.solvers}
            case = case._replace(solvers=chosen)
        for strength in list(case.strengths)[: 1 if options.fast else None]:
            if options.strengths and strength not in options.strengths:
                continue
            new = list(cell(case, strength, options.repeats, options.budget))
            for row in new:
                print({k: f"{v:.3g}" if isinstance(v, float) else v for k, v in row.items()})
            write(updated(read(table), new, ("case", "strength", "solver")), table)


if __name__ == "__main__":
    main()
