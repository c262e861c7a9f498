"""Robust architecture search: ``python -m bench.applications.nas [--fast] [--only …]``.

On MNIST-1D, a search a seed for each relaxation, all seeds at once. ``gap``: cells as in
NAS-Bench-201; accuracy of the supernet, of what is left of it when the cell is made discrete, and
of the cell trained anew. ``skip``: a space of skips and convolutions, where DARTS may collapse to
skips. ``regret``: a space of 27 cells, all of which are trained; by how much the mean accuracy of
the cell found stays behind the best. Cells drawn at random are the baseline. Each study writes a
CSV file and prints means with 95 % intervals. Rows that the file has are not computed again, an
interrupted search goes on. ``--fast``: three minutes. One thread: ``taskset -c 0``.
"""

import argparse
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import numpy as np

from bench.nonconvex.intervals import bootstrap, mean
from bench.rows import read, write
from sparsejax.applications import nas
from sparsejax.applications.nas.relaxations import RELAXATIONS, AbstractRelaxation

STUDIES = {"gap": "nas-bench-201", "skip": "skip-or-conv", "regret": "small"}
RANDOM = "random"  # in the place of a relaxation: the baseline that does not search
Row = dict[str, object]
Found = tuple[np.ndarray, dict[str, np.ndarray]]  # cells, and what is measured of their supernets


def searched(
    space: nas.Space,
    relaxation: AbstractRelaxation,
    task: nas.Task,
    seeds: Sequence[int],
    options: dict[str, Any],
    file: Path,
) -> Found:
    """By a relaxation."""
    found = nas.search(space, task.train, relaxation, seeds=seeds, checkpoint=file, **options)
    supernet = nas.accuracy(found.supernets, found.weights, task.test)
    discrete = nas.accuracy(found.supernets, nas.one_hot(found.cells, space), task.test)
    entropy = nas.entropy(found.weights)
    measured = {"supernet": supernet, "discrete": discrete, "gap": supernet - discrete}
    return found.cells, measured | {"entropy": entropy}


def drawn(space: nas.Space, seeds: Sequence[int]) -> Found:
    """Any cells, all equally likely."""
    weights = [np.random.default_rng(seed).uniform(size=space.shape) for seed in seeds]
    nothing = np.full(len(seeds), np.nan)
    measured = dict.fromkeys(("supernet", "discrete", "gap", "entropy"), nothing)
    return nas.discretise(np.stack(weights), space), measured


def searches(
    study: str,
    name: str,
    task: nas.Task,
    seeds: Sequence[int],
    options: dict[str, Any],
    settings: str,
    rate: float | None,
    table: nas.Table | None,
    scratch: Path,
) -> list[Row]:
    """A row a seed."""
    space, file = nas.SPACES[STUDIES[study]], scratch / f"{study}-{name}"
    start = time.process_time()
    if name == RANDOM:
        cells, measured = drawn(space, seeds)
    else:
        relaxation = RELAXATIONS[name](**({} if rate is None else {"learning_rate": rate}))
        cells, measured = searched(space, relaxation, task, seeds, options, file)
    seconds = (time.process_time() - start) / len(seeds)
    measured["skips"] = nas.count_operation(cells, space, "skip")
    if table is None:
        again = nas.retrain(
            space, cells, task.train, seeds=seeds, checkpoint=f"{file}-retrain", **options
        )
        measured["retrained"] = again.accuracy(task.test)
    else:
        measured["regret"] = table.regret(cells)
    rows = [
        {"relaxation": name, "seed": seed, "settings": settings}
        | {key: value[i].item() for key, value in measured.items()}
        | {
            "cell": " ".join("-" if op < 0 else space.operations[op] for op in cells[i]),
            "cpu_seconds": seconds,
        }
        for i, seed in enumerate(seeds)
    ]
    for done in scratch.glob(f"{study}-{name}*"):
        done.unlink()
    return rows


def whole_table(
    task: nas.Task, seeds: Sequence[int], options: dict[str, Any], settings: str, out: Path
) -> nas.Table:
    """All cells of the small space; kept in a file, which belongs to its settings."""
    space = nas.SPACES[STUDIES["regret"]]
    settings = f"{settings}x{len(seeds)}"
    path = out / f"nas_table_{settings}.csv"
    rows = read(path)
    if not rows:
        scratch = out / "nas-unfinished" / f"table-{settings}"
        found = nas.table(space, task, seeds=seeds, checkpoint=scratch, **options)
        rows = [
            {"cell": " ".join(map(str, cell))}
            | {f"seed_{seed}": str(a) for seed, a in zip(seeds, accuracies, strict=True)}
            for cell, accuracies in zip(found.cells.tolist(), found.accuracies, strict=True)
        ]
        write(rows, path)
        shutil.rmtree(scratch)
    cells = np.array([[int(op) for op in row["cell"].split()] for row in rows])
    accuracies = np.array([[float(row[f"seed_{seed}"]) for seed in seeds] for row in rows])
    return nas.Table(cells, accuracies)


