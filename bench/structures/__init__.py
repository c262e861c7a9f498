"""Structures other than the Lasso, one file each: ``python -m bench.structures``."""
