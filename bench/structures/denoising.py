"""Total-variation denoising of a photograph."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

import sparsejax as sj
from bench.structures.case import Case, Solver, solved

REFERENCE_STEPS = 5000
Iterates = Iterator[tuple[np.ndarray, float]]  # images, and bounds below the optimum


def photograph(side: int = 512) -> Case:
    """A portrait with a tenth of its range as noise."""
    noisy = noisy_portrait(side)
    return _case(f"total variation {side}x{side}", noisy, 0.1 / noisy.size)


def portrait(side: int) -> np.ndarray:
    """Matplotlib's Grace Hopper, grey, from 0 to 1."""
    import matplotlib.cbook
    import matplotlib.pyplot as plt

    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        return plt.imread(file, format="jpg").mean(2)[:side, :side] / 255


def noisy_portrait(side: int) -> np.ndarray:
    """The portrait with a tenth of its range as noise."""
    clean = portrait(side)
    return clean + 0.1 * np.random.default_rng(0).normal(size=clean.shape)


def _case(name: str, image: np.ndarray, strength: float) -> Case:
    size = image.size

    def objective(w: np.ndarray) -> float:
        return np.sum((w - image) ** 2) / (2 * size) + strength * variation(w)

    def iterates(steps: int) -> Iterates:
        return _chambolle_pock(image, strength, steps)

    data = Restored(image.ravel(), sj.designs.Identity(size), image.shape, strength)
    return restoration(name, data, objective, iterates, REFERENCE_STEPS)


class Restored(NamedTuple):
    """Pixels as they were seen, and how they come about from those of an image."""

    y: np.ndarray
    design: sj.designs.AbstractDesign
    shape: tuple[int, ...]
    strength: float


def restoration(
    name: str,
    data: Restored,
    objective: Callable[[np.ndarray], float],
    iterates: Callable[[int], Iterates],
    reference_steps: int,
) -> Case:
    """An image of little variation: ours against ``iterates``, images with bounds from below."""
    differences = sj.penalties.difference_operator(data.shape)
    # The best bound that was seen stands in for the optimum.
    optimum = max(bound for _, bound in iterates(reference_steps))

    def error(coef: np.ndarray, strength: float) -> float:
        del strength
        return (objective(coef.reshape(data.shape)) - optimum) / optimum

    def ours(strength: float, tol: float) -> np.ndarray:
        penalty = sj.penalties.Analysis(strength, differences)
        # Our gaps are relative to the objective at zero, those of the other to the optimum.
        unit = optimum / (np.sum(data.y**2) / (2 * len(data.y)))
        return solved(sj.Problem(data.design, data.y, penalty=penalty), tol * unit)

    def pdhg(strength: float, tol: float) -> np.ndarray:
        del strength
        for w, bound in iterates(100_000):
            if objective(w) - bound <= tol * bound:
                return w.ravel()
        return w.ravel()

    solvers: dict[str, Solver] = {"sparsejax": ours, "NumPy PDHG": pdhg}
    return Case(name, {"λ = 0.1": data.strength}, 1e-5, error, solvers)


def _chambolle_pock(image: np.ndarray, strength: float, steps: int) -> Iterates:
    """Accelerated PDHG in NumPy (Chambolle & Pock 2011, algorithm 2): w and the dual's value."""
    size, limit = image.size, strength * image.size
    w = ahead = image
    down, right = np.zeros_like(image)[1:], np.zeros_like(image)[:, 1:]
    tau, sigma = 0.35, 0.35
    for count in range(1, steps + 1):
        down = np.clip(down + sigma * np.diff(ahead, axis=0), -limit, limit)
        right = np.clip(right + sigma * np.diff(ahead, axis=1), -limit, limit)
        pull = transposed_differences(down, right)
        new = (w - tau * pull + tau * image) / (1 + tau)
        theta = 1 / np.sqrt(1 + 2 * tau)
        tau, sigma = theta * tau, sigma / theta
        w, ahead = new, new + theta * (new - w)
        if count % 20 == 0:
            yield w, (np.vdot(pull, image) - np.sum(pull**2) / 2) / size


def variation(image: np.ndarray) -> float:
    """The sum of the jumps between neighbours."""
    return sum(np.abs(np.diff(image, axis=axis)).sum() for axis in (0, 1))


def transposed_differences(down: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Dᵀ of what belongs to the jumps."""
    pull = np.zeros((right.shape[0], down.shape[1]))
    pull[1:] += down
    pull[:-1] -= down
    pull[:, 1:] += right
    pull[:, :-1] -= right
    return pull
