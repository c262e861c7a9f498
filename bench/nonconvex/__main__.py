"""Concave penalties: ``python -m bench.nonconvex [--fast] [--only …] [--out …]``.

Three experiments, each a CSV file and a figure: ``stages`` (error and support by stage of convex
relaxation, Zhang 2008 and 2010), ``recovery`` (measurements that ℓq needs) and ``expression`` (MCP
and SCAD on gene expression against skglm). 95 % intervals are over trials. Only the last one is
about seconds: one thread for every library, float64, warm.
"""

from bench.environment import pin

pin()

import argparse  # noqa: E402
import csv  # noqa: E402
import warnings  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from pathlib import Path  # noqa: E402

import jax  # noqa: E402

from bench.nonconvex import expression, figures, recovery, stages  # noqa: E402

EXPERIMENTS = ("stages", "recovery", "expression")
VERDICTS = {"stages": stages.verdicts, "expression": expression.verdicts}


def rows_of(name: str, fast: bool, trials: int, restarts: int) -> Iterator[dict]:
    """The experiment's rows, one after the other as they are found."""
    if name == "stages":
        for setting in stages.SETTINGS[: 1 if fast else None]:
            yield from stages.rows(setting, trials)
    elif name == "recovery":
        yield from recovery.rows((120,) if fast else recovery.MEASUREMENTS, trials, restarts)
    else:
        ratios, repeats, budget = (1, 1, 2.0) if fast else (len(expression.RATIOS), 5, 20.0)
        yield from expression.rows(ratios, repeats, budget)


def _line(row: dict) -> str:
    """The row without the ends of intervals, which are in the file."""
    shown = {k: v for k, v in row.items() if not k.endswith(("_low", "_high"))}
    return "  ".join(f"{v:.3g}" if isinstance(v, float) else str(v) for v in shown.values())


def write(rows: list[dict], path: Path) -> None:
    columns = dict.fromkeys(key for row in rows for key in row)
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(columns))
        writer.writeheader()
        writer.writerows(rows)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.nonconvex", description=__doc__)
    parser.add_argument("--fast", action="store_true", help="one setting each, few trials")
    parser.add_argument("--only", nargs="+", choices=EXPERIMENTS, default=EXPERIMENTS)
    parser.add_argument("--trials", type=int, help="100, or 4 if fast")
    parser.add_argument("--restarts", type=int, default=3, help="of the recovery by ℓq")
    parser.add_argument("--out", type=Path, default=Path("bench/results/nonconvex"))
    options = parser.parse_args(arguments)
    jax.config.update("jax_enable_x64", True)
    warnings.simplefilter("ignore")  # peers warn whenever they stop above their tolerance
    options.out.mkdir(parents=True, exist_ok=True)
    trials = options.trials or (4 if options.fast else 100)
    for name in options.only:
        rows: list[dict] = []
        for row in rows_of(name, options.fast, trials, options.restarts):
            print(_line(row), flush=True)
            rows.append(row)
            write(rows, options.out / f"{name}.csv")
        getattr(figures, name)(rows, options.out / f"{name}.png")
        if name in VERDICTS:
            print(*VERDICTS[name](rows), sep="\n")


if __name__ == "__main__":
    main()
