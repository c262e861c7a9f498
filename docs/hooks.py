"""Pages that MkDocs makes when the site is built: the API by room, and the benchmarks.

Nothing of them is typed by hand but the order: names come from the packages' ``__init__`` files,
numbers from the CSV files in ``bench/results``.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))  # not an installed package

import api  # noqa: E402
import benchmarks  # noqa: E402


def on_files(files: Files, *, config: Any) -> Files:
    for name, text in _pages():
        files.append(File.generated(config, name, content=text))
    for figure in benchmarks.figures():
        files.append(File.generated(config, f"figures/{figure.name}", abs_src_path=str(figure)))
    return files


def _pages() -> Iterator[tuple[str, str]]:
    yield "benchmarks.md", benchmarks.page()
    for room in api.ROOMS:
        yield f"api/{room.removeprefix('applications.') or 'sparsejax'}.md", api.page(room)
