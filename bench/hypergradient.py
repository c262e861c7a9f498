"""The derivative of held-out error by strength: ``python -m bench.hypergradient [--fast]``.

On two designs (independent, and correlated ρ = 0.95 as in an AR(1) process), in float64:

* error of our gradient, in reverse and forward mode, against the closed form on the support
  (NumPy, from an optimum that is exact there) and against central differences of solves to
  machine precision;
* seconds of the forward solve and of ``value_and_grad``, compiled and taking turns;
* jaxopt's implicit gradient at the same exact optimum, with its three linear solvers: error and
  seconds of the backward pass alone.

Writes hypergradient.csv to ``--out``.
"""

from bench.environment import pin

pin()

import argparse  # noqa: E402
import statistics  # noqa: E402
import time  # noqa: E402
import warnings  # noqa: E402
from collections.abc import Callable, Mapping  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import NamedTuple  # noqa: E402

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

import sparsejax as sj  # noqa: E402
from bench import gap  # noqa: E402
from bench.rows import write  # noqa: E402

TOL = 1e-13
STEP = 1e-5  # of the central differences, relative to the strength


class Case(NamedTuple):
    """A training and a held-out set, and a strength."""

    name: str
    X: np.ndarray
    y: np.ndarray
    X_out: np.ndarray
    y_out: np.ndarray
    strength: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.hypergradient", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--fast", action="store_true", help="fewer repeats, jaxopt's cg left out")
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    options = parser.parse_args()
    repeats = options.repeats or (5 if options.fast else 21)
    rows = []
    for case in (make_case(100, 1000, 0.0, 13), make_case(500, 3000, 0.95, 30)):
        rows += bench_case(case, repeats, options.fast)
    options.out.mkdir(parents=True, exist_ok=True)
    write(rows, options.out / "hypergradient.csv")
    for row in rows:
        numbers = "".join(f"{value:>12}" for value in list(row.values())[3:])
        print(f"{row['case']:24}nnz {row['nnz']:<5}{row['method']:24}{numbers}")
    print("columns:", ", ".join(list(rows[0])[3:]))


