"""What a study says: tables on the terminal, figures and files in a folder."""

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from sparsejax import plotting

from ._study import Study

_SHOWN = 30


def make_table(title: str, *columns: str) -> RichTable:
    """Make a table whose first column is text and whose others are numbers."""
    table = RichTable(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left", no_wrap=True)
    return table


def _seconds(value: float) -> str:
    return f"{value * 1e3:.1f} ms" if value < 1 else f"{value:.2f} s"


def print_strengths(study: Study, console: Console) -> None:
    """Print how the strength was chosen, and what each choice gives."""
    if not study.choices:
        return
    table = make_table(
        "Strength", "chosen by", "strength", "of the largest", "held-out error", "features"
    )
    for choice in study.choices:
        table.add_row(
            choice.label,
            f"{choice.strength:.5g}",
            f"{choice.strength / study.strength_max:.4f}",
            f"{choice.error:.5f}",
            str(choice.num_features),
        )
    console.print(table)


def print_fit(study: Study, console: Console) -> None:
    """Print the certificate of the final fit."""
    fit = study.fit
    table = make_table(f"Certified fit at strength {study.strength:.5g}", "", "")
    table.show_header = False
    table.add_row("objective", f"{float(fit.objective):.10g}")
    table.add_row("relative duality gap", f"{float(fit.gap):.1e}")
    table.add_row("KKT violation", f"{float(fit.kkt):.1e}")
    table.add_row("features selected", f"{np.count_nonzero(study.coef)} of {study.coef.size}")
    table.add_row("solver", f"{fit.stats['solver']}, {int(fit.stats['num_steps'])} steps")
    table.add_row("precision, device", f"{fit.coef.dtype}, {jax.default_backend()}")
    console.print(table)


def print_features(study: Study, console: Console, noun: str = "feature") -> None:
    """Print the selected features, the strongest first."""
    order = study.selected()
    table = make_table(f"Selected {noun}s", noun, "coefficient (standardised)", "in original units")
    for j in order[:_SHOWN]:
        table.add_row(
            escape(study.table.names[j]), f"{study.scaled_coef[j]:+.5f}", f"{study.coef[j]:+.5g}"
        )
    if len(order) > _SHOWN:
        table.caption = f"and {len(order) - _SHOWN} more in coefficients.csv"
    console.print(table)


def print_timings(study: Study, console: Console) -> None:
    """Print the first call of each step, compilation included, and the next one."""
    table = make_table("Timings", "step", "first call (compiles)", "again (warm)")
    for timing in study.timings:
        table.add_row(timing.label, _seconds(timing.first), _seconds(timing.warm))
    console.print(table)


def print_written(files: list[str], folder: Path, console: Console) -> None:
    """Print where the results are."""
    console.print(f"Written to {escape(str(folder))}: {', '.join(files)}")


def write_json(report: dict[str, Any], file: Path) -> None:
    """Without NaN or infinity, which JSON does not have."""
    file.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def write_files(study: Study, folder: Path, extra: dict | None = None) -> list[str]:
    """Write coefficients.csv, report.json and the figures; return their names."""
    _write_coefficients(study, folder / "coefficients.csv")
    write_json(_summary(study) | (extra or {}), folder / "report.json")
    _write_figures(study, folder)
    return sorted(file.name for file in folder.iterdir())


def _write_coefficients(study: Study, file: Path) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["feature", "coefficient", "standardised_coefficient"])
        writer.writerow(["(intercept)", repr(float(study.intercept)), ""])
        for j in study.selected():
            writer.writerow(
                [
                    study.table.names[j],
                    repr(float(study.coef[j])),
                    repr(float(study.scaled_coef[j])),
                ]
            )


def _summary(study: Study) -> dict:
    fit = study.fit
    return {
        "target": study.table.target,
        "samples": study.table.X.shape[0],
        "features": study.table.X.shape[1],
        "penalty": study.settings.penalty,
        "l1_ratio": study.settings.l1_ratio if study.settings.penalty == "elastic_net" else 1.0,
        "standardised": study.settings.standardise,
        "strength": study.strength,
        "strength_max": study.strength_max,
        "choices": [choice._asdict() for choice in study.choices],
        "objective": float(fit.objective),
        "relative_duality_gap": float(fit.gap),
        "kkt_violation": float(fit.kkt),
        "selected": int(np.count_nonzero(study.coef)),
        "intercept": float(study.intercept),
        "solver": str(fit.stats["solver"]),
        "steps": int(fit.stats["num_steps"]),
        "dtype": str(fit.coef.dtype),
        "timings": [timing._asdict() for timing in study.timings],
        "jax": jax.__version__,
    }


def _write_figures(study: Study, folder: Path) -> None:
    marks = {choice.label: choice.strength for choice in study.choices}
    marks = marks or {"chosen": study.strength}
    with _figure(folder / "path.png") as ax:
        plotting.path(study.path, feature_names=study.table.names, marks=marks, ax=ax)
        ax.set_ylabel("coefficient (standardised)" if study.settings.standardise else "coefficient")
    if study.errors is not None:
        with _figure(folder / "cross_validation.png") as ax:
            if study.visited is not None:
                label = "visited by tuning"
                ax.plot(*study.visited, "o", color="C1", markersize=4, label=label, zorder=3)
            plotting.cross_validation(study.path.strengths, study.errors, marks=marks, ax=ax)
    with _figure(folder / "convergence.png") as ax:
        tol = study.settings.tol
        plotting.convergence(study.traces, tol=tol, xlabel="seconds, compiled", ax=ax)


@contextmanager
def _figure(file: Path) -> Iterator[Any]:
    """Yield the Axes of a figure that is saved at the end, without pyplot's global state."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 4.8), layout="constrained")
    yield figure.subplots()
    figure.savefig(file, dpi=150)
