"""Every notebook runs from top to bottom, and is committed with what it shows."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import matplotlib as mpl
import pytest

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@pytest.fixture
def as_in_a_notebook(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The fast setting, figures that nobody sees, and the precision of JAX as it was."""
    monkeypatch.setenv("SPARSEJAX_NOTEBOOK_FAST", "1")
    monkeypatch.chdir(FOLDER)
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))
    x64 = jax.config.jax_enable_x64
    yield
    jax.config.update("jax_enable_x64", x64)
    plt.close("all")


def _cells(path: Path, kind: str) -> list[dict]:
    cells = json.loads(path.read_text())["cells"]
    return [cell for cell in cells if cell["cell_type"] == kind]


def _source(cell: dict) -> str:
    return "".join(cell["source"])


@each
@pytest.mark.usefixtures("as_in_a_notebook")
@pytest.mark.filterwarnings("default")
def test_runs(path):
    """In this process: a kernel takes seconds to start, and would share no compiled programs."""
    # A module of its own, so that classes made in it are found by their names.
    module = type(sys)(path.stem)
    for i, cell in enumerate(_cells(path, "code")):
        code = compile(_source(cell), f"{path.name}[{i}]", "exec")
        exec(code, module.__dict__)


@each
def test_is_committed_with_outputs(path):
    """A figure at least, no errors, cells run in order."""
    code = _cells(path, "code")
    outputs = [output for cell in code for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert not [output for output in outputs if output.get("name") == "stderr"], "warnings shown"


@each
def test_opens_in_colab_and_installs(path):
    badge = (
        f"https://colab.research.google.com/github/OWNER/sparsejax/blob/main/notebooks/{path.name}"
    )
    assert badge in _source(_cells(path, "markdown")[0])
    install = _source(_cells(path, "code")[0])
    assert 'if importlib.util.find_spec("sparsejax") is None:' in install
    assert "git+https://github.com/OWNER/sparsejax" in install


def test_all_are_there():
    """Their numbers are those by which the documentation names them."""
    numbers = {path.name[:2] for path in NOTEBOOKS}
    assert {"01", "02", "03", "04", "05", "06", "07", "08", "12"} <= numbers
