import numpy as np


def stratified_folds(y: np.ndarray, folds: int, seed: int = 0) -> np.ndarray:
    """Fold of every sample, shape (n,): equal in size, and alike in their distribution of y.

    Samples are sorted by y (ties at random, by `seed`) and dealt out in turn, so that classes and
    quantiles are spread evenly; plain consecutive folds would put a sorted class into one fold.
    """
    ties = np.random.default_rng(seed).permutation(y.size)
    order = ties[np.argsort(y[ties], kind="stable")]
    fold = np.empty(y.size, dtype=np.int64)
    fold[order] = np.arange(y.size) % folds
    return fold
