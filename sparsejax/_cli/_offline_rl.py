"""``python -m sparsejax offline-rl``: policies from little data, by networks of few weights."""

import csv
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from rich.console import Console
from rich.markup import escape

import sparsejax as sj
from sparsejax.applications import offline_rl as rl

from ._command import Command, add_counts, number
from ._errors import SolveError, UserError, explained
from ._report import make_table, write_json
from ._runs import progress_bars, results, save_leaves, unfinished_of

_TASKS: dict[str, Callable[[], rl.AbstractTask]] = {
    "pendulum": rl.Pendulum,
    "cartpole": rl.Cartpole,
}
_METHODS = tuple(rl.methods(rl.TD3BC(), 1, 1))
_HELD_OUT = 0.2  # of a file's steps, where there is no task to score on


class _Study(NamedTuple):
    """What policies learn from, and how they are judged."""

    data: rl.Transitions
    evaluate: Callable[..., Any]
    score: str
    about: str


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FILE",
        help="steps to learn from: HDF5 in D4RL's or Minari's layout, or NPZ; policies are then "
        "judged by how far their actions lie from those of a fifth of the steps, held out",
    )
    parser.add_argument(
        "--task",
        choices=tuple(_TASKS),
        default="pendulum",
        help="without --data: what a shaky expert shows, and policies are scored on "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--algorithm", choices=tuple(rl.ALGORITHMS), default="td3+bc", help="default: %(default)s"
    )
    parser.add_argument(
        "--methods",
        nargs="+",
        choices=_METHODS,
        default=("dense", "single-shot", "iterative"),
        metavar="METHOD",
        help=f"which are compared, of {', '.join(_METHODS)} (default: dense single-shot iterative)",
    )
    parser.add_argument(
        "--keep",
        type=number("in (0, 1]", lambda x: 0 < x <= 1),
        default=0.05,
        metavar="PART",
        help="of the weights that masks leave (default: %(default)s)",
    )
    add_counts(
        parser,
        ("num", 1, None, "steps to learn from (default: 1000 of a task, all of a file)"),
        ("distractors", 0, 8, "numbers without a meaning that a task shows"),
        ("seeds", 1, 5, "agents of each method, trained together"),
        ("steps", 1, 10_000, "of Adam"),
        ("width", 1, 64, "of the two hidden layers"),
        ("batch", 1, 64, "steps of the data in one of Adam"),
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("sparsejax-offline-rl"),
        metavar="DIR",
        help="folder for scores.csv, report.json, curves.png and policies (default: %(default)s); "
        "an interrupted run is kept in DIR-unfinished and goes on from there",
    )


