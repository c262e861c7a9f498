"""The training of ``python -m sparsejax speaker``: held-out speakers, report and figures."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
from rich.console import Console

import sparsejax as sj
from sparsejax.applications import speaker

from ._errors import UserError, explained
from ._report import write_json
from ._runs import progress_bars, results, unfinished_of

_ENOUGH = 8  # speakers, of whom a fifth may be left out


def train(args: Namespace, console: Console) -> None:
    """Train, judge by the speakers left out, and write the network with its threshold."""
    unfinished = unfinished_of(args.out)
    if args.strength is not None and args.network == "ecapa":
        raise UserError("--strength does not go with --network ecapa, which has no filters.")
    with explained():
        config = _config(args)
        voices = speaker.load_voices(args.folder)
        taught, heldout = _divided(voices, args.held_out, args.seed)
    batch = min(args.batch, len(taught.features))
    steps = args.epochs * (len(taught.features) // batch)
    keys = jax.random.split(jax.random.key(args.seed))
    model, state = speaker.make(config, keys[0])
    with progress_bars(console) as progress:
        task = progress.add_task("training", total=steps)
        trained = speaker.train(
            model,
            state,
            taught,
            epochs=args.epochs,
            batch=batch,
            key=keys[1],
            crop_frames=args.crop_frames,
            sparse_epochs=args.sparse_epochs,
            learning_rate=args.learning_rate,
            weight_decay=args.weight_decay,
            penalty=None if args.strength is None else sj.penalties.L1(args.strength),
            checkpoint=unfinished / "run",
            callback=lambda done, _: progress.update(task, completed=done),
        )
    scores = _scores(trained, heldout)
    threshold = None if scores is None else speaker.equal_error(*scores).threshold
    report = _report(args, config, taught, heldout, trained, scores)
    _print(report, console)
    with results(args.out, unfinished, console) as folder:
        recogniser = speaker.Recogniser(config, trained.model, trained.state, threshold)
        speaker.save(folder / "model.eqx", recogniser)
        write_json(report, folder / "report.json")
        _draw(trained, scores, folder)


def _config(args: Namespace) -> speaker.DSConfig | speaker.ECAPAConfig:
    if args.channels % 16:
        raise ValueError(f"--channels must be a multiple of 16; got {args.channels}.")
    kind = speaker.DSConfig if args.network == "ds-tdnn" else speaker.ECAPAConfig
    part = args.channels // 8
    return kind(args.channels, aggregate=12 * part, attention=2 * part, squeeze=part)


def _divided(
    voices: speaker.Voices, number: int | None, seed: int
) -> tuple[speaker.Voices, speaker.Voices | None]:
    """Speakers to train on, and speakers to judge by."""
    total = len(voices.names)
    if number is None:
        number = total // 5 if total >= _ENOUGH else 0
        number = max(number, 2) if number else 0
    if number == 1 or number > total - 2:
        raise ValueError(
            f"--held-out must be 0, or at least 2 and leave 2 of {total} speakers; got {number}."
        )
    order = np.random.default_rng(seed).permutation(total)
    heldout = voices.of_speakers(np.sort(order[:number])) if number else None
    if heldout is not None and np.bincount(heldout.speakers).max() < 2:
        raise ValueError("the held-out speakers have one recording each: none can be compared.")
    return voices.of_speakers(np.sort(order[number:])), heldout


def _scores(
    trained: speaker.Trained, heldout: speaker.Voices | None
) -> tuple[np.ndarray, np.ndarray] | None:
    """Of all pairs of recordings of the held-out speakers, and whether they are of one."""
    if heldout is None:
        return None
    prints = speaker.voiceprints(trained.model, trained.state, heldout.features)
    first, second, same = speaker.trials(heldout.speakers)
    return speaker.score(prints, prints)[first, second], same


def _report(
    args: Namespace,
    config: speaker.DSConfig | speaker.ECAPAConfig,
    taught: speaker.Voices,
    heldout: speaker.Voices | None,
    trained: speaker.Trained,
    scores: tuple[np.ndarray, np.ndarray] | None,
) -> dict[str, Any]:
    weights = speaker.filters(trained.model)
    sizes = "network", "channels", "epochs", "crop_frames", "sparse_epochs", "batch", "seed"
    kept = *sizes, "learning_rate", "weight_decay", "strength"
    report = {
        "settings": {name: getattr(args, name) for name in kept},
        "recordings": len(taught.features),
        "speakers": list(taught.names),
        "held_out_speakers": [] if heldout is None else list(heldout.names),
        "macs_per_frame": speaker.macs_per_frame(config),
        "parameters": sum(w.size for w in jax.tree.leaves(eqx.filter(trained.model, eqx.is_array))),
        "zeros_of_filters": sj.nn.sparsity_report(weights).sparsity if weights else None,
        "losses": trained.losses.tolist(),
        "equal_error_rate": None,
        "threshold": None,
        "min_dcf": None,
        "jax": jax.__version__,
    }
    if scores is not None:
        rate, threshold = speaker.equal_error(*scores)
        report |= {"equal_error_rate": rate, "threshold": threshold}
        report["min_dcf"] = speaker.min_dcf(*scores)
    return report


def _print(report: dict[str, Any], console: Console) -> None:
    console.print(
        f"{report['parameters']} parameters, {report['macs_per_frame']} multiply-accumulates a "
        f"frame; loss {report['losses'][0]:.2f} at first, {report['losses'][-1]:.2f} at last."
    )
    if report["equal_error_rate"] is None:
        console.print("No speakers were held out: nothing says how often it is wrong.")
        return
    console.print(
        f"Equal error rate {report['equal_error_rate']:.1%} at a score of "
        f"{report['threshold']:.3f}, minimal detection cost {report['min_dcf']:.3f}, on "
        f"{len(report['held_out_speakers'])} speakers it has never heard."
    )


def _draw(
    trained: speaker.Trained, scores: tuple[np.ndarray, np.ndarray] | None, folder: Path
) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 3.5), layout="constrained")
    ax = figure.subplots()
    ax.plot(np.arange(1, len(trained.losses) + 1), trained.losses)
    ax.set(xlabel="batch", ylabel="loss")
    figure.savefig(folder / "loss.png", dpi=120)
    if scores is not None:
        figure = Figure(figsize=(9.0, 3.5), layout="constrained")
        left, right = figure.subplots(1, 2)
        speaker.draw_scores(*scores, left)
        speaker.draw_errors(*scores, right)
        figure.savefig(folder / "scores.png", dpi=120)
