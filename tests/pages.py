"""Python blocks of the pages that are no doctests: the tests of what they are about run them."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: str) -> list[str]:
    """Of a page in ``docs``, in order."""
    return _plain(ROOT / "docs" / page)


def all_blocks() -> dict[str, int]:
    """How many of them there are, by page."""
    return {page.name: len(_plain(page)) for page in PAGES if _plain(page)}


def _plain(page: Path) -> list[str]:
    fences = page.read_text().split("```")[1::2]
    python = [code for kind, _, code in (fence.partition("\n") for fence in fences) if "py" in kind]
    return [code for code in python if ">>>" not in code and "--8<--" not in code]
