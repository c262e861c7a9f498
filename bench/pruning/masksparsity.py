"""MaskSparsity, global sparsity, magnitude: ``python -m bench.pruning.masksparsity FOLDER``.

FOLDER holds Fashion-MNIST (Debian's package ``dataset-fashion-mnist``), halved here to 14×14
pixels. A ResNet-20 is trained; half of the channels within its blocks are dropped, the same number
in every block for each method, so that all have the same MACs; what is left is tuned. From one
baseline a seed, the methods take equally many steps with the weights that they keep:

- mask: the baseline again with an ℓ1 penalty on the scales to be dropped, found by a run with one
  on all scales (Jiang et al., 2022);
- global: the run with the penalty on all scales itself;
- magnitude: the baseline trained on without penalty; the channels of smallest mean weight go.

Writes masksparsity.csv (a row a seed and method, with the accuracy right after slimming and after
tuning; rows that it has are not computed again) and masksparsity_summary.csv (means with 95 %
t-intervals, and differences over paired seeds). An interrupted run goes on after what lies in
``unfinished``. ``--fast`` takes minutes.
"""

import argparse
import functools
import itertools
import math
from collections.abc import Iterator
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from bench.rows import read, write
from sparsejax import nn
from sparsejax.applications import vision
from sparsejax.penalties import L1

METHODS = ("mask", "global", "magnitude")
SETTING = ("depth", "width", "drop", "images", "steps", "strength")
BATCH = 64
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

    def __init__(self, seed: int, train, test, setting: dict, unfinished: Path):
        self.seed, self.train_set, self.test_set, self.setting = seed, train, test, setting
        self.steps, self.width = setting["steps"], setting["width"]
        self.drop = nn.Channel(setting["drop"])
        self.key = jax.random.key(seed)
        self.folder = unfinished / "-".join(map(str, ("masksparsity", *setting.values(), seed)))
        self.folder.mkdir(parents=True, exist_ok=True)
        widths = (self.width, 2 * self.width, 4 * self.width)
        make = eqx.filter_jit(vision.cifar_resnet)
        model, self.state = make(setting["depth"], self.key, channels=1, widths=widths)
        self.baseline = self.trained(model, self.state, 1, "baseline")

    def trained(self, model, state, stage: int, name: str, steps: int = 0):
        """With no channel penalised: the program is that of the stages with a penalty."""
        masks = nn.magnitude_masks(model, nn.Channel(0.0), vision.norm_scales)
        loss = vision.ClassificationLoss(state, L1(self.setting["strength"]), masks)
        return vision.train(
            model,
            *self.train_set,
            loss,
            tuning_sgd(steps) if steps else training_sgd(self.steps),
            steps=steps or self.steps,
            batch=BATCH,
            key=jax.random.fold_in(self.key, stage),
            checkpoint=self.folder / f"{name}.eqx",
        ).model

    def accuracy(self, model, state) -> float:
        return float(vision.accuracy(model, state, *map(jnp.asarray, self.test_set)))

    def fitted(self, model, state):
        return vision.fitted_state(model, state, self.train_set.images)

    def slimmed(self, method: str):
        """Model and state, before tuning."""
        example = jax.ShapeDtypeStruct((1, 14, 14), jnp.float32)
        if method == "magnitude":
            model = self.trained(self.baseline, self.state, 2, "magnitude")
            masks = nn.magnitude_masks(model, self.drop, "blocks.*.convs.0.weight")
            state = self.fitted(nn.apply_masks(model, masks), self.state)
            return nn.slim(model, state, masks, 1, example=example)
        stages = vision.Steps(0, self.steps, self.steps if method == "mask" else 0, 0)
        found = vision.mask_sparsity(
            self.baseline,
            self.state,
            *self.train_set,
            stages,
            key=self.key,
            strength=self.setting["strength"],
            drop=self.drop,
            round_to=1,
            batch=BATCH,
            optimiser=training_sgd,
            checkpoint=self.folder / "sparse",  # both methods share a stage
        )
        return found.model, found.state

    def row(self, method: str) -> dict:
        dense = self.accuracy(self.baseline, self.fitted(self.baseline, self.state))
        row = self.setting | {"seed": self.seed, "method": method, "dense": dense}
        model, state = self.slimmed(method)
        row["macs"] = macs(model, state)
        row["slim"] = self.accuracy(model, state)
        model = self.trained(model, state, 3, f"{method}-tuned", steps=self.steps // 3)
        row["tuned"] = self.accuracy(model, self.fitted(model, state))
        return {name: shown(value) for name, value in row.items()}


def macs(model, state) -> int:
    call = lambda model, x, state: model(x, state)[0]  # noqa: E731
    return nn.count_macs(call, eqx.nn.inference_mode(model), jnp.zeros((1, 14, 14)), state)


def summary(rows: list[dict[str, str]]) -> Iterator[dict[str, str]]:
    """Means over seeds, alone and of paired differences, with 95 % intervals."""
    for stage in ("slim", "tuned"):
        values = {
            method: np.array([float(row[stage]) for row in rows if row["method"] == method])
            for method in METHODS
        }
        for first, second in itertools.combinations(METHODS, 2):
            values[f"{first} - {second}"] = values[first] - values[second]
        for what, found in values.items():
            shown_interval = {name: shown(value) for name, value in interval(found).items()}
            yield {"stage": stage, "what": what, "seeds": str(len(found)), **shown_interval}


def interval(values: np.ndarray) -> dict[str, float]:
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    return {"mean": values.mean(), "low": values.mean() - half, "high": values.mean() + half}


def shown(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.pruning.masksparsity")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--depth", type=int, default=20)
    parser.add_argument("--width", type=int, default=16, help="channels of the first stage")
    parser.add_argument("--drop", type=float, default=0.5, help="part of the channels")
    parser.add_argument("--images", type=int, default=20000, help="to train on")
    parser.add_argument("--steps", type=int, default=600, help="of every stage of training")
    parser.add_argument("--strength", type=float, default=0.01)
    parser.add_argument("--fast", action="store_true", help="ResNet-8, 60 steps, 2000 images")
    parser.add_argument("--out", type=Path, default=Path("bench/results/pruning"))
    options = parser.parse_args(arguments)
    if options.fast:
        options.depth, options.width, options.images = 8, 8, 2000
        options.steps, options.strength = 60, 0.1
    setting = {name: getattr(options, name) for name in SETTING}
    unfinished = options.out / "unfinished"
    train, test = data(options.folder, options.images)
    path = options.out / f"masksparsity{'_fast' if options.fast else ''}.csv"
    found = read(path)
    of_setting = lambda row: all(row[n] == shown(v) for n, v in setting.items())  # noqa: E731
    for seed in range(options.seeds):
        known = [row["method"] for row in filter(of_setting, found) if row["seed"] == str(seed)]
        missing = [method for method in METHODS if method not in known]
        run = Run(seed, train, test, setting, unfinished) if missing else None
        for method in missing:
            found.append(run.row(method))
            print("  ".join(f"{value:>8}" for value in found[-1].values()), flush=True)
            write(found, path)
    if options.seeds > 1:
        totals = list(summary([row for row in found if of_setting(row)]))
        write(totals, path.with_stem(f"{path.stem}_summary"))
        print(*(" ".join(row.values()) for row in totals), sep="\n")


if __name__ == "__main__":
    main()
