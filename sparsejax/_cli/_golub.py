"""The worked example that ``python -m sparsejax`` runs."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from rich.console import Console

import sparsejax as sj
from sparsejax import datasets

from ._command import Command
from ._folder import output_folder
from ._nested import nested_accuracy
from ._report import (
    print_features,
    print_fit,
    print_strengths,
    print_timings,
    print_written,
    write_files,
)
from ._study import Settings, run_study
from ._tables import Table

# Drawn beside the default solver in convergence.png.
_RIVALS = {"VarPro": sj.solvers.VarPro(), "FISTA": sj.solvers.FISTA()}


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("sparsejax-golub"),
        metavar="DIR",
        help="folder for figures, coefficients.csv and report.json (default: %(default)s)",
    )


def _run(args: Namespace, console: Console) -> None:
    data = datasets.load_golub()
    table = Table(data.X, data.y, data.feature_names or (), "class")
    with output_folder(args.out) as folder:
        console.print(
            f"[bold]Golub leukemia[/bold]: {table.X.shape[0]} patients, {table.X.shape[1]} genes "
            "(standardised); target 0 = lymphoblastic (27), 1 = myeloid (11)"
        )
        with console.status("fitting (the first calls compile)"):
            study = run_study(table, Settings.for_precision(args.float32), _RIVALS)
            accuracy = nested_accuracy(table, study.settings)
        print_strengths(study, console)
        print_fit(study, console)
        print_features(study, console, "gene")
        console.print(
            f"[bold]Class, predicted by value > 1/2[/bold], nested cross-validation: "
            f"{accuracy.correct} of {accuracy.total} right "
            f"(always saying lymphoblastic: {accuracy.baseline}). "
            "Genes, scaling and strength were chosen anew inside each outer fold; "
            f"{accuracy.total} patients leave an uncertainty of several patients."
        )
        print_timings(study, console)
        files = write_files(study, folder, {"nested_accuracy": accuracy._asdict()})
    print_written(files, args.out, console)


COMMAND = Command(
    name="golub",
    help="worked example on the leukemia data shipped with the package (the default)",
    description=(
        "Fit a Lasso to the Golub leukemia data: path, cross-validated and hypergradient-tuned "
        "strengths, a certified fit, the selected genes, timings, figures."
    ),
    add_arguments=_add_arguments,
    run=_run,
)
