"""Figures: what is drawn, on which Axes, and that pyplot is left alone."""

import sys
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from sparsejax import plotting
from sparsejax.nn import sparsity_report

STRENGTHS = np.geomspace(1.0, 0.01, 20)
LINE = SimpleNamespace(
    strengths=STRENGTHS,
    coefs=np.maximum(0.0, np.array([0.9, 0.5, 0.0])[None] - STRENGTHS[:, None] * [1, 1, 0]),
)
ERRORS = np.stack([(np.log(STRENGTHS) + 3) ** 2 + k for k in range(4)])


@pytest.fixture
def ax():
    return Figure().subplots()


@pytest.fixture
def no_pyplot(monkeypatch):
    """Any use of pyplot during the test fails."""
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)


@pytest.mark.usefixtures("no_pyplot")
def test_path_draws_the_features_that_enter(ax):
    assert plotting.path(LINE, feature_names=["a", "b", "c"], ax=ax) is ax
    assert ax.get_legend_handles_labels()[1] == ["a", "b"]
    left, right = ax.get_xlim()
    assert left > right
    labels = [text.get_text() for text in ax.get_xticklabels(which="both")]
    assert [x for x in labels if x and 0.01 <= float(x) <= 1] == [
        "0.01",
        "0.02",
        "0.05",
        "0.1",
        "0.2",
        "0.5",
        "1",
    ]


@pytest.mark.usefixtures("no_pyplot")
def test_path_ranks_at_the_first_mark_and_greys_the_rest(ax):
    plotting.path(LINE, marks={"chosen": 0.6}, top=1, ax=ax)
    assert ax.get_legend_handles_labels()[1] == ["0", "chosen"]
    # One named curve, one grey curve, the zero line and the mark.
    assert len(ax.lines) == 4


def test_path_of_an_empty_model(ax):
    empty = SimpleNamespace(strengths=STRENGTHS, coefs=np.zeros((20, 3)))
    plotting.path(empty, ax=ax)
    assert ax.get_legend() is None


def test_path_names_must_match(ax):
    with pytest.raises(ValueError, match="feature_names must have one name a feature"):
        plotting.path(LINE, feature_names=["a"], ax=ax)


@pytest.mark.usefixtures("no_pyplot")
def test_cross_validation_mean_band_and_marks(ax):
    assert plotting.cross_validation(STRENGTHS, ERRORS, marks={"chosen": 0.05}, ax=ax) is ax
    labels = ax.get_legend_handles_labels()[1]
    assert set(labels) == {"± standard error", "mean of 4 folds", "chosen"}
    mean = next(line for line in ax.lines if line.get_label() == "mean of 4 folds")
    np.testing.assert_allclose(mean.get_ydata(), ERRORS.mean(axis=0))


def test_cross_validation_of_one_fold_has_no_band(ax):
    plotting.cross_validation(STRENGTHS, ERRORS[:1], ax=ax)
    assert not ax.collections


def test_cross_validation_shape_is_checked(ax):
    with pytest.raises(ValueError, match=r"errors must have shape \(folds, 20\)"):
        plotting.cross_validation(STRENGTHS, ERRORS.T, ax=ax)


@pytest.mark.usefixtures("no_pyplot")
def test_convergence_shows_exact_zeros(ax):
    assert plotting.convergence({"A": ([1, 2], [1e-3, 0.0]), "B": ([1], [1.0])}, ax=ax) is ax
    assert min(ax.lines[0].get_ydata()) > 0
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")


def test_convergence_linear_abscissa_and_tolerance(ax):
    plotting.convergence({"A": ([0, 2], [1e-3, 1e-4])}, tol=1e-4, logx=False, ax=ax)
    assert ax.get_xscale() == "linear"
    assert "tolerance 0.0001" in ax.get_legend_handles_labels()[1]


STABLE = SimpleNamespace(
    strengths=np.array([0.1, 1.0]), probabilities=np.array([[0.9, 0.4, 0.0], [0.0, 0.4, 0.0]])
)


@pytest.mark.usefixtures("no_pyplot")
def test_selection_orders_features_and_strengths(ax):
    """The strongest strength is on the left although it was given last; feature 2 is never in."""
    # A colour bar needs a figure, whose axes it takes room from.
    assert plotting.selection(STABLE, ax=ax) is ax
    assert [label.get_text() for label in ax.get_yticklabels()] == ["0", "1"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "0.1"]
    np.testing.assert_allclose(ax.images[0].get_array(), [[0.0, 0.9], [0.4, 0.4]])


@pytest.mark.usefixtures("no_pyplot")
def test_selection_of_a_path_of_several_tasks(ax):
    coefs = np.zeros((2, 3, 2))
    coefs[1, 2, 1] = -1.0
    plotting.selection(
        SimpleNamespace(strengths=[1.0, 0.1], coefs=coefs), feature_names="abc", top=1, ax=ax
    )
    assert [label.get_text() for label in ax.get_yticklabels()] == ["c"]
    np.testing.assert_allclose(ax.images[0].get_array(), [[0.0, 1.0]])


def test_selection_names_must_match(ax):
    with pytest.raises(ValueError, match="feature_names must have one name a feature"):
        plotting.selection(STABLE, feature_names=["a"], ax=ax)


@pytest.mark.usefixtures("no_pyplot")
def test_sparsity_of_layers_and_in_all(ax):
    report = sparsity_report(
        {"a": {"weight": np.eye(2), "bias": np.zeros(9)}, "b": np.ones((2, 3))}
    )
    assert plotting.sparsity(report, ax=ax) is ax
    assert [bar.get_width() for bar in ax.patches] == [0.5, 0.0]
    assert ax.get_yticklabels()[0].get_text() == "a"
    assert ax.get_legend_handles_labels()[1] == ["all: 20.0%"]
    with pytest.raises(ValueError, match="`report` has no array of two axes"):
        plotting.sparsity(sparsity_report({"bias": np.ones(2)}), ax=ax)


@pytest.mark.usefixtures("no_pyplot")
def test_singular_values_leave_out_zeros(ax, rng):
    thin = rng.normal(size=(6, 2))
    assert plotting.singular_values({"W": thin @ thin.T, "0": np.zeros((2, 2))}, ax=ax) is ax
    assert ax.get_legend_handles_labels()[1] == ["W: rank 2", "0: rank 0"]
    np.testing.assert_allclose(ax.lines[0].get_ydata(), np.linalg.svd(thin @ thin.T)[1][:2])
    with pytest.raises(ValueError, match="'v' must be a matrix"):
        plotting.singular_values({"v": np.ones(3)}, ax=ax)


def test_without_axes_a_pyplot_figure_is_opened():
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    drawn = plotting.convergence({"A": ([1.0], [0.1])})
    assert drawn.figure.number in plt.get_fignums()
    plt.close(drawn.figure)
