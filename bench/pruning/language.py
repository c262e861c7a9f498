"""SmolLM2-135M pruned: ``python -m bench.pruning.language [--fast] [--methods …] [--patterns …]``.

Perplexity on held-out chapters of Austen (Northanger Abbey, Persuasion) of the dense model and of
every method × pattern, with and without a refit of the weights that are kept, calibrated on pieces
of 512 tokens from her four other novels. Writes language.csv, a row as soon as it is known: what is
there already is not run again, and a cell that was interrupted goes on after its last block.
"""

import argparse
import csv
import itertools
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

import sparsejax as sj
from bench.pruning import austen
from bench.rows import read
from sparsejax.applications import language

METHODS = ("magnitude", "wanda", "sparsegpt", "sds")
PATTERNS = {"50%": sj.nn.Unstructured(0.5), "2:4": sj.nn.NM(2, 4), "1:4": sj.nn.NM(1, 4)}
FIELDS = ("method", "refit", "pattern", "calibration", "held_out", "sparsity") + (
    "perplexity",
    "layer_error",
    "seconds",
)
LENGTH = 512


class Cell(NamedTuple):
    """One way to prune."""

    method: str
    refit: bool
    pattern: str


class Setting(NamedTuple):
    """The model and its data."""

    model: language.AbstractLanguageModel
    calibration: np.ndarray
    held_out: np.ndarray


def cells(methods: list[str], patterns: list[str], refits: list[bool]) -> Iterator[Cell]:
    """All combinations, pattern by pattern."""
    for pattern, method, refit in itertools.product(patterns, methods, refits):
        yield Cell(method, refit, pattern)


def setting(model: Path, text: Path, calibration: int, held_out: int, seed: int = 0) -> Setting:
    """Calibration pieces drawn at random, held-out ones spread evenly over the chapters."""
    novels, tokeniser = austen.novels(text), language.load_tokeniser(model)
    pieces = language.chunks(tokeniser, novels.calibration, LENGTH)
    others = language.chunks(tokeniser, novels.held_out, LENGTH)
    drawn = np.random.default_rng(seed).choice(len(pieces), calibration, replace=False)
    spread = np.linspace(0, len(others) - 1, held_out).astype(int)
    return Setting(language.load(model), pieces[np.sort(drawn)], others[spread])


def measured(cell: Cell | None, data: Setting, checkpoint: Path) -> dict:
    """A row of the table; the dense model's without a cell."""
    row = {"calibration": len(data.calibration), "held_out": len(data.held_out)}
    if cell is None:
        perplexity = language.perplexity(data.model, data.held_out)
        return row | {"method": "dense", "sparsity": 0.0, "perplexity": perplexity}
    method = sj.nn.Refitted(cell.method) if cell.refit else cell.method
    start = time.perf_counter()
    pruned = language.prune(
        data.model,
        data.calibration,
        method,
        PATTERNS[cell.pattern],
        held_out=data.held_out,
        checkpoint=checkpoint,
        callback=lambda done: print(f"{cell}: {done} blocks", flush=True),
    )
    seconds = time.perf_counter() - start
    perplexity = language.perplexity(pruned.model, data.held_out)
    errors = [error for block in pruned.errors for error in block.values()]
    return (
        row
        | cell._asdict()
        | {
            "sparsity": sj.nn.sparsity_report(pruned.model.blocks).sparsity,
            "perplexity": perplexity,
            "layer_error": np.mean(errors),
            "seconds": seconds,
        }
    )


def append(file: Path, row: dict) -> None:
    """Add a row, under a header in a new file."""
    shown = {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()}
    print(shown, flush=True)
    new = not file.exists()
    with file.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, FIELDS)
        if new:
            writer.writeheader()
        writer.writerow(shown)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.pruning.language", description=__doc__)
    parser.add_argument("--fast", action="store_true", help="16 pieces to calibrate on, not 128")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--patterns", nargs="+", choices=PATTERNS, default=list(PATTERNS))
    parser.add_argument("--refit", choices=("with", "without", "both"), default="both")
    parser.add_argument("--calibration", type=int, help="how many pieces instead")
    parser.add_argument("--held-out", type=int, help="how many pieces to judge by instead")
    parser.add_argument("--model", type=Path, help="another model than SmolLM2's GGUF file")
    parser.add_argument("--text", type=Path, default=austen.DEFAULT)
    parser.add_argument("--out", type=Path, default=Path("bench/results/pruning"))
    options = parser.parse_args(arguments)
    sizes = (16, 16) if options.fast else (128, 64)
    data = setting(
        options.model or language.smollm2_path(),
        options.text,
        options.calibration or sizes[0],
        options.held_out or sizes[1],
    )
    refits = {"with": [True], "without": [False], "both": [False, True]}[options.refit]
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "language.csv"
    done = {tuple(row[field] for field in FIELDS[:5]) for row in read(file)}
    for cell in (None, *cells(options.methods, options.patterns, refits)):
        name = ("dense", "", "") if cell is None else tuple(map(str, cell))
        if (*name, str(len(data.calibration)), str(len(data.held_out))) not in done:
            checkpoint = options.out / "unfinished" / "-".join(name).replace(":", "of")
            append(file, measured(cell, data, checkpoint))
            shutil.rmtree(checkpoint, ignore_errors=True)  # the dense model has none


if __name__ == "__main__":
    main()
