"""Sparse-Reg on small data: ``python -m bench.applications.offline_rl [--fast] [--only …]``.

For every task, algorithm, number of steps in the data and method of training, agents of all seeds
at once, each with data of its own. Seeds are the same for all methods. The score (0: random
actions, 100: the expert) is the mean of the last three evaluations. Writes offline_rl.csv, a row a
seed, and prints interquartile means with 95 % bootstrap intervals, and how far each method lies
above dense networks. Rows that the file has are not computed again, and an interrupted training
goes on.

``headline``: TD3+BC on the pendulum with 1000 steps, SNIP masks decided again and again against
decided once and against dense networks, and controls. ``full``: all algorithms, tasks and numbers
of steps, or those that further options name. ``hopper``: pybullet's data in ../shared/data; scored
in pybullet where that is installed, else by how far actions lie from the expert's. ``vmap``: 20
seeds at once against one at a time, without compilation, and in processes of their own.
``--fast``: fewer steps and seeds.
"""

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np

import sparsejax as sj
from bench.nonconvex.intervals import bootstrap, mean
from bench.rows import read, write
from sparsejax.applications import offline_rl as rl

TASKS = {
    "pendulum": rl.Distracted(rl.Pendulum(), 8),
    "cartpole": rl.Distracted(rl.Cartpole(), 8),
}
# The paper's million steps, of networks twice as wide, are out of reach here: copies follow faster,
# the future is discounted more, and about as many weights are kept, a tenth instead of a twentieth.
QUICK = {"follow": 0.02, "discount": 0.97}
ALGORITHMS = {
    name: kind(**QUICK) if name != "bc" else kind() for name, kind in rl.ALGORITHMS.items()
}
# At AWAC's published temperature, 1/3, its policy leaves the data here: a milder one beside it.
ALGORITHMS["awac-1"] = rl.AWAC(temperature=1.0, **QUICK)
WIDTH, BATCH, KEEP, EVALUATIONS = 128, 64, 0.1, 10
HEADLINE = ("iterative", "dense", "single-shot", "l2", "dropout", "small")
SIZES = (500, 1000, 2000, 4000, 10_000)
HOPPER = (slice(8000), slice(8000, None))  # episodes to learn from, and others to judge by
SHARED = Path(__file__).parents[2].parent / "shared" / "data"
KEYS = ("task", "algorithm", "num", "method", "steps", "width", "batch", "keep", "seed")
VMAP = "offline_rl_vmap.csv"
Cell = tuple[str, str, int, str]  # task, algorithm, steps in the data, method


def cells(name: str, fast: bool) -> list[Cell]:
    if name == "headline":
        methods = HEADLINE[:3] if fast else HEADLINE
        return [("pendulum", "td3+bc", 1000, method) for method in methods]
    if name == "hopper":
        return [("hopper", "td3+bc", 1000, method) for method in HEADLINE[:3]]
    sizes = SIZES[1:2] if fast else SIZES
    everything = itertools.product(sizes, TASKS, ALGORITHMS)
    return [
        (task, algorithm, num, method)
        for num, task, algorithm in everything
        for method in rl.methods(ALGORITHMS[algorithm], 1, 1)
        if not fast or (algorithm == "iql" and method in HEADLINE[:3])
    ]


def setting(task: str, num: int, seeds: Sequence[int]) -> tuple[rl.Transitions, rl.Evaluate]:
    """Data of every seed, and what judges."""
    keys = jnp.stack([jax.random.key(1000 + seed) for seed in seeds])
    if task in TASKS:
        data = jax.vmap(lambda key: rl.collect(TASKS[task], num, key))(keys)
        return data, rl.Evaluation(TASKS[task])
    expert = rl.load(SHARED / "pybullet_hopper_expert_10k.npz")
    shown, held_out = (jax.tree.map(lambda x, p=p: x[p], expert) for p in HOPPER)
    sets = [rl.whole_episodes(shown, num, key) for key in keys]
    data = jax.tree.map(lambda *steps: jnp.stack(steps), *sets)
    try:
        return data, rl.hopper()
    except ImportError:
        return data, rl.HeldOut(held_out)


def rows_of(
    cell: Cell, seeds: Sequence[int], steps: int, unfinished: Path
) -> Iterator[dict[str, object]]:
    """A row a seed, of one training."""
    task, algorithm, num, method = cell
    data, evaluate = setting(task, num, seeds)
    start = time.process_time()
    how = rl.methods(ALGORITHMS[algorithm], steps, WIDTH, KEEP)[method]
    trained = rl.train(
        ALGORITHMS[algorithm],
        data,
        **{"width": WIDTH} | how,
        seeds=seeds,
        steps=steps,
        batch=BATCH,
        evaluate=evaluate,
        every=steps // EVALUATIONS,
        checkpoint=unfinished / "-".join(map(str, (*cell, steps, len(seeds)))),
    )
    seconds = time.process_time() - start
    leaves = [leaf for leaf in jax.tree.leaves(trained.networks) if leaf.ndim == 3]
    zeros = sj.nn.sparsity_report(leaves).sparsity
    for seed, score in zip(seeds, trained.scores(), strict=True):
        yield {
            **dict(zip(KEYS, (*cell, steps, WIDTH, BATCH, KEEP, seed), strict=True)),
            "measure": "distance" if isinstance(evaluate, rl.HeldOut) else "score",
            "score": float(score),
            "zeros": zeros,
            "cpu_seconds_of_all_seeds": seconds,
        }


