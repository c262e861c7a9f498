"""A process that holds one solver and one design, and answers requests by lines of JSON.

``python -m bench.worker SOLVER FOLDER``; started by ``bench.processes``. A process of its own
gives each solver its own memory record, lets a run that exceeds its budget be ended from
outside, and lets adelie live under another NumPy. The clock runs inside this process.
"""

import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench import adapters, designs

REPEATS, REPEAT_WITHIN = 9, 0.1  # runs, and seconds


def main(solver: str, folder: Path) -> None:
    # Libraries print to standard output; keep it for the answers alone.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    X, y = designs.load(folder)
    adapter = adapters.make(solver, X, y)
    before = peak_megabytes()
    print(json.dumps({"ready": True}), file=answers)
    for line in sys.stdin:
        answer = _answer(adapter, json.loads(line))
        answer["peak_mb"] = peak_megabytes() - before
        print(json.dumps(answer), file=answers)


def _answer(adapter: adapters.Adapter, request: dict) -> dict:
    try:
        coef, seconds = _timed(adapter, request)
    except Exception as error:  # a solver that fails is a result of the bench, not its end
        return {"error": f"{type(error).__name__}: {error}"[:500]}
    np.save(request["out"], coef)
    return {"seconds": seconds, "claimed": getattr(adapter, "claimed", None)}


def _timed(adapter: adapters.Adapter, request: dict) -> tuple[np.ndarray, float]:
    def solve() -> np.ndarray:
        if "strengths" in request:
            return adapter.path(np.array(request["strengths"]), request["tol"])
        return adapter.fit(request["strength"], request["tol"])

    return repeated(solve, 1 if request.get("once") else REPEATS)


def repeated(solve: Callable[[], np.ndarray], repeats: int = REPEATS) -> tuple[np.ndarray, float]:
    """The coefficients and the median seconds of a few runs, of one if it is long.

    The first run after the other solvers' finds code and data out of the processor's caches: for
    fits of a millisecond or two that is most of the time.
    """
    seconds: list[float] = []
    while not seconds or (sum(seconds) < REPEAT_WITHIN and len(seconds) < repeats):
        start = time.perf_counter()
        coef = solve()
        seconds.append(time.perf_counter() - start)
    return coef, statistics.median(seconds)


def peak_megabytes() -> float:
    """Largest resident size so far (VmHWM: ru_maxrss would count the parent before exec)."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
