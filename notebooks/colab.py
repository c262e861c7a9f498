"""The badge and the install cell of every notebook: ``python notebooks/colab.py`` writes them."""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
HOME: str | None = None  # "name/sparsejax", once the repository is on GitHub
EXTRAS = {"06_pruning_smollm2": "[language]", "10_robust_darts": "[nas]"}

_COLAB = "https://colab.research.google.com"
_BADGE = "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
_INSTALL = """\
# Installs sparsejax where it is missing, on Colab say, and does nothing otherwise.
import importlib.util
import subprocess
import sys
from pathlib import Path

if importlib.util.find_spec("sparsejax") is None:
    here = Path.cwd()
    wheels, clone = sorted(here.glob("sparsejax-*.whl")), here.parent
    if wheels:
        source = wheels[-1].as_uri()
    elif (clone / "sparsejax" / "__init__.py").exists():
        source = clone.as_uri()
    else:
        {otherwise}
    # What JAX needs for an accelerator must be of JAX's own version.
    parts = {"libtpu": "tpu", "jax_cuda12_plugin": "cuda12", "jax_cuda13_plugin": "cuda13"}
    jax_parts = [f"jax[{part}]" for name, part in parts.items() if importlib.util.find_spec(name)]
    command = [sys.executable, "-m", "pip", "install", "-q", *jax_parts]
    subprocess.run([*command, f"sparsejax{extra} @ {source}"], check=True)"""
_NO_HOME = """\
raise FileNotFoundError(
            "Put a wheel of sparsejax beside this notebook (on Colab: upload it). "
            "`python -m pip wheel --no-deps .` in a clone makes it."
        )"""


def rewritten(notebook: dict[str, Any], name: str, home: str | None = HOME) -> dict[str, Any]:
    """A notebook whose badge and install cell are as they should be, and nothing else changed."""
    title, install, *rest = notebook["cells"]
    place = f"/github/{home}/blob/main/notebooks/{name}.ipynb" if home else "/"
    lines = [
        f"{_BADGE}({_COLAB}{place})\n" if line.startswith(_BADGE) else line
        for line in title["source"]
    ]
    otherwise = f'source = "git+https://github.com/{home}"' if home else _NO_HOME
    code = _INSTALL.replace("{otherwise}", otherwise).replace("{extra}", EXTRAS.get(name, ""))
    cells = [title | {"source": lines}, install | {"source": code.splitlines(keepends=True)}]
    return notebook | {"cells": [*cells, *rest]}


def main() -> None:
    for path in sorted(FOLDER.glob("*.ipynb")):
        notebook = rewritten(json.loads(path.read_text()), path.stem)
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
