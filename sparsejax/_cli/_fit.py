"""``python -m sparsejax fit``: a sparse regression on the user's own table."""

import math
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from ._command import Command, count
from ._errors import UserError
from ._folder import output_folder
from ._report import (
    print_features,
    print_fit,
    print_strengths,
    print_timings,
    print_written,
    write_files,
)
from ._study import Settings, run_study
from ._tables import read_table


def _strength(text: str) -> float:
    value = _real(text)
    if not 0 < value < math.inf:
        raise ArgumentTypeError(f"must be a finite number > 0, not {text!r}")
    return value


def _ratio(text: str) -> float:
    value = _real(text)
    if not 0 < value <= 1:
        raise ArgumentTypeError(f"must lie in (0, 1], not {text!r}")
    return value


def _real(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ArgumentTypeError(f"must be a number, not {text!r}") from None


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("table", type=Path, metavar="FILE", help=".csv, .tsv, .parquet or .npz")
    parser.add_argument(
        "--target", metavar="COLUMN", help='column to predict (NPZ: array, "y" by default)'
    )
    parser.add_argument(
        "--drop",
        action="append",
        default=[],
        metavar="COLUMN",
        help="column to leave out; repeatable",
    )
    parser.add_argument(
        "--penalty", choices=("l1", "elastic_net"), default="l1", help="default: %(default)s"
    )
    parser.add_argument(
        "--l1-ratio",
        type=_ratio,
        default=0.5,
        metavar="R",
        help="share of the l1 term in elastic_net (default: %(default)s)",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--alpha", type=_strength, metavar="A", help="fixed strength (scikit-learn's alpha)"
    )
    how.add_argument(
        "--cv",
        type=count(2),
        default=5,
        metavar="K",
        help="choose the strength by K-fold cross-validation (default: %(default)s)",
    )
    parser.add_argument(
        "--no-standardise",
        action="store_true",
        help="penalise coefficients in the table's own units",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("sparsejax-fit"),
        metavar="DIR",
        help="folder for figures, coefficients.csv and report.json (default: %(default)s)",
    )


def _run(args: Namespace, console: Console) -> None:
    table = read_table(args.table, args.target, args.drop)
    n, p = table.X.shape
    if args.alpha is None and n < 2 * args.cv:
        raise UserError(f"--cv {args.cv} needs at least {2 * args.cv} rows; the table has {n}.")
    settings = replace(
        Settings.for_precision(args.float32),
        penalty=args.penalty,
        l1_ratio=args.l1_ratio,
        alpha=args.alpha,
        folds=args.cv,
        standardise=not args.no_standardise,
    )
    with output_folder(args.out) as folder:
        name, target = escape(args.table.name), escape(table.target)
        console.print(f"[bold]{name}[/bold]: {n} rows, {p} features; target {target}")
        with console.status("fitting (the first calls compile)"):
            study = run_study(table, settings)
        print_strengths(study, console)
        print_fit(study, console)
        print_features(study, console)
        print_timings(study, console)
        files = write_files(study, folder)
    print_written(files, args.out, console)


COMMAND = Command(
    name="fit",
    help="fit a table of your own",
    description=(
        "Fit a sparse linear regression to a table: the strength given by --alpha, or chosen by "
        "cross-validation and then tuned by its hypergradient. Features are standardised first, "
        "and strengths refer to the standardised features."
    ),
    add_arguments=_add_arguments,
    run=_run,
)
