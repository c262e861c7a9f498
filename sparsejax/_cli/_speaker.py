"""``python -m sparsejax speaker``: who speaks, learnt from a folder of the user's recordings."""

import math
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape

from sparsejax.applications import speaker

from ._command import Command, add_counts, count, number, positive
from ._errors import UserError, explained
from ._speaker_train import train


def _add_arguments(parser: ArgumentParser) -> None:
    steps = parser.add_subparsers(title="steps", metavar="STEP", required=True)
    sub = steps.add_parser(
        "train",
        help="teach a network to tell speakers apart",
        description="Train a network on a folder that has a folder of recordings for each "
        "speaker. Some speakers are left out of it, and say how often it is wrong about voices it "
        "has never heard. Run again with the same options, an interrupted run goes on.",
    )
    sub.add_argument("folder", type=Path, metavar="FOLDER", help="of folders of recordings")
    sub.add_argument(
        "--network", choices=("ds-tdnn", "ecapa"), default="ds-tdnn", help="default: %(default)s"
    )
    add_counts(
        sub,
        ("channels", 16, 64, "of the network, a multiple of 16; 1024 is DS-TDNN-B or ECAPA-1024"),
        ("epochs", 1, 40, "passes over the recordings"),
        ("sparse-epochs", 0, 20, "passes in which filters are thinned out"),
        ("batch", 2, 32, "recordings in a batch"),
        ("seed", 0, 0, "of all that is drawn"),
    )
    sub.add_argument(
        "--crop-frames",
        type=count(1),
        nargs="+",
        default=[200],
        metavar="N",
        help="length of the piece taken of each recording, 10 ms each; of several one is drawn for "
        "each batch, for voices to be known by less (default: 200)",
    )
    sub.add_argument(
        "--learning-rate", type=positive, default=1e-3, metavar="R", help="default: %(default)s"
    )
    sub.add_argument(
        "--weight-decay",
        type=number(">= 0", lambda x: 0 <= x < math.inf),
        default=2e-5,
        metavar="D",
        help="how much of each weight is added to its gradient (default: %(default)s)",
    )
    sub.add_argument(
        "--strength",
        type=positive,
        metavar="S",
        help="of an l1 norm on the filters of ds-tdnn (default: none)",
    )
    sub.add_argument(
        "--held-out",
        type=count(0),
        metavar="N",
        help="speakers to judge by (default: a fifth, if there are 8 speakers or more)",
    )
    sub.add_argument(
        "--out",
        type=Path,
        default=Path("sparsejax-speaker"),
        metavar="DIR",
        help="folder for model.eqx, report.json and figures (default: %(default)s); an "
        "interrupted run is kept in DIR-unfinished and goes on from there",
    )
    sub.set_defaults(step=train)

    sub = steps.add_parser(
        "enrol",
        help="remember a voice",
        description="Remember a voice by recordings of it, or replace what is known of it.",
    )
    sub.add_argument("name", metavar="NAME", help="whose voice it is")
    _add_files(sub)
    sub.set_defaults(step=_enrol)

    sub = steps.add_parser(
        "verify",
        help="tell whether recordings are of a voice that is known",
        description="Compare recordings with voices that are known: with all of them, or with one "
        "that they are claimed to be.",
    )
    sub.add_argument("--name", metavar="NAME", help="the one they are claimed to be")
    sub.add_argument(
        "--threshold",
        type=number("from -1 to 1", lambda x: -1 <= x <= 1),
        metavar="T",
        help="the least score that is accepted (default: where both errors were equal on the "
        "speakers left out of training)",
    )
    _add_files(sub)
    sub.set_defaults(step=_verify)


def _add_files(parser: ArgumentParser) -> None:
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="recordings")
    parser.add_argument(
        "--model",
        type=Path,
        default=Path("sparsejax-speaker/model.eqx"),
        metavar="FILE",
        help="what `train` has written (default: %(default)s)",
    )
    parser.add_argument(
        "--voices",
        type=Path,
        default=Path("sparsejax-speaker/voices.npz"),
        metavar="FILE",
        help="the voices that are known (default: %(default)s)",
    )


def _enrol(args: Namespace, console: Console) -> None:
    with explained():
        recogniser = speaker.load(args.model)
        prints = speaker.load_prints(args.voices, recogniser) if args.voices.exists() else {}
        prints[args.name] = _prints(recogniser, args.files).mean(axis=0)
        speaker.save_prints(args.voices, recogniser, prints)
    console.print(
        f"{escape(args.name)}: known by {len(args.files)} recordings; voices in "
        f"{escape(str(args.voices))}: {escape(', '.join(sorted(prints)))}."
    )


def _verify(args: Namespace, console: Console) -> None:
    with explained():
        recogniser = speaker.load(args.model)
        known = speaker.load_prints(args.voices, recogniser)
    threshold = recogniser.threshold if args.threshold is None else args.threshold
    if threshold is None:
        raise UserError(f"{args.model} was trained without held-out speakers: give a --threshold.")
    if args.name is not None and args.name not in known:
        raise UserError(f"--name {args.name}: {args.voices} has {', '.join(sorted(known))}.")
    names = sorted(known) if args.name is None else [args.name]
    with explained():
        scores = speaker.score(
            _prints(recogniser, args.files), np.stack([known[name] for name in names])
        )
    console.print(f"accepted from a score of {threshold:.3f} on:")
    for file, own in zip(args.files, scores, strict=True):
        best = int(np.argmax(own))
        verdict = "accepted" if own[best] >= threshold else "rejected"
        line = f"{verdict} {own[best]:.3f}  {names[best]}  {file}"
        console.print(escape(line), soft_wrap=True, highlight=False)


def _prints(recogniser: speaker.Recogniser, files: Sequence[Path]) -> np.ndarray:
    """Of each file."""
    waves = {str(i): [speaker.read_wave(file)] for i, file in enumerate(files)}
    features = speaker.voices_of(waves).features
    return speaker.voiceprints(recogniser.model, recogniser.state, features)


COMMAND = Command(
    name="speaker",
    help="tell who speaks, after training on recordings",
    description="Speaker verification by DS-TDNN or ECAPA-TDNN: train, enrol, verify.",
    add_arguments=_add_arguments,
    run=lambda args, console: args.step(args, console),
    double=False,
)
