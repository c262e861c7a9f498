"""Sparse networks for equations: ``python -m bench.applications.pde [--fast] [--only …]``.

``function``: noisy samples of a function with singularities; for each draw of the samples one
strength for all layers and one for each are chosen by held-out samples among grids of equal size,
and compared with a dense network by the distance to the function itself. ``burgers``, ``front``
(ν = 0.01/π) and ``schroedinger``: the relative L2 error of dense and sparse networks, a row a seed.
Each writes a CSV file and prints means with 95 % intervals. Rows that the file has are not computed
again. Both cores; ``--fast``: three minutes.
"""

import argparse
import itertools
import math
import os
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import equinox as eqx
import jax
import numpy as np

import sparsejax as sj
from bench.nonconvex.intervals import bootstrap, mean, reduction
from bench.rows import read, write
from sparsejax.applications import pde

SINGLE = (1e-5, 2e-5, 3e-5, 5e-5, 7e-5, 1e-4)
# First and last layer, and those between: the scales at which a network may differ.
MULTI = tuple(
    (ends, middle, middle, middle, ends)
    for ends, middle in itertools.product((1e-5, 1e-4), (3e-5, 5e-5, 1e-4))
)
HELD_OUT = 100


def function(draws: Sequence[int], fast: bool, known: set[tuple]) -> Iterator[dict]:
    """A row a draw and a way of choosing the strengths."""
    single, multi = (SINGLE[2:4], MULTI[:2]) if fast else (SINGLE, MULTI)
    steps = 1000 if fast else 6000
    for draw in draws:
        problem = pde.function_fit(seed=draw)
        held_out = pde.function_fit(num=HELD_OUT, seed=1000 + draw).terms[0]
        networks = pde.networks(problem, (draw,), 64, 4, jax.nn.relu)
        ways = {"dense": [(0.0,) * 5], "single": [(s,) * 5 for s in single], "multi": multi}
        for way, candidates in ways.items():
            if (str(draw), way) in known:
                continue
            start = time.perf_counter()
            found = []
            for strengths in candidates:
                penalty = [sj.penalties.L1(s) for s in strengths]
                solved = pde.solve(problem, networks, penalty, steps=steps, refit_steps=0)
                misses = pde.predict(problem, solved.networks, np.asarray(held_out.points))[0]
                error = float(np.mean((misses - np.asarray(held_out.values)) ** 2))
                found.append((error, strengths, solved.networks))
            held_out_error, strengths, best = min(found, key=lambda one: one[0])
            yield {
                "draw": draw,
                "way": way,
                "candidates": len(candidates),
                "strengths": " ".join(map("{:g}".format, strengths)),
                "held_out": held_out_error,
                "error": float(pde.errors(problem, best)[0]),
                "sparsity": sparsity(best),
                "seconds": time.perf_counter() - start,
            }


# What is solved, the strengths, and how long. Conditions: as terms of the loss, or built in.
VISCOUS, FRONT = 0.1 / math.pi, 0.01 / math.pi


class Size(NamedTuple):
    """Points, steps of proximal Adam and of the refit, and points in a step of the refit."""

    points: int
    steps: int
    refit_steps: int
    refit_batch: int


def burgers(viscosity: float, num: int, conditions: str) -> pde.Problem:
    return pde.burgers(viscosity, conditions, num)


EQUATIONS = {
    "burgers": (partial(burgers, VISCOUS), (0.0, 2e-4), Size(10_000, 6000, 50, 1000)),
    "front": (partial(burgers, FRONT), (0.0, 5e-4), Size(10_000, 6000, 150, 2000)),
    "schroedinger": (pde.schroedinger, (0.0, 3e-4), Size(10_000, 4000, 200, 800)),
}
KEYS = ("seed", "conditions", "strength", *Size._fields)


