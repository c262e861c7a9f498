"""What slimming buys: ``python -m bench.pruning.slim [--out …]``.

Half of the channels are removed from networks with BatchNorm, and a batch goes through masked and
slim model in turn, jitted, on one thread: median seconds of one call, and how many multiply–
accumulates are left. "packed" is the slim model after ``nn.pack_columns``, which leaves every
masked one here as it is, since none of their layers is so narrow. Outputs are compared, too. Writes
slim.csv. Two minutes.
"""

from bench.environment import pin

pin()

import argparse  # noqa: E402
import functools  # noqa: E402
import os  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Iterator, Mapping  # noqa: E402
from pathlib import Path  # noqa: E402

os.environ["JAX_ENABLE_X64"] = "0"  # networks run in single precision

import equinox as eqx  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from bench.rows import write  # noqa: E402
from sparsejax import nn  # noqa: E402
from sparsejax.applications import vision  # noqa: E402

KEY = jax.random.key(0)
BATCH = 8


def chain() -> tuple[eqx.nn.Sequential, eqx.nn.State]:
    """Six convolutions of 64 channels: every width but the first and last is halved."""
    layers, before = [], 3
    for key in jax.random.split(KEY, 6):
        layers.append(eqx.nn.Conv2d(before, 64, 3, padding=1, use_bias=False, key=key))
        layers += [eqx.nn.BatchNorm(64, "batch", mode="batch"), eqx.nn.Lambda(jax.nn.relu)]
        before = 64
    layers += [eqx.nn.AdaptiveAvgPool2d(1), eqx.nn.Lambda(jnp.ravel)]
    layers.append(eqx.nn.Linear(64, 10, key=KEY))
    return eqx.nn.make_with_state(eqx.nn.Sequential)(layers)


def resnet(depth: int, width: int) -> tuple[vision.ResNet, eqx.nn.State]:
    """Every width is halved, those of the streams too."""
    widths = (width, 2 * width, 4 * width)
    return eqx.filter_jit(vision.cifar_resnet)(depth, KEY, widths=widths)


# How each is made, and the pixels of a side of its images.
MODELS: Mapping[str, tuple[Callable[[], tuple], int]] = {
    "chain": (chain, 32),
    "resnet-20": (functools.partial(resnet, 20, 16), 32),
    "resnet-20, twice as wide": (functools.partial(resnet, 20, 32), 32),
    "resnet-56": (functools.partial(resnet, 56, 16), 32),
    "resnet-50": (functools.partial(eqx.filter_jit(vision.resnet50), KEY), 224),
}


def rows(repeats: int) -> Iterator[dict]:
    shuffle = np.random.default_rng(0)
    call = eqx.filter_jit(
        lambda model, state, images: jax.vmap(lambda image: model(image, state)[0])(images)
    )
    for name, (make, size) in MODELS.items():
        images = jax.random.normal(KEY, (BATCH, 3, size, size))
        model, state = make()
        masks = nn.magnitude_masks(model, nn.Channel(0.5))
        example = jax.ShapeDtypeStruct(images.shape[1:], images.dtype)
        masks = nn.shared_masks(model, state, masks, 8, example=example)
        small = nn.slim(model, state, masks, example=example)
        models = [
            (nn.apply_masks(model, masks), state),
            small,
            (nn.pack_columns(small[0]), small[1]),
        ]
        models = [(eqx.nn.inference_mode(model), state) for model, state in models]
        outputs = [np.asarray(call(*one, images)) for one in models]  # compile
        seconds: list[list[float]] = [[] for _ in models]
        for _ in range(repeats):
            for which in shuffle.permutation(len(models)):  # caches are warmer after small ones
                start = time.perf_counter()
                jax.block_until_ready(call(*models[which], images))
                seconds[which].append(time.perf_counter() - start)
        masked, slim, packed = map(float, map(np.median, seconds))
        macs = [
            nn.count_macs(lambda m, x, s: m(x, s)[0], model, images[0], state)
            for model, state in models
        ]
        yield {
            "model": name,
            "macs": macs[0],
            "macs_slim": macs[1],
            "masked_seconds": masked,
            "slim_seconds": slim,
            "packed_seconds": packed,
            "times_faster": masked / slim,
            "times_faster_packed": masked / packed,
            "difference": max(float(np.max(np.abs(outputs[0] - o))) for o in outputs[1:]),
        }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.pruning.slim", description=__doc__)
    parser.add_argument("--repeats", type=int, default=25)
    parser.add_argument("--out", type=Path, default=Path("bench/results/pruning"))
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    found = []
    for row in rows(options.repeats):
        found.append({k: f"{v:.3g}" if isinstance(v, float) else str(v) for k, v in row.items()})
        print("  ".join(f"{value:>12}" for value in found[-1].values()), flush=True)
    write(found, options.out / "slim.csv")


if __name__ == "__main__":
    main()