def verdicts(rows: list[dict[str, str]]) -> Iterator[str]:
    """Interquartile means with intervals, and differences to dense of the same seeds."""
    groups: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in KEYS[:5]), []).append(row)
    scores = {
        cell: np.array([float(row["score"]) for row in sorted(found, key=lambda r: int(r["seed"]))])
        for cell, found in groups.items()
    }
    for cell, found in scores.items():
        value, low, high = rl.interquartile_mean(found)
        text = f"{' '.join(cell):>45}: {value:6.3g} [{low:.3g}, {high:.3g}], {len(found)} seeds"
        dense = scores.get((*cell[:3], "dense", cell[4]))
        if dense is not None and cell[3] != "dense" and len(dense) == len(found):
            gain = bootstrap(mean, found - dense)
            text += f"; above dense by {gain[0]:.3g} [{gain[1]:.3g}, {gain[2]:.3g}]"
        yield text


def at_once(width: int, steps: int, num_seeds: int) -> dict[str, object]:
    """Seconds of seeds at once and one at a time, both without compilation."""
    data, _ = setting("pendulum", 1000, range(num_seeds))

    def seconds(seeds: Sequence[int]) -> float:
        times: list[float] = []
        rl.train(
            ALGORITHMS["td3+bc"],
            jax.tree.map(lambda x: x[jnp.asarray(seeds)], data),
            rl.SNIP(KEEP, every=steps // 20),
            seeds=seeds,
            steps=2 * steps,
            every=steps,
            width=width,
            batch=BATCH,
            callback=lambda now: times.append(time.perf_counter()),
        )
        return times[1] - times[0]  # the first half compiles

    alone = float(np.median([seconds([seed]) for seed in range(3)])) * num_seeds
    together = seconds(range(num_seeds))
    return compared(width, steps, num_seeds, "left out", together, alone)


def in_processes(steps: int, num_seeds: int) -> dict[str, object]:
    """The same of whole runs, each in a process of its own that compiles anew."""

    def seconds(num: int) -> float:
        environment = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
        with tempfile.TemporaryDirectory() as out:
            options = f"--only headline --methods iterative --seeds {num} --steps {steps}"
            command = [sys.executable, "-m", "bench.applications.offline_rl", *options.split()]
            start = time.perf_counter()
            subprocess.run([*command, "--out", out], check=True, env=environment)
            return time.perf_counter() - start

    alone = float(np.median([seconds(1) for _ in range(3)])) * num_seeds
    together = seconds(num_seeds)
    return compared(WIDTH, steps, num_seeds, "included", together, alone)


def compared(
    width: int, steps: int, num_seeds: int, compilation: str, together: float, alone: float
) -> dict[str, object]:
    """A row of what it takes at once and one at a time."""
    return {
        "width": width,
        "steps": steps,
        "seeds": num_seeds,
        "compilation": compilation,
        "seconds_at_once": together,
        "seconds_one_at_a_time": alone,
        "ratio": alone / together,
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.applications.offline_rl")
    names = ("headline", "hopper", "full", "vmap")
    parser.add_argument("--fast", action="store_true", help="fewer steps, methods and seeds")
    parser.add_argument("--only", nargs="+", choices=names, default=names[:1])
    parser.add_argument("--tasks", nargs="+", choices=(*TASKS, "hopper"), help="of those, these")
    parser.add_argument("--algorithms", nargs="+", choices=tuple(ALGORITHMS))
    parser.add_argument("--nums", nargs="+", type=int, choices=SIZES)
    parser.add_argument("--methods", nargs="+")
    parser.add_argument("--seeds", type=int, help="20, or 4 if fast")
    parser.add_argument("--steps", type=int, help="10000, or 1000 if fast")
    parser.add_argument("--out", type=Path, default=Path("bench/results/applications"))
    options = parser.parse_args(arguments)
    num, steps = (
        options.seeds or (20, 4)[options.fast],
        options.steps or (10_000, 1000)[options.fast],
    )
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "offline_rl.csv"
    rows = read(path)
    for name in options.only:
        if name == "vmap":
            seeds = 4 if options.fast else 20
            times = [at_once(width, 200, seeds) for width in (16, 64, WIDTH)]
            times += [in_processes(length, seeds) for length in (steps // 10, steps)]
            write([{k: str(v) for k, v in row.items()} for row in times], options.out / VMAP)
            print(*times, sep="\n", flush=True)
            continue
        parts = options.tasks, options.algorithms, options.nums, options.methods
        for cell in cells(name, options.fast):
            if not all(of is None or one in of for of, one in zip(parts, cell, strict=True)):
                continue
            known = {tuple(row[key] for key in KEYS) for row in rows}
            wanted = [
                (*map(str, (*cell, steps, WIDTH, BATCH, KEEP)), str(seed)) for seed in range(num)
            ]
            if known.issuperset(wanted):
                continue
            found = rows_of(cell, range(num), steps, options.out / "unfinished")
            rows += [{key: str(value) for key, value in row.items()} for row in found]
            write(rows, path)
            print(*list(verdicts(rows))[-1:], flush=True)
    print(*verdicts(rows), sep="\n")


if __name__ == "__main__":
    main()
