"""The shipped data: shapes, labels, documentation and size."""

from importlib.resources import files

import numpy as np
import pytest

from sparsejax import datasets

FOLDER = files("sparsejax.datasets")


@pytest.mark.parametrize(
    ("load", "shape", "targets"),
    [
        (datasets.load_golub, (38, 3051), (38,)),
        (datasets.load_khan, (83, 2308), (83,)),
        (datasets.load_tecator, (215, 100), (215, 3)),
        (datasets.load_fermentation, (21, 1047), (21,)),
    ],
)
def test_shapes_and_values(load, shape, targets):
    data = load()
    assert data.X.shape == shape
    assert data.y.shape == targets
    assert data.X.dtype == np.float64
    assert np.isfinite(data.X).all()
    assert np.isfinite(data.y).all()
    assert data.description
    if data.feature_names is not None:
        assert len(data.feature_names) == len(set(data.feature_names)) == shape[1]


def test_golub_classes():
    assert np.bincount(datasets.load_golub().y.astype(int)).tolist() == [27, 11]


def test_khan_subsets_are_a_partition():
    train, test, both = (datasets.load_khan(subset) for subset in ("train", "test", "all"))
    assert len(train.X) == 63
    np.testing.assert_array_equal(np.concatenate([train.X, test.X]), both.X)
    np.testing.assert_array_equal(np.concatenate([train.y, test.y]), both.y)
    with pytest.raises(ValueError, match="subset must be"):
        datasets.load_khan("validation")


def test_tecator_percentages_are_plausible():
    totals = datasets.load_tecator().y.sum(axis=1)
    assert np.all((totals > 90) & (totals < 105))


def test_every_file_is_documented_with_a_licence_and_small():
    archives = [entry for entry in FOLDER.iterdir() if entry.name.endswith(".npz")]
    table = (FOLDER / "README.md").read_text()
    assert all(f"`{entry.name}`" in table for entry in archives)
    assert "licences/LGPL-3.txt" in table
    everything = [e for e in FOLDER.rglob("*") if e.is_file()]
    assert sum(entry.stat().st_size for entry in everything) < 3e6


def test_archives_hold_no_pickles():
    for entry in FOLDER.iterdir():
        if entry.name.endswith(".npz"):
            with np.load(entry, allow_pickle=False) as archive:
                assert all(archive[key].dtype != object for key in archive.files)
