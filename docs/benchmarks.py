"""The benchmarks page, from the CSV files in ``bench/results``: ``python docs/benchmarks.py``."""

import csv
import json
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import fmean

from scipy.stats import trim_mean

RESULTS = Path(__file__).resolve().parent.parent / "bench" / "results"
TARGET = "1e-10"
SOLVERS = {
    "sparsejax": "sparsejax",
    "celer": "celer",
    "skglm": "skglm",
    "sklearn": "scikit-learn",
    "adelie": "adelie",
}
DESIGNS = {
    "gaussian": "Gaussian 200×10000",
    "correlated": "correlated ρ=.9, 1000×5000",
    "wide": "wide 100×20000",
    "tall": "tall 5000×500",
    "golub": "Golub 38×3051",
    "newsgroups": "20 Newsgroups 11293×73686, sparse",
}
Row = dict[str, str]


def rows(name: str) -> list[Row]:
    with (RESULTS / name).open(newline="") as file:
        return list(csv.DictReader(file))


def figures() -> list[Path]:
    """Those that the page shows."""
    return [RESULTS / f"convergence_{design}.png" for design in DESIGNS]


def page() -> str:
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    settings = json.loads((RESULTS / "lasso.json").read_text())
    budget = float(settings["settings"]["budget"])
    yield from (
        "# Benchmarks",
        "",
        "Generated from `bench/results` when this site is built. Each section names the command "
        "that measures it again. Seconds are medians of compiled calls.",
        "",
        "## Lasso: seconds to a verified gap of 1e-10",
        "",
        "`python -m bench.lasso`. The gap is computed by an independent NumPy function, the same "
        "for everyone; float64, one thread each. A dash: the tightest setting stopped above the "
        f"target, or {budget:g} seconds of tightening were used up; in brackets the time by the "
        "gentler "
        "measure *objective within 1e-10 of the best bound found by anyone*. "
        f"Measured on {settings['date'][:10]}, {settings['cores']} cores of a shared "
        f"{settings['cpu']}, "
        + ", ".join(f"{name} {settings[name]}" for name in ("jax", "celer", "skglm"))
        + f", scikit-learn {settings['scikit-learn']}.",
        "",
    )
    yield from _lasso()
    yield ""
    yield from (f"![{DESIGNS[design]}](figures/convergence_{design}.png)" for design in DESIGNS)
    yield from _section(
        "VarPro as it stands, in working sets, and the default (an older run)",
        "bench.lasso",
        _table(
            [row for row in rows("varpro/lasso.csv") if row["target"] == TARGET],
            design="design",
            solver="solver",
            **{"λmax/…": "ratio", "seconds to 1e-10": _short("seconds")},
            **{"best gap": _short("best_gap")},
        ),
    )
    yield from _section(
        "A path of 100 strengths, each to 1e-6",
        "bench.lasso",
        _table(rows("lasso_path.csv"), design="design", solver="solver", seconds=_short("seconds")),
    )
    yield from _section(
        "Groups, several targets, logistic regression, trace norm, total variation",
        "bench.structures",
        _table(
            rows("structures/structures.csv"),
            case="case",
            strength="strength",
            solver="solver",
            seconds=_short("seconds"),
            error=_short("error"),
        ),
    )
    yield from _section(
        "First call in a new process, and memory",
        "bench.lasso",
        _table(
            rows("lasso_process.csv"),
            design="design",
            solver="solver",
            **{"first call, s": _short("first_call_seconds")},
            **{"second call, s": _short("second_call_seconds")},
            **{"memory above start, MB": _short("peak_mb")},
        ),
    )
    yield from _section(
        "Hypergradients",
        "bench.hypergradient",
        _table(
            rows("hypergradient.csv"),
            case="case",
            method="method",
            **{"error against the closed form": _short("error_closed_form")},
            **{"times the forward solve": _short("times_forward")},
        ),
    )
    yield from _section(
        "Hypergradients of pictures",
        "bench.picture_gradient",
        _table(
            rows("picture_gradient.csv"),
            side="side",
            kind="kind",
            gap="gap",
            **{"solve, s": _short("seconds_solve")},
            **{"with gradient, s": _short("seconds_value_and_grad")},
            **{"error of the gradient": _short("error_gradient")},
            **{"of central differences": _short("error_differences")},
        ),
    )
    yield from _section(
        "Choosing strengths",
        "bench.tuning",
        _table(
            rows("tuning/tuning.csv"),
            part="part",
            case="case",
            method="method",
            seconds=_short("seconds"),
            **{"criterion over the best": _short("criterion")},
            **{"test error over one strength's": _short("test_error")},
        ),
    )
    yield from _section(
        "500 bootstrap Lassos, 200×1000, relative gap 1e-6",
        "bench.batching",
        _table(
            rows("batching/batching.csv"),
            method="method",
            seconds=_short("seconds"),
            **{"celer takes … times as long": _short("celer_over_this")},
            **{"largest gap": _short("largest_gap")},
        ),
    )
    yield from _section(
        "Concave penalties on gene expression",
        "bench.nonconvex",
        _table(
            rows("nonconvex/expression.csv"),
            case="case",
            strength="strength",
            solver="solver",
            seconds=_short("seconds"),
            violation=_short("violation"),
            objective=lambda row: f"{float(row['objective']):.6g}",
        ),
    )
    yield from _section(
        "Share of sparse vectors recovered, 100 trials: 256 entries, 40 spikes",
        "bench.nonconvex --only recovery",
        _table(
            [row for row in rows("nonconvex/recovery.csv") if 70 < int(row["measurements"]) < 110],
            measurements="measurements",
            method="method",
            recovered="rate",
            **{"95 % interval": lambda row: f"{float(row['low']):.2f} to {float(row['high']):.2f}"},
        ),
    )
    yield from _section(
        "SmolLM2-135M pruned without training",
        "bench.pruning.language",
        _table(
            sorted(
                rows("pruning/language.csv"),
                key=lambda row: (int(row["calibration"]), row["pattern"]),
            ),
            pieces="calibration",
            method="method",
            refitted="refit",
            pattern="pattern",
            perplexity=_short("perplexity", 3),
            **{"held-out error of the layers": _short("layer_error")},
        ),
    )
    yield from _section(
        "Slim networks against masked ones",
        "bench.pruning.slim",
        _table(
            rows("pruning/slim.csv"),
            model="model",
            **{"MACs": "macs", "MACs, slim": "macs_slim"},
            **{"times faster": _short("times_faster"), "packed": _short("times_faster_packed")},
            difference=_short("difference"),
        ),
    )
    yield from _section(
        "Pruning channels of ResNet-20 at equal MACs: accuracy on Fashion-MNIST, 95 % intervals",
        "bench.pruning.masksparsity",
        _table(
            rows("pruning/masksparsity_summary.csv"),
            stage="stage",
            method="what",
            seeds="seeds",
            accuracy="mean",
            interval=lambda row: f"{row['low']} to {row['high']}",
        ),
    )
    yield from _section(
        "A linear layer of its non-zero weights (4096×4096, batch of 64)",
        "bench.pruning.sparse_linear",
        _table(
            rows("pruning/sparse_linear.csv"),
            zeros="sparsity",
            **{"times faster than dense": _short("faster")},
        ),
    )
    yield from _section(
        "Burgers' equation by sparse networks, ν = 0.1/π",
        "bench.applications.pde",
        _table(
            rows("applications/pde_burgers.csv"),
            seed="seed",
            strength="strength",
            **{"relative error": _short("error")},
            zeros=lambda row: f"{float(row['sparsity']):.0%}",
        ),
    )
    yield from _section(
        "Policies from small data: interquartile mean scores of 20 seeds (awac-1: temperature 1)",
        "bench.applications.offline_rl --only full hopper",
        _table(
            list(_policies()),
            task="task",
            algorithm="algorithm",
            transitions="num",
            dense="dense",
            **{"masks decided once": "single-shot", "again and again": "iterative"},
        ),
    )
    yield from _section(
        "Architecture search on MNIST-1D: means over seeds (`gap`, `skip`)",
        "bench.applications.nas",
        _table(
            [
                {"space": space} | row
                for study, space in (("gap", "NAS-Bench-201"), ("skip", "skip or convolution"))
                for row in _means(f"applications/nas_{study}.csv", "relaxation", "settings")
            ],
            **{"space": "space", "relaxation": "relaxation", "steps × batch": "settings"},
            seeds="seeds",
            **{name: _short(name) for name in ("supernet", "discrete", "gap", "retrained")},
            skips=_short("skips"),
        ),
    )
    yield from _section(
        "Speaker verification: equal error rates, means over divisions into disjoint speakers",
        "bench.applications.speaker",
        _table(
            _means(
                "applications/speaker.csv",
                *("channels", "crop_frames", "weight_decay"),
                *("trained_speakers", "steps", "network"),
            ),
            network="network",
            channels="channels",
            **{"frames trained on": "crop_frames", "weight decay": "weight_decay"},
            **{"speakers trained on": "trained_speakers"},
            steps="steps",
            divisions="seeds",
            **{f"{s} s": _short(f"eer_{s}s") for s in (1, 2, 5, 8)},
            **{"real voices": _short("eer_real")},
        ),
    )


