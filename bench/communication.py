"""What devices send each other in an iteration: ``python -m bench.communication [--fast]``.

Compiles ``sj.solve`` for X sharded over features or samples on up to 256 devices (which XLA makes
of one CPU; nothing is run) and counts the collectives in the compiled program: in the body of
every loop, loops of known length counted that often, of a conditional the smallest and the
largest branch. Writes communication.csv, one row a loop that communicates:

payload_least, payload_most
    Bytes of the results of the collectives of one iteration, at the narrowest and the widest
    working set.
model_least, model_most
    What the cost model says (``model``), without scalars.
sent_most
    Bytes that each device sends where collectives are rings of D devices: (D − 1)/D times the
    payload of a gather, twice that of a reduction.
messages_most
    Collectives: what latency multiplies.
"""

import os

if __name__ == "__main__":  # before JAX counts the devices
    os.environ["XLA_FLAGS"] = (
        "--xla_force_host_platform_device_count=256 --xla_backend_optimization_level=0"
    )
    os.environ.update(JAX_PLATFORMS="cpu", JAX_ENABLE_X64="1")

import argparse
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import sparsejax as sj
from bench.rows import write

N, P_FEATURES, WIDTHS = 256, 4096, (16, 512)  # of the working sets possible at that shape
SIZES = {"pred": 1, "s8": 1, "u8": 1, "f32": 4, "s32": 4, "u32": 4, "f64": 8, "s64": 8, "u64": 8}
RING = {"all-reduce": 2, "all-gather": 1, "reduce-scatter": 1, "all-to-all": 1}
SPECS = {"features": (P(None, "x"), P()), "samples": (P("x", None), P("x"))}
SOLVERS = {"FISTA": sj.solvers.FISTA, "WorkingSet": sj.solvers.WorkingSet}
COLLECTIVE = re.compile(
    r" = (.*?) (all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(?:-start)?\("
)
CALLED = re.compile(r"(?:to_apply|calls|body)=%([\w.-]+)")
BRANCHES = re.compile(r"(?:branch_computations=\{|true_computation=)(.*?)(?:\}|, metadata|$)")
TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')


class Traffic(NamedTuple):
    """Of one device: bytes of results, bytes sent over a ring (times D/(D − 1)), collectives."""

    payload: int = 0
    ring: int = 0
    messages: int = 0

    def plus(self, other: "Traffic", times: int = 1) -> "Traffic":
        return Traffic(*(a + times * b for a, b in zip(self, other, strict=True)))


class Loop(NamedTuple):
    """An iteration of a loop whose length only the run knows."""

    name: str
    least: Traffic
    most: Traffic


def loops_of(program: str) -> Iterator[Loop]:
    """The loops of a compiled program (HLO text) in which devices communicate."""
    parts = _computations(program)
    for lines in parts.values():
        for line in lines:
            if " while(" in line and not TRIPS.search(line):
                body = CALLED.findall(line)[-1]
                least, most = (_traffic(parts, body, pick) for pick in (min, max))
                if most.messages:
                    name = re.search(r'op_name="([^"]*)"', line)
                    yield Loop(name[1] if name else "", least, most)


def _computations(program: str) -> dict[str, list[str]]:
    parts: dict[str, list[str]] = {}
    name = None
    for line in program.splitlines():
        head = re.match(r"(?:ENTRY )?%([\w.-]+) \(.*\{$", line)
        if head:
            name = head[1]
            parts[name] = []
        elif name is not None:
            parts[name].append(line)
    return parts


def _traffic(parts: dict[str, list[str]], name: str, pick) -> Traffic:
    """What one run of a computation sends; loops of unknown length are rows of their own."""
    total = Traffic()
    for line in parts[name]:
        collective, trips = COLLECTIVE.search(line), TRIPS.search(line)
        branches = BRANCHES.search(line)
        if collective:
            size = _bytes(collective[1])
            ring = RING.get(collective[2], 1) * size
            total = total.plus(Traffic(size, ring, 1))
        elif branches:
            names = re.findall(r"%([\w.-]+)", branches[1])
            total = total.plus(pick(_traffic(parts, branch, pick) for branch in names))
        elif " while(" not in line or trips:
            for called in CALLED.findall(line):
                times = int(trips[1]) if trips else 1
                total = total.plus(_traffic(parts, called, pick), times)
    return total


def _bytes(shapes: str) -> int:
    """Of an array, or of a tuple of them, as HLO writes them."""
    total = 0
    for dtype, sides in re.findall(r"(\w+)\[([\d,]*)\]", shapes):
        size = SIZES[dtype]
        for side in filter(None, sides.split(",")):
            size *= int(side)
        total += size
    return total


def compiled(solver: str, side: str, devices: int, n: int, p: int) -> str:
    """The program that solves a Lasso of these shapes in double precision, as HLO text."""

    def fit(X, y):
        problem = sj.Problem(X, y, penalty=sj.penalties.L1(0.1))
        return sj.solve(problem, solver=SOLVERS[solver](), throw=False)

    mesh = jax.make_mesh(
        (devices,), ("x",), axis_types=(AxisType.Auto,), devices=jax.devices()[:devices]
    )
    shapes = [
        jax.ShapeDtypeStruct(shape, float, sharding=NamedSharding(mesh, spec))
        for shape, spec in zip(((n, p), (n,)), SPECS[side], strict=True)
    ]
    return jax.jit(fit).lower(*shapes).compile().as_text()


def model(solver: str, side: str, n: int, p: int, width: int) -> int:
    """Bytes that the collectives of an iteration result in, but for a few scalars.

    An iteration of FISTA is ten steps and a certificate: eleven products, each a sum over all
    devices of n predictions (X sharded over features) or p pulls (samples). That of a working set
    of w features gathers the ranking of p features in single precision, w columns (for the Gram
    matrix and again for the predictions), and as many pulls and coefficients as there is room for;
    or sums a Gram matrix of w × w and p pulls.
    """
    if solver == "FISTA":
        return 8 * 11 * (n if side == "features" else p)
    if side == "features":
        return 4 * p + 8 * (2 * width * n + 2 * WIDTHS[-1])
    return 8 * (width**2 + p)


def rows_of(solver: str, side: str, devices: int, n: int, p: int) -> Iterator[dict]:
    start = time.perf_counter()
    program = compiled(solver, side, devices, n, p)
    seconds = time.perf_counter() - start
    for loop in loops_of(program):
        yield {
            "solver": solver,
            "sharded": side,
            "devices": devices,
            "n": n,
            "p": p,
            "payload_least": loop.least.payload,
            "payload_most": loop.most.payload,
            "model_least": model(solver, side, n, p, WIDTHS[0]),
            "model_most": model(solver, side, n, p, WIDTHS[-1]),
            "sent_most": round(loop.most.ring * (devices - 1) / devices),
            "messages_most": loop.most.messages,
            "loop": loop.name,
            "compile_seconds": round(seconds, 1),
        }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.communication", description=__doc__)
    parser.add_argument("--fast", action="store_true", help="FISTA alone, on 2 and 8 devices")
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    options = parser.parse_args(arguments)
    solvers = ["FISTA"] if options.fast else list(SOLVERS)
    devices = (2, 8) if options.fast else (2, 8, 32, 128, 256)
    rows = []
    for solver in solvers:
        for side in SPECS:
            for count in devices:
                for row in rows_of(solver, side, count, N, P_FEATURES):
                    rows.append(row)
                    print(row)
    options.out.mkdir(parents=True, exist_ok=True)
    write(rows, options.out / "communication.csv")


if __name__ == "__main__":
    main()
