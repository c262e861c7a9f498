"""The derivative of a denoised picture: ``python -m bench.picture_gradient [--fast]``.

By strength of total variation, of the mean squared error of a photograph with noise of a tenth
(float64). At every size, kind and gap: seconds of the solve and of ``value_and_grad``, compiled and
taking turns, and the error of that gradient and of central differences of solves to the same gap,
which take two more solves and have a step of their own to be chosen; both relative to differences
of solves to a gap of 1e-11. Writes picture_gradient.csv to ``--out``.
"""

from bench.environment import pin

pin()

import argparse  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from pathlib import Path  # noqa: E402

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402

import sparsejax as sj  # noqa: E402
from bench.hypergradient import interleaved  # noqa: E402
from bench.rows import write  # noqa: E402
from bench.structures.denoising import noisy_portrait, portrait  # noqa: E402

STEP = 1e-3  # of the central differences, relative to the strength
EXACT = 1e-11
MAX_STEPS = 200_000


def rows_of(side: int, kind: str, tols: list[float], repeats: int) -> Iterator[dict]:
    clean, noisy = (jnp.asarray(p.ravel()) for p in (portrait(side), noisy_portrait(side)))
    D = sj.penalties.difference_operator((side, side))
    groups = sj.penalties.difference_groups((side, side)) if kind == "isotropic" else None
    X = sj.designs.Identity(clean.size)

    def error(strength: jax.Array, tol: jax.Array) -> jax.Array:
        problem = sj.Problem(X, noisy, penalty=sj.penalties.Analysis(strength, D, groups))
        solution = sj.solve(problem, tol=tol, max_steps=MAX_STEPS, throw=False)
        return jnp.mean((solution.coef - clean) ** 2)

    forward, both = jax.jit(error), jax.jit(jax.value_and_grad(error))
    strength = 0.1 / clean.size

    def difference(tol: float) -> float:
        ends = [float(forward(strength * (1 + sign * STEP), tol)) for sign in (1, -1)]
        return (ends[0] - ends[1]) / (2 * STEP * strength)

    exact = difference(EXACT)
    for tol in tols:
        runs = {"solve": forward, "value_and_grad": both}
        taking_turns = {name: lambda f=f, tol=tol: f(strength, tol) for name, f in runs.items()}
        seconds = interleaved(taking_turns, repeats)
        found = float(both(strength, tol)[1])
        yield {
            "side": side,
            "kind": kind,
            "gap": tol,
            "seconds_solve": f"{seconds['solve']:.4g}",
            "seconds_value_and_grad": f"{seconds['value_and_grad']:.4g}",
            "error_gradient": f"{abs(found / exact - 1):.1e}",
            "error_differences": f"{abs(difference(tol) / exact - 1):.1e}",
        }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.picture_gradient", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--fast", action="store_true", help="one small picture")
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    options = parser.parse_args()
    sides = {"anisotropic": (24, 64, 128, 256), "isotropic": (24, 64, 128)}
    rows = []
    for kind in sides:
        for side in (16,) if options.fast else sides[kind]:
            for row in rows_of(side, kind, [1e-5, 1e-8], 3 if options.fast else 5):
                rows.append(row)
                print(*row.values(), sep="\t", flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    write(rows, options.out / "picture_gradient.csv")
    print("columns:", ", ".join(rows[0]))


if __name__ == "__main__":
    main()
