"""How few measurements recover a sparse vector: ℓq, by several methods.

Gaussian measurements X w̄ = y of a vector of 256 entries, 40 of them Gaussian and the rest zero;
recovered where ‖w − w̄‖ < 1 % of ‖w̄‖. The trials of one number of measurements and one method are
one compiled call.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import sparsejax as sj
from bench.nonconvex.intervals import proportion

SIZE, SPIKES = 256, 40
MEASUREMENTS = tuple(range(60, 141, 10))
EXPONENTS = (2 / 3, 0.75, 0.9, 1.0)


class Method(NamedTuple):
    """A solver of min g(w) s.t. Xw = y, begun at zero or at several random points."""

    penalty: Callable[[], sj.penalties.AbstractPenalty]
    solver: sj.solvers.AbstractSolver
    tol: float = 1e-6
    restarts: int = 0


def _power(q: float) -> sj.penalties.AbstractPenalty:
    return sj.penalties.L1(1.0) if q == 1 else sj.penalties.Lq(1.0, q)


def methods(restarts: int) -> Mapping[str, Method]:
    """By name; those whose solver does not take the penalty are left out."""
    # Four stages, and ε a tenth of the size of the spikes: Candès, Wakin & Boyd (2008).
    reweighted = sj.solvers.MultiStage(4, inner=sj.solvers.VarPro())
    every = {"reweighted L1": Method(lambda: sj.penalties.LogSum(1.0, 0.1), reweighted)}
    for q in EXPONENTS:
        penalty = partial(_power, q)
        name = f"q={q:.3g}"
        every[f"IRLS {name}"] = Method(penalty, sj.solvers.IRLS())
        every[f"VarPro {name}"] = Method(penalty, sj.solvers.VarPro())
        if q == min(EXPONENTS) and restarts:  # where there are most minima to be caught in
            for solver in (sj.solvers.IRLS(), sj.solvers.VarPro()):
                label = f"{type(solver).__name__} {name}, {restarts} restarts"
                every[label] = Method(penalty, solver, restarts=restarts)
    return {name: method for name, method in every.items() if _is_taken(method)}


def _is_taken(method: Method) -> bool:
    problem = sj.Problem(np.eye(2, 4), np.ones(2), sj.losses.Equality(), method.penalty())
    try:
        method.solver.check(problem)
    except TypeError:
        return False
    return True


def draw(m: int, trials: int) -> tuple[Array, Array]:
    """X (trials, m, size) and w̄ (trials, size)."""
    rng = np.random.default_rng(m)
    X = rng.normal(size=(trials, m, SIZE)) / np.sqrt(m)
    w = np.zeros((trials, SIZE))
    for row in w:
        row[rng.choice(SIZE, SPIKES, replace=False)] = rng.normal(size=SPIKES)
    return jnp.array(X), jnp.array(w)


def recovered(method: Method, X: Array, w: Array) -> np.ndarray:
    """Whether each trial's vector was found."""
    starts = jax.random.normal(jax.random.key(0), (method.restarts + 1, X.shape[2]))
    starts = starts.at[0].set(0.0)  # first from where a solver begins by itself

    @jax.jit
    @jax.vmap
    def best(X: Array, w: Array) -> Array:
        problem = sj.Problem(X, X @ w, sj.losses.Equality(), method.penalty())

        def solve(start: Array) -> tuple[Array, Array]:
            found = sj.solve(problem, method.solver, method.tol, init=start, throw=False)
            value = jnp.where(jnp.isfinite(found.objective), found.objective, jnp.inf)
            return value, found.coef

        values, coefs = jax.vmap(solve)(starts)
        return coefs[jnp.argmin(values)]

    found = best(X, w)
    error = np.linalg.norm(found - w, axis=1) / np.linalg.norm(w, axis=1)
    return error < 0.01  # NaN is no recovery


def rows(measurements: tuple[int, ...], trials: int, restarts: int) -> Iterator[dict]:
    """One row a number of measurements and method."""
    for m in measurements:
        X, w = draw(m, trials)
        for name, method in methods(restarts).items():
            count = int(np.sum(recovered(method, X, w)))
            rate, low, high = proportion(count, trials)
            yield {
                "measurements": m,
                "method": name,
                "trials": trials,
                "rate": rate,
                "low": low,
                "high": high,
            }