def verdicts(rows: list[dict[str, str]]) -> Iterator[str]:
    """Means with intervals, and the worst."""
    of = lambda row: (row["relaxation"], row["settings"])  # noqa: E731
    for name, settings in dict.fromkeys(map(of, rows)):
        mine = [row for row in rows if of(row) == (name, settings)]
        shown = []
        for key in ("supernet", "discrete", "gap", "retrained", "regret", "skips"):
            if key not in mine[0]:
                continue
            sample = np.array([float(row[key]) for row in mine])
            if np.isnan(sample).any():
                continue  # of cells that were drawn, not searched
            worst = sample.max() if key in ("gap", "regret", "skips") else sample.min()
            value, low, high = bootstrap(mean, sample)
            shown.append(f"{key} {value:.3f} [{low:.3f}, {high:.3f}] worst {worst:.3f}")
        yield f"{name:>13} {settings} ({len(mine)}): " + "; ".join(shown)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.applications.nas", description=__doc__)
    parser.add_argument("--fast", action="store_true", help="few steps and seeds")
    parser.add_argument("--only", nargs="+", choices=STUDIES, default=list(STUDIES))
    parser.add_argument("--relaxations", nargs="+", choices=[*RELAXATIONS, RANDOM])
    parser.add_argument("--seeds", type=int, default=None, help="how many: 10, or 2 if fast")
    parser.add_argument("--steps", type=int, default=None, help="600, or 100 if fast")
    parser.add_argument("--depth", type=int, default=2, help="cells of a network: 2")
    parser.add_argument("--samples", type=int, help="to search and train with: all")
    parser.add_argument("--rate", type=float, help="of the architecture: the relaxation's own")
    parser.add_argument("--shift", type=int, help="places that samples are moved by: none")
    parser.add_argument("--out", type=Path, default=Path("bench/results/applications"))
    options = parser.parse_args(arguments)
    num = options.seeds or (2 if options.fast else 10)
    steps = options.steps or (100 if options.fast else 600)
    augment = nas.Shift(options.shift) if options.shift else None
    sizes = {"steps": steps, "batch": 32, "depth": options.depth, "augment": augment}
    settings = f"{steps}x{sizes['batch']}"
    settings += f", {options.depth} cells" if options.depth != 2 else ""
    settings += f", {options.samples} samples" if options.samples else ""
    settings += f", rate {options.rate:g}" if options.rate else ""
    settings += f", shift {options.shift}" if options.shift else ""
    names = options.relaxations or (
        ["softmax", "temperature"] if options.fast else [*RELAXATIONS, RANDOM]
    )
    scratch = options.out / "nas-unfinished"
    scratch.mkdir(parents=True, exist_ok=True)
    whole = nas.mnist1d()
    task = whole._replace(train=nas.Samples(*(a[: options.samples] for a in whole.train)))
    for study in options.only:
        path = options.out / f"nas_{study}.csv"
        rows = read(path)
        table = None
        if study == "regret":
            table = whole_table(task, range(1 if options.fast else 3), sizes, settings, options.out)
            spread = table.accuracies.mean(axis=1)
            print(f"all {len(spread)} cells: {spread.min():.3f} to {spread.max():.3f}")
        for name in names:
            if study == "regret" and name == "sparse-coding":
                continue  # it leaves edges out, which no cell of the table does
            same = {"relaxation": name, "settings": settings}
            known = {int(row["seed"]) for row in rows if same.items() <= row.items()}
            seeds = [seed for seed in range(num) if seed not in known]
            if not seeds:
                continue
            found = searches(
                study, name, task, seeds, sizes, settings, options.rate, table, scratch
            )
            rows += [{key: str(value) for key, value in row.items()} for row in found]
            write(rows, path)
        print(f"{study}, {STUDIES[study]}:", *verdicts(rows), sep="\n", flush=True)
    if not any(scratch.iterdir()):
        scratch.rmdir()


if __name__ == "__main__":
    main()
