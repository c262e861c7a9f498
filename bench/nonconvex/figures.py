"""One figure an experiment, from its rows."""

from pathlib import Path

import numpy as np


def _axes(count: int, width: float = 4.0):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt.subplots(1, count, figsize=(width * count, 3.4), layout="constrained", squeeze=False)


def stages(rows: list[dict], path: Path) -> None:
    """Error by stage, the strength chosen by held-out data, with the oracle's as a line."""
    settings = list(dict.fromkeys(row["setting"] for row in rows))
    figure, (axes,) = _axes(len(settings))
    for ax, setting in zip(axes, settings, strict=True):
        here = [row for row in rows if row["setting"] == setting]
        for name in dict.fromkeys(row["relaxation"] for row in here if row["stage"]):
            line = [r for r in here if r["relaxation"] == name and r["choice"] == "held-out"]
            x, y = ([row[key] for row in line] for key in ("stage", "error"))
            below, above = ([abs(r["error"] - r[k]) for r in line] for k in _ends("error"))
            ax.errorbar(x, y, (below, above), label=name, capsize=2)
        ax.axhline(here[-1]["error"], color="grey", linestyle=":", label="oracle")
        ax.set(title=setting, xlabel="stage", ylim=(0, None))
    axes[0].set_ylabel("mean error ‖w − w̄‖")
    axes[0].legend()
    figure.savefig(path, dpi=120)


def recovery(rows: list[dict], path: Path) -> None:
    """Rate of recovery by the number of measurements."""
    figure, ((ax,),) = _axes(1, 7.0)
    for name in dict.fromkeys(row["method"] for row in rows):
        line = [row for row in rows if row["method"] == name]
        x, y = ([row[key] for row in line] for key in ("measurements", "rate"))
        below, above = ([abs(r["rate"] - r[k]) for r in line] for k in ("low", "high"))
        ax.errorbar(x, y, (below, above), label=name, capsize=2)
    ax.set(xlabel="measurements", ylabel="recovered to 1 %")
    ax.legend(fontsize="small")
    figure.savefig(path, dpi=120)


def expression(rows: list[dict], path: Path) -> None:
    """Seconds to the target by strength."""
    cases = list(dict.fromkeys(row["case"] for row in rows))
    figure, (axes,) = _axes(len(cases))
    for ax, case in zip(axes, cases, strict=True):
        here = [row for row in rows if row["case"] == case]
        for name in dict.fromkeys(row["solver"] for row in here):
            line = [row for row in here if row["solver"] == name]
            finite = [row["seconds"] if np.isfinite(row["seconds"]) else np.nan for row in line]
            ax.plot([row["strength"] for row in line], finite, marker="o", label=name)
        ax.set(title=case, yscale="log", ylabel="seconds to a KKT violation of 1e-8")
        ax.legend()
    figure.savefig(path, dpi=120)


def _ends(name: str) -> tuple[str, str]:
    return f"{name}_low", f"{name}_high"
