"""Parse the command line, run one command, turn expected errors into one line and a status."""

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

import jax
from rich.console import Console
from threadpoolctl import threadpool_limits

from . import _fit, _golub, _nas, _offline_rl, _pde, _prune, _speaker
from ._command import Command
from ._errors import SolveError, UserError

# A new command is one more entry here.
COMMANDS: tuple[Command, ...] = (
    _golub.COMMAND,
    _fit.COMMAND,
    _prune.COMMAND,
    _pde.COMMAND,
    _offline_rl.COMMAND,
    _nas.COMMAND,
    _speaker.COMMAND,
)
DEFAULT = _golub.COMMAND

_EPILOG = """\
Without a command, "golub" runs: a worked example on real data, into ./sparsejax-golub.

  python -m sparsejax
  python -m sparsejax fit data.csv --target price
  python -m sparsejax fit data.parquet --target price --drop id --cv 10 --out results
  python -m sparsejax prune --text novel.txt --method sparsegpt --pattern 2:4
  python -m sparsejax pde --problem burgers --strength 2e-4
  python -m sparsejax offline-rl --task cartpole --num 1000
  python -m sparsejax nas --data signals.npz --space nas-bench-201
  python -m sparsejax speaker train recordings
"""


def _version() -> str:
    try:
        return version("sparsejax")
    except PackageNotFoundError:  # run from a checkout
        return "(not installed)"


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="python -m sparsejax",
        description="Sparsity with JAX: certified regression, and networks whose weights are zero.",
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"sparsejax {_version()}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        sub = subparsers.add_parser(
            command.name, help=command.help, description=command.description
        )
        if command.double:
            sub.add_argument(
                "--float32",
                action="store_true",
                help="compute in single instead of double precision",
            )
        command.add_arguments(sub)
        sub.set_defaults(command=command)
    return parser


def _with_default(argv: Sequence[str]) -> list[str]:
    """Options without a command are the default command's."""
    if argv and (not argv[0].startswith("-") or argv[0] in {"-h", "--help", "--version"}):
        return list(argv)
    return [DEFAULT.name, *argv]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv
        Arguments, the process's own by default.

    Returns
    -------
    int
        The exit status: 0, 1 if a solve did not reach its tolerance, 2 for errors that the user
        can put right, 130 when interrupted.
    """
    args = _parser().parse_args(_with_default(sys.argv[1:] if argv is None else argv))
    try:
        # A command owns its process, so it chooses the precision; importing the library never does.
        # The solver's factorisations are small: BLAS threads would wait for one another.
        double = args.command.double and not args.float32
        with jax.enable_x64(double), threadpool_limits(1, "blas"):
            args.command.run(args, Console())
    except (UserError, SolveError) as error:
        print(f"sparsejax: error: {error}", file=sys.stderr)
        return 2 if isinstance(error, UserError) else 1
    except KeyboardInterrupt:
        print("sparsejax: interrupted", file=sys.stderr)
        return 130
    return 0
