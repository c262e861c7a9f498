"""Small real data sets, shipped with the package (sources and licences: README.md beside them)."""

from ._load import Dataset, load_fermentation, load_golub, load_khan, load_tecator

__all__ = ["Dataset", "load_fermentation", "load_golub", "load_khan", "load_tecator"]
