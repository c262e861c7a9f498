"""What a user waits for: ``python -m bench.first_call [--fast]``.

In fresh processes: seconds to import, seconds of the first solve at n=200, p=10000 (compilation
included, no compilation cache), of the first gradient and of the first path; and how many XLA
compilations happen when λ, y, X or the tolerance then change, which should be none.
Writes first_call.csv to ``--out``.
"""

from bench.environment import pin

pin()

import argparse  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import statistics  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402

from bench.rows import write  # noqa: E402

N, P = 200, 10_000
COMPILED = "/jax/core/compile/backend_compile_duration"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.first_call", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--fast", action="store_true", help="one process instead of five")
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure()))
        return
    samples = [_fresh_process() for _ in range(1 if options.fast else 5)]
    rows = [
        {
            "step": step,
            "median_seconds": f"{statistics.median(s[step]['seconds'] for s in samples):.4g}",
            "max_seconds": f"{max(s[step]['seconds'] for s in samples):.4g}",
            "compilations": max(s[step]["compilations"] for s in samples),
        }
        for step in samples[0]
    ]
    options.out.mkdir(parents=True, exist_ok=True)
    write(rows, options.out / "first_call.csv")
    print(f"n={N}, p={P}, float64, one thread, {len(samples)} fresh processes")
    for row in rows:
        print(f"{row['step']:34}{row['median_seconds']:>9} s{row['compilations']:>6} compilations")


def _fresh_process() -> dict:
    command = [sys.executable, "-m", "bench.first_call", "--child"]
    environment = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def measure() -> dict[str, dict[str, float]]:
    """Seconds and compilations of each step, in this process and in this order."""
    steps: dict[str, dict[str, float]] = {}
    compilations = [0]

    def timed(name: str, run: Callable) -> None:
        before, start = compilations[0], time.perf_counter()
        run()
        seconds = time.perf_counter() - start
        steps[name] = {"seconds": seconds, "compilations": compilations[0] - before}

    timed("import jax, equinox", lambda: [__import__(name) for name in ("jax", "equinox")])
    timed("import sparsejax", lambda: __import__("sparsejax"))
    # Names are imported when they are first asked for.
    timed("from sparsejax import solve", lambda: __import__("sparsejax").solve)
    import jax
    import numpy as np

    import sparsejax as sj

    def count(event: str, *_, **__) -> None:
        compilations[0] += event == COMPILED

    jax.monitoring.register_event_duration_secs_listener(count)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(N, P)), rng.normal(size=N)
    X2, y2 = rng.normal(size=(N, P)), rng.normal(size=N)
    strength = 0.1 * float(np.abs(X.T @ y).max() / N)

    def problem(X, y, strength):
        return sj.Problem(X, y, penalty=sj.penalties.L1(strength))

    def solve(X, y, strength, tol=1e-8):
        jax.block_until_ready(sj.solve(problem(X, y, strength), tol=tol).coef)

    timed("first solve", lambda: solve(X, y, strength))
    timed("same again", lambda: solve(X, y, strength))
    timed("another strength (λmax/2)", lambda: solve(X, y, 5 * strength))
    timed("another strength (λmax/100)", lambda: solve(X, y, 0.1 * strength))
    timed("another y", lambda: solve(X, y2, strength))
    timed("another X", lambda: solve(X2, y2, strength))
    timed("another tolerance", lambda: solve(X, y, strength, 1e-10))

    def total(strength, X, y):
        return sj.solve(problem(X, y, strength), tol=1e-8).coef.sum()

    # X and y as arguments: closed over, they would be constants that XLA tries to fold.
    compiled = jax.jit(jax.value_and_grad(total))

    def gradient(strength):
        jax.block_until_ready(compiled(strength, X, y))

    timed("first value_and_grad", lambda: gradient(strength))
    timed("value_and_grad, another strength", lambda: gradient(2 * strength))
    if hasattr(sj, "path"):
        run_path = lambda X: jax.block_until_ready(  # noqa: E731
            sj.path(problem(X, y, strength), num=100, ratio=1e-2).coefs
        )
        timed("first path of 100", lambda: run_path(X))
        timed("path of 100, another X", lambda: run_path(X2))
    return steps


if __name__ == "__main__":
    main()