def _run(args: Namespace, console: Console) -> None:
    unfinished = unfinished_of(args.out)
    algorithm = rl.ALGORITHMS[args.algorithm]()
    ways = rl.methods(algorithm, args.steps, args.width, args.keep)
    for name in args.methods:
        if name not in ways:
            raise UserError(f"--methods {name} does not go with --algorithm {args.algorithm}.")
    with explained():
        study = _study(args)
    runs = {}
    with progress_bars(console) as progress:
        bars = {name: progress.add_task(name, total=args.steps) for name in args.methods}
        for name, bar in bars.items():
            shared = {"width": args.width, "batch": args.batch, "steps": args.steps}
            try:
                runs[name] = rl.train(
                    algorithm,
                    study.data,
                    **shared | ways[name],
                    seeds=range(args.seeds),
                    evaluate=study.evaluate,
                    every=max(args.steps // 10, 1),
                    checkpoint=unfinished / name,
                    callback=lambda now, bar=bar: progress.update(bar, completed=now.done),
                )
            except FloatingPointError as error:
                raise SolveError(f"{name}: {error}") from error
    _print(study, runs, console)
    with results(args.out, unfinished, console) as folder:
        _write(args, study, runs, folder)


def _study(args: Namespace) -> _Study:
    if args.data is not None:
        data = rl.load(args.data)
        some = rl.whole_episodes(data, len(data), jax.random.key(0))  # in random order
        size = int(_HELD_OUT * len(data))
        if not size:
            raise UserError(f"{args.data}: {len(data)} steps are too few to hold some out.")
        held_out = jax.tree.map(lambda steps: steps[-size:], some)
        num = len(data) - size if args.num is None else args.num
        if num > len(data) - size:
            raise UserError(
                f"--num {num}: {args.data} has {len(data) - size} steps beside those held out."
            )
        some = jax.tree.map(lambda steps: steps[:num], some)
        some = rl.whole_episodes(some, num, jax.random.key(0))
        return _Study(some, rl.HeldOut(held_out), "held-out error", args.data.name)
    task = _TASKS[args.task]()
    if args.distractors:
        task = rl.Distracted(task, args.distractors)
    keys = jnp.stack([jax.random.key(1000 + seed) for seed in range(args.seeds)])
    num = 1000 if args.num is None else args.num
    data = jax.vmap(lambda key: rl.collect(task, num, key))(keys)
    return _Study(data, rl.Evaluation(task), "score", f"{task.name}, {num} steps")


def _zeros(run: rl.Trained) -> float:
    """The part of zeros of all weights of layers."""
    leaves = [leaf for leaf in jax.tree.leaves(run.networks) if leaf.ndim == 3]
    return sj.nn.sparsity_report(leaves).sparsity


def _print(study: _Study, runs: dict[str, rl.Trained], console: Console) -> None:
    title = f"{escape(study.about)}: {study.score}"
    table = make_table(title, "method", "interquartile mean", "95 % interval", "worst", "zeros")
    worst = min if isinstance(study.evaluate, rl.Evaluation) else max
    for name, run in runs.items():
        scores = run.scores()
        value, low, high = rl.interquartile_mean(scores)
        of = ".1f" if study.score == "score" else ".4f"
        table.add_row(
            name,
            f"{value:{of}}",
            f"{low:{of}} to {high:{of}}",
            f"{worst(scores):{of}}",
            f"{_zeros(run):.1%}",
        )
    console.print(table)


def _write(args: Namespace, study: _Study, runs: dict[str, rl.Trained], folder: Path) -> None:
    from matplotlib.figure import Figure

    with (folder / "scores.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["method", "seed", "step", study.score.replace(" ", "_")])
        for name, run in runs.items():
            for now in run.history:
                for seed, score in enumerate(now.scores):
                    writer.writerow([name, seed, now.done, repr(score)])
    kept = ("algorithm", "num", "keep", "seeds", "steps", "width", "batch")
    report = {
        "about": study.about,
        "settings": {name: getattr(args, name) for name in kept},
        "methods": {
            name: {
                "interquartile_mean": rl.interquartile_mean(run.scores())._asdict(),
                "scores": run.scores().tolist(),
                "zeros": _zeros(run),
            }
            for name, run in runs.items()
        },
        "jax": jax.__version__,
    }
    write_json(report, folder / "report.json")
    for name, run in runs.items():
        save_leaves(run.policies, folder / f"policies-{name}.npz")
    figure = Figure(figsize=(7.0, 4.5), layout="constrained")
    ax = rl.draw_curves(runs, figure.subplots())
    ax.set(ylabel=study.score, title=study.about)
    figure.savefig(folder / "curves.png", dpi=120)


COMMAND = Command(
    name="offline-rl",
    help="learn a policy from recorded steps alone, by sparse networks",
    description=(
        "Learn policies from little data, and compare dense networks with ones of which a small "
        "part of the weights is used (Sparse-Reg): several seeds of each method, all at once. "
        "Scores are 0 for random actions and 100 for the expert, means of the last three "
        "evaluations. Run again with the same options, an interrupted run goes on. Algorithms, "
        "tasks and rules of your own: see sparsejax.applications.offline_rl."
    ),
    add_arguments=_add_arguments,
    run=_run,
    double=False,
)
