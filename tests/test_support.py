"""The page of supported pairs is what the code says."""

import sys
from pathlib import Path

import pytest

import sparsejax as sj

DOCS = Path(__file__).resolve().parent.parent / "docs"
sys.path.insert(0, str(DOCS))  # a folder of the repository, not an installed package

import support  # noqa: E402


def test_support_page_is_current():
    """``python docs/support.py`` after a change of what solvers take."""
    assert support.PAGE.read_text() == "\n".join(support.page()) + "\n"


@pytest.mark.parametrize(("loss", "y"), support.CASES.values(), ids=support.CASES)
def test_the_default_takes_every_pair(loss, y):
    """But for penalties of infinite slope at zero with a loss that no gradient step is sure to
    lower, but for hard constraints, and for concave penalties of singular values with a loss that
    has no gradient.
    """
    loss_type = getattr(sj.losses, loss)
    for penalty, make in support.PENALTIES.items():
        if support.is_of_matrices(loss, y) and penalty not in support.FOR_TASKS:
            continue
        unbounded = not getattr(loss_type(), "has_bounded_curvature", False)
        refused = penalty in ("Lq", "L0", "Cardinality") and unbounded
        refused |= penalty == "Spectral" and not isinstance(
            loss_type(), sj.losses.AbstractSmoothLoss
        )
        refused &= (loss, penalty) != ("Equality", "Lq")
        assert ("**" in support.cell(loss, y, make())) != refused, penalty