def _means(name: str, *keys: str) -> list[Row]:
    """Rows that agree in the keys as one, with the means of their other numbers."""
    cells: dict[tuple[str, ...], list[Row]] = {}
    for row in rows(name):
        cells.setdefault(tuple(row[key] for key in keys), []).append(row)
    found = []
    for cell, same in cells.items():
        means = {column: _mean(row[column] for row in same) for column in same[0]}
        seeds = {"seeds": str(len(same))}
        found.append(means | seeds | dict(zip(keys, cell, strict=True)))
    return found


def _mean(texts: Iterable[str]) -> str:
    """Of numbers, as text; of other texts none."""
    try:
        return str(fmean(map(float, texts)))
    except ValueError:
        return ""


def _policies() -> Iterator[Row]:
    """A row a problem, with a column for each way to train."""
    scores: dict[tuple[str, str, int], dict[str, list[float]]] = {}
    for row in rows("applications/offline_rl.csv"):
        cell = scores.setdefault((row["task"], row["algorithm"], int(row["num"])), {})
        cell.setdefault(row["method"], []).append(float(row["score"]))
    for (task, algorithm, num), cell in sorted(scores.items()):
        means = dict.fromkeys(("dense", "single-shot", "iterative"), "–")  # where not measured
        means |= {method: f"{trim_mean(found, 0.25):.3g}" for method, found in cell.items()}
        yield {"task": task, "algorithm": algorithm, "num": str(num), **means}


