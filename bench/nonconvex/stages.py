"""Zhang's experiment: parameter error and support by stage of convex relaxation.

Rows of Gaussian features, y = Xw̄ + noise. All trials of a setting, all strengths and all stages of
one relaxation are one compiled call. The strength is chosen per stage, by the smallest mean error
over the trials ("grid": it knows w̄) or in each trial by fresh data of the same size ("held-out").
Top-k is told k.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import sparsejax as sj
from bench.nonconvex.intervals import bootstrap, mean, reduction

STAGES = 8
STRENGTHS = np.geomspace(0.1, 3.0, 12)  # times σ√(2 log d/n)
TOL = 1e-6
CLAIM = (0.35, 0.45)  # by which two stages cut the Lasso's error, in the pilot


class Setting(NamedTuple):
    name: str
    n: int
    d: int
    k: int
    noise: float
    low: float  # of the coefficients ...
    high: float
    signed: bool  # ... or of their sizes, with random signs

    @property
    def unit(self) -> float:
        """Of the strengths: about the largest pull of the noise."""
        return self.noise * np.sqrt(2 * np.log(self.d) / self.n)


SETTINGS = (
    Setting("n=25 d=100 k=5, w in [-10, 10]", 25, 100, 5, 1.0, -10.0, 10.0, False),
    Setting("n=100 d=250 k=10, w in [-10, 10]", 100, 250, 10, 1.0, -10.0, 10.0, False),
    Setting("n=100 d=500 k=5, w in [0, 1]", 100, 500, 5, 0.31, 0.0, 1.0, False),
    Setting("n=100 d=250 k=10, |w| in [2, 10]", 100, 250, 10, 1.0, 2.0, 10.0, True),
)

Data = tuple[Array, Array, Array]  # X, y, w̄
Stage = Callable[[Array, Array, Array, Array], sj.Solution]  # of X, y, strength, last


def draw(setting: Setting, trials: int, seed: int = 0) -> tuple[Data, Data]:
    """Training and held-out data of all trials."""
    rng = np.random.default_rng(seed)
    w = np.zeros((trials, setting.d))
    w[:, : setting.k] = rng.uniform(setting.low, setting.high, (trials, setting.k))
    if setting.signed:
        w[:, : setting.k] *= rng.choice([-1.0, 1.0], (trials, setting.k))

    def sample() -> Data:
        X = rng.normal(size=(trials, setting.n, setting.d))
        noise = setting.noise * rng.normal(size=(trials, setting.n))
        return jnp.array(X), jnp.array(np.einsum("tnd,td->tn", X, w) + noise), jnp.array(w)

    return sample(), sample()


def relaxations(setting: Setting) -> dict[str, Stage]:
    """One stage each; the first, from zero, is the Lasso."""

    def capped(X: Array, y: Array, strength: Array, last: Array) -> sj.Solution:
        problem = sj.Problem(X, y, penalty=sj.penalties.CappedL1(strength, 2 * strength))
        one = sj.solvers.MultiStage(1)
        return sj.solve(problem, one, tol=TOL, init=last, throw=False)

    def weighted(slope: Callable[[Array, Array], Array]) -> Stage:
        def stage(X: Array, y: Array, strength: Array, last: Array) -> sj.Solution:
            weights = jnp.where(jnp.any(last != 0), slope(jnp.abs(last), strength), 1.0)
            problem = sj.Problem(X, y, penalty=sj.penalties.L1(strength, weights=weights))
            return sj.solve(problem, tol=TOL, init=last, throw=False)

        return stage

    def root(size: Array, strength: Array) -> Array:
        return (1 + size / strength) ** -0.5  # of Lp with p = ½ and ε the strength, 1 at zero

    def largest(size: Array, strength: Array) -> Array:
        del strength
        return (size < jax.lax.top_k(size, setting.k)[0][-1]) * 1.0

    return {"capped-L1": capped, "Lp 1/2": weighted(root), "top-k": weighted(largest)}


@partial(jax.jit, static_argnames="stage")
def all_stages(stage: Stage, X: Array, y: Array, strengths: Array) -> tuple[Array, Array]:
    """Coefficients (trials, strengths, stages, d), and the gap of every stage."""

    def one(X: Array, y: Array, strength: Array) -> tuple[Array, Array]:
        def step(last: Array, _: None) -> tuple[Array, tuple[Array, Array]]:
            found = stage(X, y, strength, last)
            return found.coef, (found.coef, found.gap)

        return jax.lax.scan(step, jnp.zeros(X.shape[1]), length=STAGES)[1]

    many = jax.vmap(jax.vmap(one, (None, None, 0)), (0, 0, None))
    return many(X, y, strengths)


class Scores(NamedTuple):
    """By trial: ‖w − w̄‖ and whether the support is right, of every stage."""

    error: np.ndarray  # (stages, trials)
    support: np.ndarray


def scores(
    coefs: np.ndarray, truth: np.ndarray, held_out: Data, choice: str
) -> tuple[Scores, np.ndarray]:
    """Of the strengths chosen, and their indices (stages, trials)."""
    error = np.linalg.norm(coefs - truth[:, None, None], axis=-1)
    support = np.all((coefs != 0) == (truth != 0)[:, None, None], axis=-1)
    if choice == "grid":
        best = np.broadcast_to(error.mean(0).argmin(0), (len(truth), STAGES))
    else:
        X, y, _ = (np.asarray(part) for part in held_out)
        residual = y[:, None, None] - np.einsum("tnd,tsgd->tsgn", X, coefs)
        best = np.linalg.norm(residual, axis=-1).argmin(1)
    take = best[:, None]
    chosen = [np.take_along_axis(part, take, 1)[:, 0].T for part in (error, support)]
    return Scores(*chosen), best.T


def least_squares(data: Data, setting: Setting) -> np.ndarray:
    """The error of who knows the support."""
    X, y, w = (np.asarray(part) for part in data)
    fits = [np.linalg.lstsq(A[:, : setting.k], b)[0] for A, b in zip(X, y, strict=True)]
    return np.linalg.norm(np.array(fits) - w[:, : setting.k], axis=-1)


def rows(setting: Setting, trials: int) -> Iterator[dict]:
    """One row a relaxation, stage and choice of the strength; the oracle last."""
    train, held_out = draw(setting, trials)
    X, y, truth = train
    for name, stage in relaxations(setting).items():
        strengths = jnp.array(STRENGTHS * setting.unit)
        coefs, gaps = (np.asarray(part) for part in all_stages(stage, X, y, strengths))
        for choice in ("grid", "held-out"):
            found, best = scores(coefs, np.asarray(truth), held_out, choice)
            for index in range(STAGES):
                cut = bootstrap(reduction, found.error[0], found.error[index])
                before = found.error[min(3, index)]
                later = bootstrap(reduction, before, found.error[index])
                yield {
                    "setting": setting.name,
                    "choice": choice,
                    "relaxation": name,
                    "stage": index + 1,
                    **_triple("error", bootstrap(mean, found.error[index])),
                    **_triple("support", bootstrap(mean, found.support[index])),
                    **_triple("cut", cut),
                    **_triple("cut_since_4", later),
                    "strength": float(np.median(STRENGTHS[best[index]])),
                    "worst_gap": float(gaps[:, :, index].max()),
                }
    oracle = bootstrap(mean, least_squares(train, setting))
    yield {
        "setting": setting.name,
        "choice": "",
        "relaxation": "least squares on the support",
        "stage": 0,
        **_triple("error", oracle),
        **_triple("support", (1.0, 1.0, 1.0)),
    }


def _triple(name: str, values: tuple[float, float, float]) -> dict[str, float]:
    return dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))


def verdicts(rows: list[dict]) -> Iterator[str]:
    """What the claim says and what was found, a line a setting, choice and relaxation."""
    for row in rows:
        head = f"{row['setting']} | {row['choice']} | {row['relaxation']}"
        if row["stage"] == 2:
            yield f"{head}: two stages cut {_percent(row, 'cut')}; 35-45 %: {_verdict(row)}"
        if row["stage"] == STAGES:
            better = row["cut_since_4_low"] > 0.01
            said = "refuted" if better else "confirmed"
            gain = _percent(row, "cut_since_4")
            yield f"{head}: stages 5-{STAGES} cut {gain}; nothing after stage 4: {said}"


def _verdict(row: dict) -> str:
    """On the part by which two stages cut the error."""
    if row["cut_high"] < CLAIM[0]:
        return "refuted, less"
    if row["cut_low"] > CLAIM[1]:
        return "refuted, more"
    return "confirmed" if CLAIM[0] <= row["cut"] <= CLAIM[1] else "not decided"


def _percent(row: dict, name: str) -> str:
    value, low, high = (100 * row[name + end] for end in ("", "_low", "_high"))
    return f"{value:.1f} % [{low:.1f}, {high:.1f}]"
