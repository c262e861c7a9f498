"""Sparse then Prune at small size: ``python -m bench.pruning.vit [--fast] [--regularisers …]``.

A vision transformer is trained on 4000 handwritten digits for each regulariser, all seeds at once,
then pruned in one shot by global magnitude with the paper's exclusions, without further training.
Writes vit.csv: for every regulariser and sparsity the accuracy on 1000 other digits, and how far it
lies above that of the unregularised models of the same seeds, with 95 % intervals (Student's t over
seeds, which differ in weights and in the order of samples, not in the split). An interrupted
training goes on, and one that is done is not done again: its models stay in ``unfinished``.
"""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

import sparsejax as sj
from bench.rows import read, write
from sparsejax.applications import vision

DIGITS = Path(__file__).parents[2].parent / "shared" / "data" / "mnist5k.npz"
CONFIG = vision.ViTConfig(
    image=28, patch=7, width=64, depth=4, heads=4, hidden=128, classes=10, channels=1
)
REGULARISERS: Mapping[str, vision.Loss] = {
    "none": vision.vit_loss(0.0),
    "attention, last": vision.vit_loss(0.01, "last"),
    "attention, all": vision.vit_loss(0.01, "all"),
    "attention ×100, all": vision.vit_loss(1.0, "all"),
    "L1": vision.vit_loss(0.0, penalty=sj.penalties.L1(1e-5)),
}
SPARSITIES = (0.0, 0.5, 0.7, 0.8, 0.9)
_RUN = ("regulariser", "steps", "seeds")


class Digits(NamedTuple):
    """Images, (samples, 1, 28, 28), and labels."""

    images: np.ndarray
    labels: np.ndarray


def digits(path: Path = DIGITS) -> tuple[Digits, Digits]:
    """Four fifths to train on and one to judge by, alike in classes."""
    with np.load(path) as file:
        images = file["X"].reshape(-1, 1, 28, 28).astype(np.float32) / 255
        labels = file["y"].astype(np.int32)
    images = (images - images.mean()) / images.std()
    order = np.random.default_rng(0).permutation(len(labels))
    held_out, train = order[: len(order) // 5], order[len(order) // 5 :]
    return Digits(images[train], labels[train]), Digits(images[held_out], labels[held_out])


def trained(name: str, data: Digits, steps: int, seeds: int, checkpoint: Path) -> vision.ViT:
    """Models of all seeds, stacked; seeds are the same for every regulariser."""
    keys = jax.random.split(jax.random.key(0), (2, seeds))
    return vision.train(
        eqx.filter_vmap(lambda key: vision.ViT(CONFIG, key))(keys[0]),
        *(jnp.asarray(array) for array in data),
        REGULARISERS[name],
        vision.one_cycle_sgd(steps, 0.05, warmup=steps // 4),
        steps=steps,
        batch=64,
        key=keys[1],
        every=50,
        checkpoint=checkpoint,
        callback=lambda done, losses: print(f"{name}: {done}, {losses.mean():.3f}", flush=True),
    ).model


def pruned(model: vision.ViT, sparsity: float) -> vision.ViT:
    """One shot, all weights against all."""
    pattern = sj.nn.Unstructured(sparsity)
    masks = sj.nn.magnitude_masks(model, pattern, where=vision.prunable, scope="global")
    return sj.nn.apply_masks(model, masks)


@jax.jit
def accuracy(model: vision.ViT, data: Digits) -> jax.Array:
    """The part of labels that are right."""
    return jnp.mean(jnp.argmax(jax.vmap(model)(data.images), axis=1) == data.labels)


def accuracies(models: vision.ViT, data: Digits, seeds: int) -> dict[float, np.ndarray]:
    """By sparsity, one a seed."""
    each = [jax.tree.map(lambda x, seed=seed: x[seed], models) for seed in range(seeds)]
    return {
        sparsity: np.array([float(accuracy(pruned(model, sparsity), data)) for model in each])
        for sparsity in SPARSITIES
    }


def interval(values: np.ndarray) -> float:
    """Half the width of the 95 % interval of the mean."""
    return float(scipy.stats.t.ppf(0.975, values.size - 1) * scipy.stats.sem(values))


def rows(
    found: dict[float, np.ndarray], plain: dict[float, np.ndarray], shared: dict[str, Any]
) -> Iterator[dict[str, str]]:
    """A row a sparsity."""
    for sparsity, values in found.items():
        gain = values - plain[sparsity]
        row = shared | {
            "sparsity": sparsity,
            "accuracy": values.mean(),
            "accuracy_interval": interval(values),
            "gain": gain.mean(),
            "gain_interval": interval(gain),
        }
        yield {k: f"{v:.4f}" if isinstance(v, float) else str(v) for k, v in row.items()}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.pruning.vit", description=__doc__)
    parser.add_argument("--fast", action="store_true", help="200 steps, not 1000")
    parser.add_argument("--steps", type=int, help="how many instead")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--regularisers", nargs="+", choices=REGULARISERS, default=[*REGULARISERS])
    parser.add_argument("--data", type=Path, default=DIGITS)
    parser.add_argument("--out", type=Path, default=Path("bench/results/pruning"))
    options = parser.parse_args(arguments)
    steps = options.steps or (200 if options.fast else 1000)
    unfinished = options.out / "unfinished"
    unfinished.mkdir(parents=True, exist_ok=True)
    train, held_out = digits(options.data)
    plain = None
    for name in dict.fromkeys(["none", *options.regularisers]):
        file = unfinished / f"vit-{name}-{steps}-{options.seeds}.eqx".replace(" ", "")
        models = trained(name, train, steps, options.seeds, file)
        found = accuracies(models, held_out, options.seeds)
        plain = found if plain is None else plain
        shared = {"regulariser": name, "steps": steps, "seeds": options.seeds}
        new = list(rows(found, plain, shared))
        print(*new, sep="\n", flush=True)
        # They take the place of those of the same run.
        path = options.out / "vit.csv"
        others = [row for row in read(path) if any(row[k] != new[0][k] for k in _RUN)]
        write(others + new, path)


if __name__ == "__main__":
    main()
