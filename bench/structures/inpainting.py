"""Total-variation inpainting of a photograph of which half of the pixels are missing."""

import numpy as np
import scipy.sparse

import sparsejax as sj
from bench.structures.case import Case
from bench.structures.denoising import (
    Iterates,
    Restored,
    noisy_portrait,
    restoration,
    transposed_differences,
    variation,
)

REFERENCE_STEPS = 10_000


def half_missing(side: int = 128) -> Case:
    """The portrait of the denoising case, with every other pixel seen, by chance."""
    image = noisy_portrait(side)
    seen = np.random.default_rng(1).random(image.shape) < 0.5
    n, y = np.count_nonzero(seen), image[seen]
    picks = (np.ones(n), (np.arange(n), np.flatnonzero(seen)))
    design = sj.designs.as_design(scipy.sparse.csr_array(picks, shape=(n, image.size)))
    weight = 0.1  # of the variation, beside half the sum of squares

    def objective(w: np.ndarray) -> float:
        return (np.sum((w[seen] - y) ** 2) / 2 + weight * variation(w)) / n

    def iterates(steps: int) -> Iterates:
        return _chambolle_pock(image, seen, weight, steps)

    name = f"total variation {side}x{side}, half missing"
    data = Restored(y, design, image.shape, weight / n)
    return restoration(name, data, objective, iterates, REFERENCE_STEPS)


def _chambolle_pock(image: np.ndarray, seen: np.ndarray, weight: float, steps: int) -> Iterates:
    """PDHG in NumPy (Chambolle & Pock 2011, algorithm 1): w and the best bound below the optimum.

    No solution leaves the range of the pixels seen, so that what the dual pulls at the others costs
    at most that range times its size.
    """
    y, tau, best = image[seen], 0.35, 0.0
    sigma = 1 / (8 * tau)
    w = ahead = np.where(seen, image, y.mean())
    down, right = np.zeros_like(image)[1:], np.zeros_like(image)[:, 1:]
    for count in range(1, steps + 1):
        down = np.clip(down + sigma * np.diff(ahead, axis=0), -weight, weight)
        right = np.clip(right + sigma * np.diff(ahead, axis=1), -weight, weight)
        pull = transposed_differences(down, right)
        moved = w - tau * pull
        new = np.where(seen, (moved + tau * image) / (1 + tau), moved)
        w, ahead = new, 2 * new - w
        if count % 20 == 0:
            near, far = pull[seen], pull[~seen]
            free = np.minimum(far * y.min(), far * y.max())
            best = max(best, (near @ y - near @ near / 2 + free.sum()) / len(y))
            yield w, best