def _lasso() -> Iterator[str]:
    found: dict[tuple[str, float], dict[str, Row]] = {}
    for row in rows("lasso.csv"):
        if row["target"] == TARGET:
            found.setdefault((row["design"], float(row["ratio"])), {})[row["solver"]] = row
    yield "| design, strength | " + " | ".join(SOLVERS.values()) + " |"
    yield "|---|" + "---|" * len(SOLVERS)
    for design, title in DESIGNS.items():
        for (_, ratio), cell in sorted(item for item in found.items() if item[0][0] == design):
            seconds = {s: float(cell[s]["seconds"]) if s in cell else math.nan for s in SOLVERS}
            least = min((v for v in seconds.values() if math.isfinite(v)), default=math.nan)
            shown = [_cell(cell.get(s), seconds[s], least) for s in SOLVERS]
            yield f"| {title}, λmax/{ratio:g} | " + " | ".join(shown) + " |"


def _cell(row: Row | None, seconds: float, least: float) -> str:
    if row is None:
        return ""
    if math.isfinite(seconds):
        return f"**{seconds:.2g}**" if seconds == least else f"{seconds:.2g}"
    gentler = float(row["seconds_objective"])
    return f"– ({gentler:.2g})" if math.isfinite(gentler) else "–"


def _section(title: str, command: str, table: Iterable[str]) -> Iterator[str]:
    yield from ("", f"## {title}", "", f"`python -m {command}`", "")
    yield from table


def _table(found: list[Row], **columns: str | Callable[[Row], str]) -> Iterator[str]:
    """A column each, by name or as a function of the row."""
    yield "| " + " | ".join(columns) + " |"
    yield "|" + "---|" * len(columns)
    for row in found:
        cells = (row[c] if isinstance(c, str) else c(row) for c in columns.values())
        yield "| " + " | ".join(cells) + " |"


def _short(name: str, digits: int = 2) -> Callable[[Row], str]:
    def shown(row: Row) -> str:
        value = row[name]
        try:
            number = float(value)
        except ValueError:
            return value
        return f"{number:.{digits}g}" if math.isfinite(number) else "–"

    return shown


if __name__ == "__main__":
    print(page())
