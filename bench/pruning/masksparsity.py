"""MaskSparsity, global sparsity, magnitude: ``python -m bench.pruning.masksparsity FOLDER``.

FOLDER holds Fashion-MNIST (Debian's package ``dataset-fashion-mnist``), halved here to 14×14
pixels. A ResNet-8 is trained; half of the channels within its blocks are dropped, the same number
in every block for each method, so that all have the same MACs; what is left is tuned. From one
baseline a seed, the methods take equally many steps with the weights that they keep:

- mask: the baseline again with an ℓ1 penalty on the scales to be dropped, found by a run with one
  on all scales (Jiang et al., 2022);
- global: the run with the penalty on all scales itself;
- magnitude: the baseline trained on without penalty; the channels of smallest mean weight go.

Writes masksparsity.csv (a row a seed and method, with the accuracy right after slimming and after
tuning) and masksparsity_summary.csv (means with 95 % t-intervals, and differences to magnitude over
paired seeds). ``--fast`` takes minutes.
"""

from bench.environment import pin

pin()

import argparse  # noqa: E402
import csv  # noqa: E402
import functools  # noqa: E402
import math  # noqa: E402
import os  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from pathlib import Path  # noqa: E402

os.environ["JAX_ENABLE_X64"] = "0"  # networks are trained in single precision

import equinox as eqx  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from scipy import stats  # noqa: E402

from sparsejax import nn  # noqa: E402
from sparsejax.applications import vision  # noqa: E402
from sparsejax.penalties import L1  # noqa: E402

METHODS = ("mask", "global", "magnitude")
FIELDS = ("seed", "method", "macs", "dense", "slim", "tuned")
DROP, BATCH = nn.Channel(0.5), 64
tuning_sgd = functools.lru_cache(functools.partial(vision.step_sgd, learning_rate=0.01))


@functools.lru_cache
def training_sgd(steps: int):
    return vision.step_sgd(steps, 0.05)


def data(folder: Path, count: int) -> tuple[vision.LabelledImages, vision.LabelledImages]:
    """Training and test images, each pixel the mean of four, standardised."""
    found = []
    for split, number in (("train", count), ("test", 2000)):
        images, labels = vision.load_fashion_mnist(folder, split)
        small = images[:number].reshape(number, 1, 14, 2, 14, 2).mean(axis=(3, 5))
        found.append(vision.LabelledImages((small - 0.286) / 0.32, labels[:number]))
    return found[0], found[1]


class Run:
    """One seed: a baseline, and what the methods make of it."""

    def __init__(self, seed: int, train, test, steps: int, strength: float, width: int):
        self.seed, self.train_set, self.test_set = seed, train, test
        self.steps, self.tuning, self.strength = steps, steps // 3, strength
        self.key, self.width = jax.random.key(seed), width
        widths = (width, 2 * width, 4 * width)
        make = eqx.filter_jit(vision.cifar_resnet)
        model, self.state = make(8, self.key, channels=1, widths=widths)
        self.baseline = self.trained(model, self.state, 1)

    def trained(self, model, state, stage: int, tuning: bool = False):
        """With no channel penalised: the program is that of the stages with a penalty."""
        masks = nn.magnitude_masks(model, nn.Channel(0.0), vision.norm_scales)
        loss = vision.ClassificationLoss(state, L1(self.strength), masks)
        steps = self.tuning if tuning else self.steps
        return vision.train(
            model,
            *self.train_set,
            loss,
            (tuning_sgd if tuning else training_sgd)(steps),
            steps=steps,
            batch=BATCH,
            key=jax.random.fold_in(self.key, stage),
            every=steps,
        ).model

    def accuracy(self, model, state) -> float:
        return float(vision.accuracy(model, state, *map(jnp.asarray, self.test_set)))

    def fitted(self, model, state):
        return vision.fitted_state(model, state, jnp.asarray(self.train_set.images))

    def slimmed(self, method: str):
        """Model and state, before tuning."""
        example = jax.ShapeDtypeStruct((1, 14, 14), jnp.float32)
        if method == "magnitude":
            model = self.trained(self.baseline, self.state, 2)
            masks = nn.magnitude_masks(model, DROP, "blocks.*.convs.0.weight")
            state = self.fitted(nn.apply_masks(model, masks), self.state)
            return nn.slim(model, state, masks, self.width // 2, example=example)
        stages = vision.Steps(0, self.steps, self.steps if method == "mask" else 0, 0)
        found = vision.mask_sparsity(
            self.baseline,
            self.state,
            *self.train_set,
            stages,
            key=self.key,
            strength=self.strength,
            drop=DROP,
            round_to=self.width // 2,
            batch=BATCH,
            optimiser=training_sgd,
            every=self.steps,
        )
        return found.model, found.state

    def rows(self) -> Iterator[dict]:
        dense = self.accuracy(self.baseline, self.fitted(self.baseline, self.state))
        for method in METHODS:
            model, state = self.slimmed(method)
            row = {"seed": self.seed, "method": method, "dense": dense}
            row["macs"] = macs(model, state)
            row["slim"] = self.accuracy(model, state)
            model = self.trained(model, state, 3, tuning=True)
            row["tuned"] = self.accuracy(model, self.fitted(model, state))
            yield row


def macs(model, state) -> int:
    call = lambda model, x, state: model(x, state)[0]  # noqa: E731
    return nn.count_macs(call, eqx.nn.inference_mode(model), jnp.zeros((1, 14, 14)), state)


def summary(rows: list[dict]) -> Iterator[dict]:
    """Means over seeds, alone and less those of magnitude, with 95 % intervals."""
    for stage in ("slim", "tuned"):
        values = {m: np.array([r[stage] for r in rows if r["method"] == m]) for m in METHODS}
        for method, found in values.items():
            yield {"stage": stage, "what": method, **interval(found)}
        for method in METHODS[:2]:
            difference = values[method] - values["magnitude"]
            yield {"stage": stage, "what": f"{method} - magnitude", **interval(difference)}
        difference = values["mask"] - values["global"]
        yield {"stage": stage, "what": "mask - global", **interval(difference)}


def interval(values: np.ndarray) -> dict:
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    return {"mean": values.mean(), "low": values.mean() - half, "high": values.mean() + half}


def write(path: Path, rows: list[dict]) -> None:
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        for row in rows:
            writer.writerow({name: shown(value) for name, value in row.items()})


def shown(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.pruning.masksparsity")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=600, help="of every stage of training")
    parser.add_argument("--images", type=int, default=20000, help="to train on")
    parser.add_argument("--strength", type=float, default=0.01)
    parser.add_argument("--width", type=int, default=16, help="channels of the first stage")
    parser.add_argument("--fast", action="store_true", help="60 steps, 2000 images, width 8")
    parser.add_argument("--out", type=Path, default=Path("bench/results/pruning"))
    options = parser.parse_args(arguments)
    if options.fast:
        options.steps, options.images, options.strength, options.width = 60, 2000, 0.1, 8
    options.out.mkdir(parents=True, exist_ok=True)
    train, test = data(options.folder, options.images)
    rows = []
    for seed in range(options.seeds):
        run = Run(seed, train, test, options.steps, options.strength, options.width)
        for row in run.rows():
            rows.append({field: row[field] for field in FIELDS})
            print("  ".join(f"{shown(value):>10}" for value in rows[-1].values()), flush=True)
            write(options.out / "masksparsity.csv", rows)
    if options.seeds > 1:
        write(options.out / "masksparsity_summary.csv", list(summary(rows)))


if __name__ == "__main__":
    main()
