"""The page of supported pairs is what the code says."""

import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parent.parent / "docs"
sys.path.insert(0, str(DOCS))  # a folder of the repository, not an installed package

import support  # noqa: E402


def test_support_page_is_current():
    """``python docs/support.py`` after a change of what solvers take."""
    assert support.PAGE.read_text() == "\n".join(support.page()) + "\n"


@pytest.mark.parametrize("name", support.TARGETS)
def test_every_loss_has_a_solver_for_every_penalty(name):
    loss, y = support.TARGETS[name]
    for penalty, make in support.PENALTIES.items():
        if name not in ("Squared, tasks", "Multinomial") or penalty in support.FOR_TASKS:
            assert "**" in support.cell(loss, y, make()), penalty
