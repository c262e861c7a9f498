"""Read the archives beside this file."""

from importlib.resources import as_file, files
from typing import Literal, NamedTuple

import numpy as np

_CELL_TUMOURS = "1 Ewing family, 2 Burkitt lymphoma, 3 neuroblastoma, 4 rhabdomyosarcoma"


class Dataset(NamedTuple):
    """A design, its targets, and what they are.

    Arrays are NumPy's, numbers in float64: JAX turns them into float32 unless
    ``jax_enable_x64`` is on, so that they follow the precision the caller works in.

    Attributes
    ----------
    X
        Design, shape (n samples, p features).
    y
        Targets, shape (n,) or (n, tasks).
    feature_names
        One name a column of `X`, or None where the source gives none.
    description
        What was measured, in one sentence.
    """

    X: np.ndarray
    y: np.ndarray
    feature_names: tuple[str, ...] | None
    description: str


def _read(name: str) -> dict[str, np.ndarray]:
    with (
        as_file(files("sparsejax.datasets") / f"{name}.npz") as path,
        np.load(path, allow_pickle=False) as archive,
    ):
        return {key: archive[key] for key in archive.files}


def load_golub() -> Dataset:
    """Golub leukemia: 38 patients, 3051 genes; y is 0 (lymphoblastic) or 1 (myeloid).

    Examples
    --------
    >>> import sparsejax as sj
    >>> data = sj.datasets.load_golub()
    >>> data.X.shape, int(data.y.sum()), data.feature_names[3050]
    ((38, 3051), 11, 'M71243_f_at')
    """
    raw = _read("golub")
    return Dataset(
        X=raw["X"].astype(np.float64),
        y=raw["y"].astype(np.float64),
        feature_names=tuple(raw["feature_names"].tolist()),
        description="gene expression of 38 leukemias, 27 lymphoblastic (0) and 11 myeloid (1)",
    )


def load_khan(subset: Literal["train", "test", "all"] = "all") -> Dataset:
    """Khan's small round blue cell tumours: 2308 genes, four classes 1 to 4.

    Parameters
    ----------
    subset
        The 63 published training samples, the 20 test samples, or all 83 (training first).

    Raises
    ------
    ValueError
        If `subset` is none of the three.

    Examples
    --------
    >>> import sparsejax as sj
    >>> sj.datasets.load_khan("test").X.shape
    (20, 2308)
    """
    raw = _read("khan")
    split = int(raw["n_train"])
    rows = {"train": slice(split), "test": slice(split, None), "all": slice(None)}
    if subset not in rows:
        raise ValueError(f"subset must be 'train', 'test' or 'all', not {subset!r}.")
    return Dataset(
        X=raw["X"][rows[subset]].astype(np.float64),
        y=raw["y"][rows[subset]].astype(np.int64),
        feature_names=None,
        description=f"gene expression of small round blue cell tumours ({_CELL_TUMOURS})",
    )


def load_tecator() -> Dataset:
    """Tecator meats: 100 near-infrared absorbances of 215 samples; three targets at once.

    Examples
    --------
    >>> import sparsejax as sj
    >>> data = sj.datasets.load_tecator()
    >>> data.X.shape, data.y.shape
    ((215, 100), (215, 3))
    """
    raw = _read("tecator")
    return Dataset(
        X=raw["X"].astype(np.float64),
        y=raw["y"].astype(np.float64),
        feature_names=None,
        description="near-infrared absorbances of meat; percentages of water, fat and protein",
    )


def load_fermentation() -> Dataset:
    """Fermentation spectra: 21 samples, 1047 wavenumbers; glucose in g/l.

    Examples
    --------
    >>> import sparsejax as sj
    >>> data = sj.datasets.load_fermentation()
    >>> data.X.shape, data.feature_names[0]
    ((21, 1047), '428 1/cm')
    """
    raw = _read("fermentation")
    return Dataset(
        X=raw["X"].astype(np.float64),
        y=raw["y"].astype(np.float64),
        feature_names=tuple(f"{wavenumber:.0f} 1/cm" for wavenumber in raw["wavenumber"]),
        description="spectra of a fermentation; glucose in g/l",
    )
