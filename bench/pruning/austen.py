"""Jane Austen's six novels: some to calibrate on, others to judge by."""

import gzip
import re
from pathlib import Path
from typing import NamedTuple

TITLES = (
    "EMMA",
    "MANSFIELD PARK",
    "NORTHANGER ABBEY",
    "Persuasion",
    "PRIDE AND PREJUDICE",
    "SENSE AND SENSIBILITY",
)
HELD_OUT = ("NORTHANGER ABBEY", "Persuasion")
DEFAULT = Path(__file__).parents[2].parent / "shared" / "data" / "austen.txt.gz"
_CHAPTER = re.compile(r"^chapter [0-9ivxl]+$", re.IGNORECASE | re.MULTILINE)


class Novels(NamedTuple):
    """Chapters of the novels to calibrate on, and of those held out."""

    calibration: list[str]
    held_out: list[str]


def novels(path: Path = DEFAULT) -> Novels:
    """Cut Debian's r-cran-janeaustenr, as one text, at the titles and the chapters' headings."""
    text = gzip.decompress(path.read_bytes()).decode()
    starts = [re.search(rf"^{title}$", text, re.MULTILINE).start() for title in TITLES]
    ends = [*starts[1:], len(text)]
    chapters = {
        title: [chapter.strip() for chapter in _CHAPTER.split(text[start:end])[1:]]
        for title, start, end in zip(TITLES, starts, ends, strict=True)
    }
    calibration = [c for title in TITLES if title not in HELD_OUT for c in chapters[title]]
    return Novels(calibration, [c for title in HELD_OUT for c in chapters[title]])
