"""Every notebook runs from top to bottom, and is committed with what it shows."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import matplotlib as mpl
import pytest

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
sys.path.insert(0, str(FOLDER))

import colab  # noqa: E402

NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
# What the others show is run by tests of its own; these are the ones that people begin with.
FIRST = ("01", "06", "07", "12")


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


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, marks=[pytest.mark.slow] * (path.name[:2] not in FIRST))
        for path in NOTEBOOKS
    ],
    ids=lambda path: path.stem,
)
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
def test_badge_and_install_cell_are_up_to_date(path):
    notebook = json.loads(path.read_text())
    assert colab.rewritten(notebook, path.stem) == notebook
    assert "colab.research.google.com" in _source(notebook["cells"][0])
    hosted = colab.rewritten(notebook, path.stem, "somebody/sparsejax")["cells"]
    place = (
        f"https://colab.research.google.com/github/somebody/sparsejax/blob/main/{path.parent.name}"
    )
    assert f"({place}/{path.name})" in _source(hosted[0])
    assert '"git+https://github.com/somebody/sparsejax"' in _source(hosted[1])


@pytest.mark.parametrize("parts", [(), ("libtpu",), ("jax_cuda12_plugin",)], ids=str)
def test_install_cell(parts, monkeypatch, tmp_path):
    """Installs a wheel beside it, or the clone it is in, with the accelerator's part of JAX."""
    found, commands = set(parts), []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if name in found else None)
    monkeypatch.setattr(subprocess, "run", lambda command, check: commands.append(command))
    cell = _source(_cells(FOLDER / "10_robust_darts.ipynb", "code")[0])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="Put a wheel of sparsejax beside this notebook"):
        exec(cell, {})
    wheel = tmp_path / "sparsejax-0.1.0-py3-none-any.whl"
    wheel.touch()
    exec(cell, {})
    monkeypatch.chdir(FOLDER)
    exec(cell, {})
    pip = [sys.executable, "-m", "pip", "install", "-q"]
    jax_parts = [f"jax[{'tpu' if part == 'libtpu' else 'cuda12'}]" for part in parts]
    sources = [wheel.as_uri(), FOLDER.parent.as_uri()]
    assert commands == [[*pip, *jax_parts, f"sparsejax[nas] @ {source}"] for source in sources]
    found.add("sparsejax")
    exec(cell, {})
    assert len(commands) == 2  # where it is installed, nothing happens


def test_all_are_there():
    """Their numbers are those by which the documentation names them."""
    assert [path.name[:2] for path in NOTEBOOKS] == [f"{i:02}" for i in range(1, 13)]
    page = (FOLDER.parent / "docs" / "notebooks.md").read_text()
    assert all(f"`{path.stem}`" in page for path in NOTEBOOKS)
