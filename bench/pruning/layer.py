"""One random layer pruned by every method: ``python -m bench.pruning.layer [--width …] [--out …]``.

The inputs are correlated (their spectrum decays like 1/√k) and of unequal scale (log-normal). Each
method sees 4 inputs a width; the error is the part of the outputs' squared norm that is lost on as
many others (``output_error``), averaged over ``--seeds`` layers, beside the same mask refitted by
least squares and the seconds of a warm call. Writes layer.csv. A few minutes.
"""

from bench.environment import pin

pin()

import argparse  # noqa: E402
import csv  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Iterator, Mapping  # noqa: E402
from pathlib import Path  # noqa: E402

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from sparsejax import nn  # noqa: E402

Pruned = tuple[jax.Array, jax.Array]
METHODS: Mapping[str, Callable[[jax.Array, jax.Array, nn.AbstractPattern], Pruned]] = {
    "magnitude": lambda W, H, pattern: nn.wanda(W, jnp.ones(W.shape[1], W.dtype), pattern),
    "wanda": lambda W, H, pattern: nn.wanda(W, jnp.sqrt(jnp.diagonal(H)), pattern),
    "sparsegpt": nn.sparsegpt,
    "sds": nn.sds,
    "sds without re-dense": lambda W, H, pattern: nn.sds(W, H, pattern, l1=0.0, l2=0.0),
}
PATTERNS = {"2:4": nn.NM(2, 4), "1:4": nn.NM(1, 4), "50 %": nn.Unstructured(0.5)}


def layer(width: int, seed: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """A weight and two Gram matrices of inputs of one distribution, in single precision."""
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(width, width)) / np.sqrt(width)
    basis = np.linalg.qr(rng.normal(size=(width, width)))[0]
    mix = basis * np.arange(1, width + 1) ** -0.5 @ basis.T * np.exp(0.5 * rng.normal(size=width))
    inputs = rng.normal(size=(2, 4 * width, width)) @ mix
    grams = np.swapaxes(inputs, 1, 2) @ inputs / (4 * width)
    return tuple(jnp.asarray(x, jnp.float32) for x in (weight, *grams))


def rows(width: int, seeds: int) -> Iterator[dict]:
    """A row a pattern and method."""
    layers = [layer(width, seed) for seed in range(seeds)]
    for name, pattern in PATTERNS.items():
        for method, prune in METHODS.items():
            errors, refitted, seconds = [], [], []
            jax.block_until_ready(prune(*layers[0][:2], pattern))  # compile
            for weight, gram, held_out in layers:
                start = time.perf_counter()
                pruned, mask = jax.block_until_ready(prune(weight, gram, pattern))
                seconds.append(time.perf_counter() - start)
                errors.append(nn.output_error(pruned, weight, held_out))
                again = nn.refit(weight, mask, gram)
                refitted.append(nn.output_error(again, weight, held_out))
            yield {
                "pattern": name,
                "method": method,
                "error": float(np.mean(errors)),
                "refitted": float(np.mean(refitted)),
                "seconds": float(np.median(seconds)),
            }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.pruning.layer", description=__doc__)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("bench/results/pruning"))
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    with open(options.out / "layer.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, ["pattern", "method", "error", "refitted", "seconds"])
        writer.writeheader()
        for row in rows(options.width, options.seeds):
            shown = {k: f"{v:.4f}" if isinstance(v, float) else v for k, v in row.items()}
            print("  ".join(f"{value:>20}" for value in shown.values()))
            writer.writerow(shown)


if __name__ == "__main__":
    main()
