"""Speaker verification: ``python -m bench.applications.speaker [--fast] [--only …]``.

DS-TDNN against ECAPA-TDNN of equal width on voices of espeak-ng that differ in variant, pitch and
rate, with a channel and noise drawn for every recording. For each seed the variants are divided
anew, so that no variant (and no speaker) of the test is known from training; all networks of a
seed see the same recordings. ``ds-dense`` has no sparse rule, ``ds-l1`` an L1 norm on its filters.
A row a seed and network: the equal error rate over all pairs of test recordings cut to 1, 2, 5
and 8 seconds (``pieces``: 8 seconds as the paper scores, with five pieces of 3), and on the six
real voices of ``--real`` (8 kHz, never trained on). Rows that the file has are not computed again.
One thread; espeak-ng is needed.

The headline shrinks the paper's setting: 64 channels with all other sizes in proportion, 252
speakers (four a variant) for 32 epochs of 126 batches of 16, the sparse rule in the first 12;
``ds-one``, with one filter a channel, has a stronger one in all of them.
"""

import argparse
import dataclasses
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import equinox as eqx
import jax
import numpy as np

import sparsejax as sj
from bench.applications.voices import TRAINED, cut, joined, real_voices, spoken
from bench.nonconvex.intervals import bootstrap, mean
from bench.rows import read, write
from sparsejax.applications import speaker

SECONDS = (1, 2, 5, 8)

PROPORTIONS = {"aggregate": 96, "attention": 16, "squeeze": 8}  # of the paper's, at 64 channels


