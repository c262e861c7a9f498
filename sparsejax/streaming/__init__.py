"""Least squares on tables larger than memory, read once, a chunk of rows at a time."""

from ._accumulate import accumulate as accumulate
from ._chunks import npy_chunks as npy_chunks, parquet_chunks as parquet_chunks
from ._moments import Moments as Moments
