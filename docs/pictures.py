"""The picture of the README: ``python docs/pictures.py`` writes images/path.png."""

from pathlib import Path

import jax
import numpy as np
from matplotlib.figure import Figure

import sparsejax as sj

IMAGE = Path(__file__).with_name("images") / "path.png"


def main() -> None:
    """A Lasso on gene expression: the path, and the certificate of each of its solutions."""
    data = sj.datasets.load_golub()
    X = sj.designs.standardise(data.X)
    problem = sj.Problem(X, data.y, penalty=sj.penalties.L1(1.0), fit_intercept=True)
    path = sj.path(problem, num=80, ratio=0.02, tol=1e-8)
    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    sj.plotting.path(path, feature_names=data.feature_names, ax=left)
    left.set_title("Leukemia, 38 patients, 3051 genes: every solution of the path")
    sizes = np.count_nonzero(path.coefs, axis=1)
    gaps = np.maximum(path.gaps, np.finfo(np.float64).eps)
    right.scatter(sizes, gaps, c=np.log(path.strengths), cmap="viridis", s=18)
    right.axhline(1e-8, color="0.4", linestyle="--", linewidth=1.0, label="asked for: 1e-8")
    right.set(yscale="log", xlabel="genes selected", ylabel="relative duality gap")
    right.set_title("… and its certificate")
    right.legend(frameon=False, fontsize="small")
    figure.savefig(IMAGE, dpi=110)


if __name__ == "__main__":
    with jax.enable_x64(True):
        main()