def equation(
    name: str, seeds: Sequence[int], size: Size, conditions: Sequence[str], known: set[tuple]
) -> Iterator[dict]:
    """A row a seed, setting and strength."""
    make, strengths, _ = EQUATIONS[name]
    for seed, kind, strength in itertools.product(seeds, conditions, strengths):
        if tuple(map(str, (seed, kind, strength, *size))) in known:
            continue
        wall, cpu = time.perf_counter(), time.process_time()
        problem = make(size.points, kind)
        networks = pde.networks(problem, (seed,), width=32, depth=3)
        penalty = sj.penalties.L1(strength) if strength else None
        solved = pde.solve(
            problem,
            networks,
            penalty,
            seed=seed,
            steps=size.steps,
            refit_steps=size.refit_steps,
            refit_batch=size.refit_batch,
        )
        jax.block_until_ready(solved.networks.layers[0].weight)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        yield {
            "seed": seed,
            "conditions": kind,
            "strength": strength,
            **size._asdict(),
            "error": float(pde.errors(problem, solved.networks)[0]),
            "sparsity": sparsity(solved.networks),
            "loss": solved.history[-1].losses[0],
            "seconds": wall,
            "cpu_seconds": cpu,
        }


def sparsity(networks: eqx.nn.MLP) -> float:
    """Of the weight matrices."""
    return sj.nn.sparsity_report([layer.weight for layer in networks.layers]).sparsity


def verdicts(rows: list[dict[str, str]]) -> Iterator[str]:
    """Means with intervals for every kind of row; for the function, what sparsity gains."""
    groups: dict[tuple, list[dict[str, str]]] = {}
    for row in rows:
        kind = (row["way"],) if "way" in row else tuple(row[key] for key in KEYS[1:])
        groups.setdefault(kind, []).append(row)
    samples = {
        kind: np.array([float(row["error"]) for row in found]) for kind, found in groups.items()
    }
    for kind, found in groups.items():
        value, low, high = bootstrap(mean, samples[kind])
        zeros = np.array([float(row["sparsity"]) for row in found])
        yield (
            f"{' '.join(map(str, kind)):>12}: error {value:.3g} [{low:.3g}, {high:.3g}], worst "
            f"{samples[kind].max():.3g}; zeros {zeros.mean():.1%}, least {zeros.min():.1%}"
        )
    for way in ("single", "multi"):
        if (way,) in samples:
            gain = bootstrap(reduction, samples[("dense",)], samples[(way,)])
            yield f"{way} below dense by {gain[0]:.1%} [{gain[1]:.1%}, {gain[2]:.1%}]"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.applications.pde", description=__doc__)
    names = ("function", *EQUATIONS)
    parser.add_argument("--fast", action="store_true", help="fewer steps, strengths and seeds")
    parser.add_argument("--only", nargs="+", choices=names, default=names[:2])
    parser.add_argument("--seeds", type=int, nargs="+", help="0 to 4, or 0 if fast")
    parser.add_argument("--conditions", nargs="+", default=("hard", "soft"))
    parser.add_argument(
        "--size", type=int, nargs=4, metavar=Size._fields, help="of equations, for a shorter run"
    )
    parser.add_argument("--out", type=Path, default=Path("bench/results/applications"))
    options = parser.parse_args(arguments)
    seeds = options.seeds or ([0] if options.fast else list(range(5)))
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.only:
        path = options.out / f"pde_{name}.csv"
        rows = read(path)
        keys = ("draw", "way") if name == "function" else KEYS
        known = {tuple(row[key] for key in keys) for row in rows}
        # The function's noise is far above single precision; the refit of equations needs double.
        with jax.enable_x64(name != "function"):
            if name == "function":
                found = function(seeds, options.fast, known)
            else:
                size = Size(*(options.size or EQUATIONS[name][2]))
                if options.fast:
                    short = min(size.steps, 2000) // 2, min(size.refit_steps, 40) // 2
                    size = size._replace(steps=short[0], refit_steps=short[1])
                found = equation(name, seeds, size, options.conditions, known)
            for row in found:
                shown = (f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values())
                print("  ".join(shown), flush=True)
                rows.append({key: str(value) for key, value in row.items()})
                write(rows, path)
        print(*verdicts(rows), sep="\n")


if __name__ == "__main__":
    main()
