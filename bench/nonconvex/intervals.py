"""95 % intervals over trials."""

from collections.abc import Callable

import numpy as np

RESAMPLES = 2000


def bootstrap(
    statistic: Callable[..., np.ndarray], *samples: np.ndarray
) -> tuple[float, float, float]:
    """A statistic of samples that share their trials (the last axis), and its interval.

    The same trials are drawn for all samples, so that differences and ratios are paired.
    """
    size = samples[0].shape[-1]
    drawn = np.random.default_rng(0).integers(size, size=(RESAMPLES, size))
    values = statistic(*(sample[drawn] for sample in samples))
    low, high = np.quantile(values, [0.025, 0.975])
    return float(statistic(*(sample[None] for sample in samples))[0]), float(low), float(high)


def mean(sample: np.ndarray) -> np.ndarray:
    return sample.mean(-1)


def reduction(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """By which part the mean has fallen."""
    return 1 - after.mean(-1) / before.mean(-1)


def proportion(successes: int, trials: int) -> tuple[float, float, float]:
    """Wilson's interval, which knows that none of a hundred is not never."""
    z, rate = 1.96, successes / trials
    centre = (rate + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * np.sqrt(rate * (1 - rate) / trials + z**2 / (4 * trials**2))
    return rate, max(0.0, centre - half), min(1.0, centre + half)