def networks(channels: int, frames: int) -> dict[str, speaker.DSConfig | speaker.ECAPAConfig]:
    """All that are compared, with all sizes but the embedding's in proportion."""
    sizes = {name: size * channels // 64 for name, size in PROPORTIONS.items()}
    ds = speaker.DSConfig(channels, embedding=64, frames=frames, **sizes)
    dense = dataclasses.replace(ds, ratios=(0.0, 0.0, 0.0))
    ecapa = speaker.ECAPAConfig(channels, embedding=64, **sizes)
    one = dataclasses.replace(ds, experts=(1, 1, 1), ratios=(0.5, 0.3, 0.3))
    return {"ecapa": ecapa, "ds": ds, "ds-dense": dense, "ds-l1": dense, "ds-one": one}


NAMES = tuple(networks(64, 200))
# Of rows of one setting:
KEYS = "network", "channels", "crop_frames", "weight_decay", "trained_speakers", "steps"
PENALTY = {"ds-l1": sj.penalties.L1(0.02)}


class Setting(NamedTuple):
    """How much of everything."""

    trained_variants: int
    tested_variants: int
    each: int  # speakers of a variant
    epochs: int
    sparse_epochs: int
    batch: int = 16
    channels: int = 64
    crops: tuple[int, ...] = (200,)  # frames that are trained on, of 10 ms
    decay: float = 2e-5

    @property
    def variants(self) -> int:
        return self.trained_variants + self.tested_variants

    @property
    def trained_speakers(self) -> int:
        return self.each * self.trained_variants

    @property
    def steps(self) -> int:
        return self.epochs * (self.trained_speakers * TRAINED // self.batch)


FULL, MANY = Setting(63, 16, 4, 32, 12), Setting(63, 16, 8, 32, 12)
FEW, FAST = Setting(32, 16, 2, 8, 3), Setting(8, 4, 2, 2, 1)


def evaluated(
    model: eqx.Module, state: eqx.nn.State, test: speaker.Voices, real: speaker.Voices | None
) -> dict[str, float]:
    first, second, same = speaker.trials(test.speakers)
    found = {}
    for seconds in SECONDS:
        pieces = [cut(x, 100 * seconds) for x in test.features]
        e = speaker.embeddings(model, state, pieces)
        found[f"eer_{seconds}s"] = speaker.equal_error((e @ e.T)[first, second], same).rate
    prints = speaker.voiceprints(model, state, [cut(x, 800) for x in test.features])
    scores = speaker.score(prints, prints)[first, second]
    found["eer_pieces"] = speaker.equal_error(scores, same).rate
    found["min_dcf_pieces"] = speaker.min_dcf(scores, same)
    found["eer_real"] = float("nan")
    if real is not None:
        first, second, same = speaker.trials(real.speakers)
        pieces = [np.resize(cut(x, 300).T, (300, 80)).T for x in real.features]
        e = speaker.embeddings(model, state, pieces)
        found["eer_real"] = speaker.equal_error((e @ e.T)[first, second], same).rate
    return found


def rows(
    setting: Setting, seeds: list[int], names: Sequence[str], real_path: Path, known: set[tuple]
) -> Iterator[dict]:
    """A row a seed and network."""
    crops = "/".join(map(str, setting.crops))
    size = setting.channels, crops, setting.decay, setting.trained_speakers, setting.steps
    size = tuple(map(str, size))
    configs = networks(setting.channels, setting.crops[len(setting.crops) // 2])
    wanted = [
        (seed, name) for seed in seeds for name in names if (str(seed), name, *size) not in known
    ]
    if not wanted:
        return
    pool, real = spoken(setting.variants, setting.each), real_voices(real_path)
    for seed, name in wanted:
        order = np.random.default_rng(seed).permutation(setting.variants)
        taught, others = np.split(order, [setting.trained_variants])
        train = joined([person.trained for person in pool if person.variant in taught])
        test = joined([person.tested for person in pool if person.variant in others])
        begun = time.process_time()
        jax.clear_caches()  # a process may hold the programs of about eight trainings only
        model, state = speaker.make(configs[name], jax.random.key(seed))
        trained = speaker.train(
            model,
            state,
            train,
            epochs=setting.epochs,
            batch=setting.batch,
            key=jax.random.key(1000 + seed),
            sparse_epochs=setting.epochs if name == "ds-one" else setting.sparse_epochs,
            crop_frames=setting.crops,
            learning_rate=3e-3,
            weight_decay=setting.decay,
            penalty=PENALTY.get(name),
        )
        seconds = time.process_time() - begun
        weights = speaker.filters(trained.model)
        zeros = sum(int(np.sum(np.asarray(w) == 0)) for w in weights)
        yield {
            "seed": seed,
            "network": name,
            "channels": setting.channels,
            "crop_frames": crops,
            "weight_decay": setting.decay,
            "macs_per_frame": speaker.macs_per_frame(configs[name]),
            "parameters": sum(w.size for w in jax.tree.leaves(eqx.filter(model, eqx.is_array))),
            "trained_speakers": len(train.names),
            "tested_speakers": len(test.names),
            "steps": len(trained.losses),
            "loss": float(trained.losses[-50:].mean()),
            **evaluated(trained.model, trained.state, test, real),
            "zero_filters": zeros / max(sum(w.size for w in weights), 1),
            "cpu_seconds": seconds,
        }


def verdicts(found: list[dict[str, str]]) -> Iterator[str]:
    """Means with intervals, and each network's ratio to ECAPA's over the same seeds."""
    columns = [*(f"eer_{s}s" for s in SECONDS), "eer_pieces", "min_dcf_pieces", "eer_real"]
    by_network: dict[tuple[str, ...], dict[str, dict[str, str]]] = {}
    for row in found:
        by_network.setdefault(tuple(row[key] for key in KEYS), {})[row["seed"]] = row
    for (name, *size), own in by_network.items():
        for column in columns:
            values = np.array([float(row[column]) for row in own.values()])
            value, low, high = bootstrap(mean, values)
            line = f"{name:>9} {'/'.join(size)} {column:>13}: {value:.4f} [{low:.4f}, {high:.4f}]"
            for other in ("ecapa", "ds-dense"):
                shared = sorted(set(own) & set(by_network.get((other, *size), {})))
                if name != other and shared:
                    ours, theirs = (
                        np.array([float(rows[seed][column]) for seed in shared])
                        for rows in (own, by_network[(other, *size)])
                    )
                    ratio, low, high = bootstrap(_ratio, ours, theirs)
                    line += f"; of {other} ×{ratio:.2f} [{low:.2f}, {high:.2f}]"
            yield line


def _ratio(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    return ours.mean(-1) / theirs.mean(-1)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.applications.speaker")
    parser.description = __doc__
    sizes = parser.add_mutually_exclusive_group()
    for name, size, text in (
        ("--fast", FAST, "few voices, steps and seeds: three minutes"),
        ("--few", FEW, "64 speakers to train on, 8 epochs"),
        ("--many", MANY, "504 speakers to train on, 128 to test"),
    ):
        sizes.add_argument(name, dest="size", action="store_const", const=size, help=text)
    parser.add_argument(
        "--only",
        nargs="+",
        choices=NAMES,
        help="ecapa, ds and ds-dense; if fast the first two",
    )
    parser.add_argument("--channels", type=int, default=64, help="of both networks: 64")
    parser.add_argument(
        "--crop",
        type=int,
        nargs="+",
        default=[200],
        help="frames of 10 ms that are trained on, one of them drawn for each batch: 200",
    )
    parser.add_argument("--decay", type=float, default=2e-5, help="of weights: 2e-5")
    parser.add_argument("--seeds", type=int, nargs="+", help="0 to 4, or 0 if fast")
    parser.add_argument(
        "--epochs", type=int, help="32, or 2 if fast; the first 3/8 or half with the rule"
    )
    parser.add_argument(
        "--real",
        type=Path,
        default=Path("../shared/data/asterisk_6spk_20utt_8k_flac.zip"),
        help="ZIP archive of FLAC files in a folder for each speaker; left out if missing",
    )
    parser.add_argument("--out", type=Path, default=Path("bench/results/applications"))
    options = parser.parse_args(arguments)
    size, fast = options.size or FULL, options.size is FAST
    setting = size._replace(
        channels=options.channels, crops=tuple(options.crop), decay=options.decay
    )
    if options.epochs:
        part = options.epochs / setting.epochs
        sparse_epochs = round(part * setting.sparse_epochs)
        setting = setting._replace(epochs=options.epochs, sparse_epochs=sparse_epochs)
    seeds = options.seeds or ([0] if fast else list(range(5)))
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / ("speaker_fast.csv" if fast else "speaker.csv")
    found = read(path)
    known = {tuple(row[key] for key in ("seed", *KEYS)) for row in found}
    names = options.only or NAMES[: 2 if fast else 3]
    for row in rows(setting, seeds, names, options.real, known):
        shown = (f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values())
        print("  ".join(shown), flush=True)
        found.append({key: str(value) for key, value in row.items()})
        write(found, path)
    print(*verdicts(found), sep="\n")


if __name__ == "__main__":
    main()
