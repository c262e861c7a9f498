"""Total-variation inpainting of a photograph of which half of the pixels are missing."""

import numpy as np
import scipy.sparse

import sparsejax as sj
from bench.structures.case import Case, Solver, solved
from bench.structures.denoising import noisy_portrait, transposed_differences, variation

REFERENCE_STEPS = 10_000


def half_missing(side: int = 128) -> Case:
    """The portrait of the denoising case, with every other pixel seen, by chance."""
    image = noisy_portrait(side)
    seen = np.random.default_rng(1).random(image.shape) < 0.5
    n, y = np.count_nonzero(seen), image[seen]
    picks = (np.ones(n), (np.arange(n), np.flatnonzero(seen)))
    design = sj.designs.as_design(scipy.sparse.csr_array(picks, shape=(n, image.size)))
    differences = sj.penalties.difference_operator(image.shape)
    weight = 0.1  # of the variation, beside half the sum of squares
    unit = np.sum(y**2) / (2 * n)

    def objective(w: np.ndarray) -> float:
        return (np.sum((w[seen] - y) ** 2) / 2 + weight * variation(w)) / n

    # The best value of the dual that was seen bounds the optimum from below.
    bound = max(value for _, value in _chambolle_pock(image, seen, weight, REFERENCE_STEPS))

    def error(coef: np.ndarray, strength: float) -> float:
        del strength
        return (objective(coef.reshape(image.shape)) - bound) / bound

    def ours(strength: float, tol: float) -> np.ndarray:
        penalty = sj.penalties.Analysis(strength, differences)
        # Our gaps are relative to the objective at zero, those of the other to the optimum.
        return solved(sj.Problem(design, y, penalty=penalty), tol * bound / unit)

    def pdhg(strength: float, tol: float) -> np.ndarray:
        best = 0.0
        for w, value in _chambolle_pock(image, seen, strength * n, 100_000):
            best = max(best, value)
            if objective(w) - best <= tol * best:
                return w.ravel()
        return w.ravel()

    solvers: dict[str, Solver] = {"sparsejax": ours, "NumPy PDHG": pdhg}
    name = f"total variation {side}x{side}, half missing"
    return Case(name, {"λ = 0.1": weight / n}, 1e-5, error, solvers)


def _chambolle_pock(image: np.ndarray, seen: np.ndarray, weight: float, steps: int):
    """PDHG in NumPy (Chambolle & Pock 2011, algorithm 1): w and a bound below the optimum.

    No solution leaves the range of the pixels seen, so that what the dual pulls at the others costs
    at most that range times its size.
    """
    y, tau = image[seen], 0.35
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
            yield w, (near @ y - near @ near / 2 + free.sum()) / len(y)
