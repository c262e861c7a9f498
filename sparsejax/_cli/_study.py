"""The analysis behind the commands: path, choice of strength, certified fit, timings."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import sparsejax as sj

from ._errors import SolveError
from ._folds import stratified_folds
from ._tables import Table

_NUM_STRENGTHS = 100
_PATH_TOL = 1e-6


@dataclass(frozen=True)
class Settings:
    """What to fit and how precisely; `alpha` None means: choose the strength."""

    tol: float
    penalty: str = "l1"
    l1_ratio: float = 0.5
    alpha: float | None = None
    folds: int = 5
    standardise: bool = True

    @classmethod
    def for_precision(cls, float32: bool) -> "Settings":
        """Ask for what the number format can certify."""
        return cls(tol=1e-6 if float32 else 1e-12)

    def make_penalty(self, strength: Any) -> sj.penalties.AbstractPenalty:
        """Build the penalty at a strength."""
        if self.penalty == "l1":
            return sj.penalties.L1(strength)
        return sj.penalties.ElasticNet(strength, self.l1_ratio)


class Timing(NamedTuple):
    """Seconds of a step's first call, compilation included, and of a second one."""

    label: str
    first: float
    warm: float | None


class Choice(NamedTuple):
    """A strength and the held-out mean squared error it gives."""

    label: str
    strength: float
    error: float
    num_features: int


@dataclass(frozen=True)
class Study:
    """Everything that is reported."""

    table: Table
    settings: Settings
    strength: float
    strength_max: float
    path: Any
    errors: np.ndarray | None
    choices: tuple[Choice, ...]
    fit: sj.Solution
    coef: np.ndarray
    scaled_coef: np.ndarray
    intercept: float
    traces: dict[str, tuple[list[float], list[float]]]
    timings: tuple[Timing, ...]

    def selected(self) -> np.ndarray:
        """Indices of the selected features, the largest standardised coefficient first."""
        order = np.argsort(-np.abs(self.scaled_coef), kind="stable")
        return order[self.scaled_coef[order] != 0]


class Clock:
    """Times calls twice: once with compilation, once without."""

    def __init__(self) -> None:
        self.timings: list[Timing] = []

    def __call__(self, label: str, function: Callable[[], Any]) -> Any:
        first, _ = seconds(function)
        warm, result = seconds(function)
        self.timings.append(Timing(label, first, warm))
        return result


def seconds(function: Callable[[], Any]) -> tuple[float, Any]:
    """Wall time of a call whose results are waited for, and its value."""
    start = time.perf_counter()
    result = jax.block_until_ready(function())
    return time.perf_counter() - start, result