def make_case(n: int, p: int, rho: float, ratio: float) -> Case:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2 * n, p))
    for j in range(1, p):
        X[:, j] = rho * X[:, j - 1] + np.sqrt(1 - rho**2) * X[:, j]
    coef = np.zeros(p)
    coef[rng.choice(p, n // 20, replace=False)] = rng.normal(size=n // 20)
    y = X @ coef
    y += rng.normal(size=2 * n) * np.linalg.norm(y) / np.sqrt(2 * n) / 3
    strength = gap.strength_max(X[:n], y[:n]) / ratio
    return Case(f"n={n} p={p} ρ={rho:g}", X[:n], y[:n], X[n:], y[n:], strength)


def bench_case(case: Case, repeats: int, fast: bool) -> list[dict]:
    data = tuple(map(jnp.asarray, case[1:5]))

    def error(strength, data):
        X, y, X_out, y_out = data
        problem = sj.Problem(X, y, penalty=sj.penalties.L1(strength))
        residual = X_out @ sj.solve(problem, tol=TOL).coef - y_out
        return residual @ residual / (2 * y_out.shape[0])

    def coef_at(strength):
        problem = sj.Problem(case.X, case.y, penalty=sj.penalties.L1(strength))
        return sj.solve(problem, tol=TOL).coef

    def forward_mode(strength, data):
        return jax.jvp(lambda s: error(s, data), (strength,), (jnp.ones_like(strength),))

    optimum = exact_optimum(case, np.asarray(coef_at(case.strength)), case.strength)
    closed = closed_form(case, optimum)
    strength = jnp.asarray(case.strength)
    compiled: dict[str, Callable] = {
        "forward": jax.jit(error),
        "value_and_grad": jax.jit(jax.value_and_grad(error)),
        "jvp": jax.jit(forward_mode),
    }
    seconds = interleaved({k: lambda f=f: f(strength, data) for k, f in compiled.items()}, repeats)
    label = {"case": case.name, "nnz": int(np.count_nonzero(optimum))}
    differences = central_differences(case, coef_at)

    def row(method: str, value: float, seconds: float, times_forward: float | str = "") -> dict:
        return label | {
            "method": method,
            "error_closed_form": f"{abs(value / closed - 1):.1e}",
            "error_differences": f"{abs(value / differences - 1):.1e}",
            "seconds": f"{seconds:.4g}",
            "times_forward": times_forward,
        }

    rows = []
    for mode in ("value_and_grad", "jvp"):
        value = float(compiled[mode](strength, data)[1])
        times = f"{seconds[mode] / seconds['forward']:.2f}"
        rows.append(row(f"sparsejax {mode}", value, seconds[mode], times))
    for name, backward in jaxopt_backwards(case, optimum, fast).items():
        value = float(backward())
        took = interleaved({name: backward}, 1 if fast else 3)[name]
        rows.append(row(f"jaxopt {name} (backward)", value, took))
    return rows


def exact_optimum(case: Case, coef: np.ndarray, strength: float) -> np.ndarray:
    """The solution with the support and signs of ``coef``, to rounding; certified by the judge."""
    support = np.flatnonzero(coef)
    columns = case.X[:, support]
    n = len(case.y)
    slope = columns.T @ case.y / n - strength * np.sign(coef[support])
    exact = np.zeros_like(coef)
    exact[support] = np.linalg.solve(columns.T @ columns / n, slope)
    verdict = gap.judge(case.X, case.y, exact, strength)
    assert verdict.gap < 1e-12, f"{case.name}: not optimal on its support, gap {verdict.gap:.1e}"
    return exact


def closed_form(case: Case, optimum: np.ndarray) -> float:
    """(X_out w − y_out)ᵀ X_out,S dw_S / n_out with dw_S = −(X_SᵀX_S/n)⁻¹ sign(w_S)."""
    support = np.flatnonzero(optimum)
    columns = case.X[:, support]
    gram = columns.T @ columns / len(case.y)
    direction = -np.linalg.solve(gram, np.sign(optimum[support]))
    residual = case.X_out @ optimum - case.y_out
    return float(residual @ (case.X_out[:, support] @ direction) / len(case.y_out))


def central_differences(case: Case, coef_at: Callable) -> float:
    """Of the held-out error at optima exact on their supports."""
    errors = []
    for strength in (case.strength * (1 + STEP), case.strength * (1 - STEP)):
        optimum = exact_optimum(case, np.asarray(coef_at(strength)), strength)
        errors.append(case.X_out @ optimum - case.y_out)
    plus, minus = errors
    # ‖a‖² − ‖b‖² = (a − b)ᵀ(a + b) spares the digits that two close numbers share.
    return float((plus - minus) @ (plus + minus) / (4 * STEP * case.strength * len(plus)))


def interleaved(runs: Mapping[str, Callable], repeats: int) -> dict[str, float]:
    """Median seconds of each, warmed up and taking turns."""
    samples: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        jax.block_until_ready(run())
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            jax.block_until_ready(run())
            samples[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in samples.items()}


def jaxopt_backwards(case: Case, optimum: np.ndarray, fast: bool) -> dict[str, Callable]:
    """jaxopt's implicit backward pass at the exact optimum, with each of its linear solvers."""
    warnings.simplefilter("ignore")
    try:
        import jaxopt
        from jaxopt import linear_solve
        from jaxopt.implicit_diff import root_vjp
    except ImportError:
        return {}
    X, y, X_out, y_out, w = map(jnp.asarray, (*case[1:5], optimum))

    def loss(w, data):
        residual = data[0] @ w - data[1]
        return residual @ residual / (2 * data[1].shape[0])

    solver = jaxopt.ProximalGradient(loss, jaxopt.prox.prox_lasso)
    cotangent = X_out.T @ (X_out @ w - y_out) / y_out.shape[0]
    choices = {
        "normal_cg": linear_solve.solve_normal_cg,
        "gmres": linear_solve.solve_gmres,
        "cg": linear_solve.solve_cg,
    }
    if fast:
        del choices["cg"]

    def backward(solve: Callable) -> Callable:
        def run(strength, data):
            arguments = (strength, data)
            return root_vjp(solver.optimality_fun, w, arguments, cotangent, solve=solve)[0]

        compiled = jax.jit(run)
        return lambda: compiled(jnp.asarray(case.strength), (X, y))

    return {name: backward(solve) for name, solve in choices.items()}


if __name__ == "__main__":
    main()
