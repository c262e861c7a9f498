"""Run notebooks in the normal setting and keep what they show: ``python notebooks/execute.py 01``.

Without arguments all of them; an argument is the beginning of a name. Extra: ``notebooks``.
"""

import argparse
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent


def execute(path: Path) -> None:
    """Run one in a new kernel; if a cell fails, the file stays as it was."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=None,
        kernel_name="python3",
        resources={"metadata": {"path": str(FOLDER)}},
        record_timing=False,
    )
    client.execute()
    # Which Python ran it is no part of the notebook.
    notebook.metadata["language_info"] = {"name": "python"}
    nbformat.write(notebook, path)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python notebooks/execute.py", description=__doc__)
    parser.add_argument("names", nargs="*", default=[""], help="beginnings of names")
    for name in parser.parse_args().names:
        for path in sorted(FOLDER.glob(f"{name}*.ipynb")):
            start = time.perf_counter()
            execute(path)
            print(f"{path.name}: {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
