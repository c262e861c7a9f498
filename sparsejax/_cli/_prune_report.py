"""What pruning a language model cost: tables on the terminal, and report.json."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

import sparsejax as sj
from sparsejax.applications.language import Pruned

from ._report import make_table


class Layer(NamedTuple):
    """One linear map: how sparse it is, and the part of its outputs' squared norm that is lost."""

    block: int
    layer: str
    sparsity: float
    held_out_error: float


@dataclass(frozen=True)
class Outcome:
    """A pruned model, and its perplexity on held-out text beside that of the dense one."""

    pruned: Pruned
    dense_perplexity: float
    perplexity: float

    @cached_property
    def sparsity(self) -> sj.nn.SparsityReport:
        """Of every array."""
        return sj.nn.sparsity_report(self.pruned.model)

    @cached_property
    def layers(self) -> list[Layer]:
        """Every pruned linear map, in order."""
        return [
            Layer(i, name, self.sparsity.leaves[f"blocks.{i}.{name}.weight"].sparsity, error)
            for i, errors in enumerate(self.pruned.errors)
            for name, error in errors.items()
        ]


def print_outcome(outcome: Outcome, console: Console) -> None:
    """Print what was lost: by kind of linear map over all blocks, and in perplexity."""
    table = make_table(
        "Held-out error by layer (part of the outputs' squared norm)",
        "layer",
        "sparsity",
        "mean error",
        "largest",
        "in block",
    )
    for name in dict.fromkeys(layer.layer for layer in outcome.layers):
        alike = [layer for layer in outcome.layers if layer.layer == name]
        worst = max(alike, key=lambda layer: layer.held_out_error)
        table.add_row(
            name,
            f"{np.mean([layer.sparsity for layer in alike]):.2%}",
            f"{np.mean([layer.held_out_error for layer in alike]):.4f}",
            f"{worst.held_out_error:.4f}",
            str(worst.block),
        )
    console.print(table)
    console.print(
        f"[bold]Perplexity on held-out text[/bold]: dense {outcome.dense_perplexity:.3f}, pruned "
        f"{outcome.perplexity:.3f}; {outcome.sparsity.sparsity:.2%} of all weights are zero"
    )


def write_report(outcome: Outcome, settings: Mapping[str, Any], path: Path) -> None:
    """Write everything that is known of the run."""
    report = {
        "settings": dict(settings),
        "perplexity": {"dense": outcome.dense_perplexity, "pruned": outcome.perplexity},
        "sparsity": outcome.sparsity.sparsity,
        "layers": [layer._asdict() for layer in outcome.layers],
    }
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
