"""The API by room: one entry for every public name, in about the order of its ``__init__`` file."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "sparsejax"
ROOMS = (
    *("", "penalties", "losses", "designs", "solvers", "bilevel", "resampling", "streaming"),
    *("estimators", "nn", "plotting", "datasets"),
    *(
        f"applications.{folder.name}"
        for folder in sorted((PACKAGE / "applications").iterdir())
        if (folder / "__init__.py").exists()
    ),
)


def names(room: str) -> list[str]:
    """What the room's ``__init__`` file imports from its own files, abstract classes last."""
    tree = ast.parse((_folder(room) / "__init__.py").read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    own = [alias.name for node in imports if node.module and node.level for alias in node.names]
    return sorted(own, key=lambda name: name.startswith("Abstract"))


def page(room: str) -> str:
    """Its docstring, then its names."""
    module = f"sparsejax.{room}" if room else "sparsejax"
    doc = ast.get_docstring(ast.parse((_folder(room) / "__init__.py").read_text()))
    # Literal blocks are reStructuredText, for `help`; what the home page says need not be repeated.
    lines = [f"# {module}", "", (doc or "").split("\n\n")[0], ""]
    for name in names(room):
        lines += [f"::: {module}.{name}", ""]
    return "\n".join(lines)


def _folder(room: str) -> Path:
    return PACKAGE.joinpath(*room.split(".")) if room else PACKAGE
