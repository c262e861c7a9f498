"""When zeros save time: ``python -m bench.pruning.sparse_linear [--out …]``.

One linear layer of 4096 inputs and outputs, a batch of 64 under ``vmap``, jitted, one thread:
median seconds with zeros stored in a dense matrix and with the others alone (``nn.SparseLinear``).
Writes sparse_linear.csv. Half a minute.
"""

from bench.environment import pin

pin()

import argparse  # noqa: E402
import os  # noqa: E402
import time  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from pathlib import Path  # noqa: E402

os.environ["JAX_ENABLE_X64"] = "0"  # networks run in single precision

import equinox as eqx  # noqa: E402
import jax  # noqa: E402
import numpy as np  # noqa: E402

from bench.rows import write  # noqa: E402
from sparsejax import nn  # noqa: E402

KEY = jax.random.key(0)
SPARSITIES = (0.5, 0.8, 0.9, 0.95, 0.99)


def rows(size: int, batch: int, repeats: int) -> Iterator[dict]:
    linear = eqx.nn.Linear(size, size, key=KEY)
    x = jax.random.normal(KEY, (batch, size))
    call = eqx.filter_jit(lambda layer, x: jax.vmap(layer)(x))
    for sparsity in SPARSITIES:
        masks = nn.magnitude_masks(linear, nn.Unstructured(sparsity))
        dense = nn.apply_masks(linear, masks)
        both = (dense, nn.SparseLinear.of(dense))
        outputs = [np.asarray(call(layer, x)) for layer in both]  # compile
        seconds: tuple[list[float], list[float]] = ([], [])
        for _ in range(repeats):
            for layer, taken in zip(both, seconds, strict=True):
                start = time.perf_counter()
                jax.block_until_ready(call(layer, x))
                taken.append(time.perf_counter() - start)
        stored, sparse = map(float, map(np.median, seconds))
        yield {
            "size": size,
            "batch": batch,
            "sparsity": sparsity,
            "dense_seconds": f"{stored:.3g}",
            "sparse_seconds": f"{sparse:.3g}",
            "faster": f"{stored / sparse:.2f}",
            "difference": f"{np.max(np.abs(outputs[0] - outputs[1])):.1e}",
        }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.pruning.sparse_linear")
    parser.add_argument("--out", type=Path, default=Path("bench/results/pruning"))
    options = parser.parse_args()
    found = list(rows(4096, 64, 9))
    options.out.mkdir(parents=True, exist_ok=True)
    write(found, options.out / "sparse_linear.csv")
    for row in found:
        print(*row.values())


if __name__ == "__main__":
    main()
