"""What test_devices.py runs in processes of its own: prints what was found, as JSON.

``python -m tests.sharded devices [CASES]`` on 8 devices that XLA_FLAGS makes of one CPU;
``python -m tests.sharded process`` in a folder with X.npy and y.npy, as one of two processes that
JAX finds by itself. Both run the blocks of docs/devices.md as they stand there.
"""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.multihost_utils import process_allgather
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import sparsejax as sj
from bench import communication
from tests import pages

N, P_FEATURES = 40, 48
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, P_FEATURES))
Y = X[:, :5] @ np.array([2.0, -1.0, 1.0, 0.5, -2.0]) + 0.1 * RNG.normal(size=N)
LABELS = np.where(Y > 0, 1.0, -1.0)
AUTO, EXPLICIT = AxisType.Auto, AxisType.Explicit


def problem(X, y, loss="Squared", strength=0.1, penalty=None, **more):
    penalty = sj.penalties.L1(strength) if penalty is None else penalty
    return sj.Problem(X, y, getattr(sj.losses, loss)(**more), penalty, fit_intercept=True)


def solved(solver=None, tol=1e-10, **kinds):
    """Coefficients and intercept, by a solver."""

    def fit(X, y):
        solution = sj.solve(problem(X, y, **kinds), solver=solver, tol=tol)
        return jnp.append(solution.coef, solution.intercept)

    return fit


def path(X, y):
    return sj.path(problem(X, y), num=3, ratio=0.1, tol=1e-10).coefs


def slope(X, y):
    """How the loss, which knows X, y and the coefficients, changes with the strength and X."""

    def loss(strength, X):
        fitted = problem(X, y, strength=strength)
        solution = sj.solve(fitted, sj.solvers.FISTA(), tol=1e-15)
        return fitted.loss.value(fitted.predict(solution.coef, solution.intercept), y)

    by_strength, by_design = jax.grad(loss, argnums=(0, 1))(0.1, jnp.asarray(X))
    return jnp.append(by_design, by_strength)


def standardised(X, y):
    return sj.solve(problem(sj.designs.standardise(X), y), tol=1e-10).coef


GROUPS = np.arange(P_FEATURES) // 4
LASSO = solved(sj.solvers.FISTA(), tol=1e-15)  # the one of which programs compile fastest
FITS = {
    "Auto": solved(),
    "FISTA": LASSO,
    "CoordinateDescent": solved(sj.solvers.CoordinateDescent(), tol=1e-15),
    "ProxNewton": solved(sj.solvers.ProxNewton(), loss="Logistic", strength=0.02),
    "path": path,
    "slope": slope,
    "standardised": standardised,
    "VarPro": solved(sj.solvers.VarPro()),
    "groups": lambda *data: solved(penalty=sj.penalties.GroupL2(0.05, GROUPS))(*data),
    "PrimalDual": solved(sj.solvers.PrimalDual(), loss="SquareRoot", tol=1e-12),
}
AXES = {
    "features": ((8,), P(None, "x"), P()),
    "samples": ((8,), P("x"), P("x")),
    "both": ((2, 4), P("x", "y"), P("x")),
}
# Every solver and every axis, not every pair: each is a program to compile. (The example of
# docs/devices.md is the default over features.)
QUICK = ("FISTA both", "Auto samples", "padded samples", "slope samples")
SAME = ("Auto", "FISTA", "CoordinateDescent", "VarPro")  # solutions of one and the same problem


def placed(axes, kind, X, y):
    shape, of_design, of_targets = AXES[axes]
    mesh = jax.make_mesh(shape, ("x", "y")[: len(shape)], axis_types=(kind,) * len(shape))
    place = lambda x, spec: jax.device_put(x, NamedSharding(mesh, spec))  # noqa: E731
    return place(X, of_design), place(y, of_targets)


def padded(X, y, axes):
    """38 samples and 44 features on 8 devices: zero rows of no weight and zero columns."""
    X, y = X[:38, :44], y[:38]
    weights = np.append(np.ones(38), np.zeros(2))
    wide = np.pad(X, ((0, 2), (0, 4)))
    sharded = placed(axes, AUTO, wide, np.append(y, [0.0, 0.0]))
    solver = sj.solvers.FISTA()
    found = solved(solver, tol=1e-15, sample_weight=weights)(*sharded)
    return np.delete(found, range(44, 48)), LASSO(X, y)


def on_devices(cases):
    """The largest difference to one device, for every case, and what is to be an error."""
    found, lasso = {}, LASSO(X, Y)
    for i, case in enumerate(cases):
        name, axes = case.split()
        y = LABELS if name == "ProxNewton" else Y
        if name == "padded":
            sharded, single = padded(X, y, axes)
        else:
            # The kind that jax.make_mesh makes by default, and the one that the compiler prefers
            # (and that a traced design must have).
            kind = AUTO if name == "slope" else (EXPLICIT, AUTO)[i % 2]
            sharded = FITS[name](*placed(axes, kind, X, y))
            single = lasso if name in SAME else FITS[name](X, y)
        found[case] = float(np.max(np.abs(np.asarray(sharded) - np.asarray(single))))
    design, targets = placed("features", EXPLICIT, X, Y)
    found["place"] = str(problem(design, targets).X.features.sharding.spec)  # of the transpose
    page = {"X": X, "y": Y}
    exec(pages.blocks("devices.md")[0], page)
    found["documented"] = float(np.max(np.abs(np.asarray(page["solution"].coef) - lasso[:-1])))
    found["traced"] = _error(lambda: jax.jit(solved())(design, targets))
    found["nan"] = _error(lambda: problem(placed("samples", AUTO, X * np.nan, Y)[0], Y))
    program = communication.compiled("FISTA", "features", 8, N, P_FEATURES)
    found["bytes"] = [loop.most.payload for loop in communication.loops_of(program)]
    found["uneven"] = _error(lambda: placed("features", AUTO, X[:, :-1], Y))
    return found


def in_process():
    """The same over two processes, each of which brings its own half of the samples."""
    page = {}
    exec(pages.blocks("devices.md")[1], page)

    def place(x):
        return jax.make_array_from_process_local_data(page["rows"], x[page["mine"]])

    sharded = process_allgather(LASSO(page["X"], page["y"]), tiled=True)
    found = {"FISTA": float(np.max(np.abs(sharded - LASSO(X, Y))))}
    found["labels"] = _error(lambda: problem(place(X), place(Y), loss="Logistic"))
    found["nan"] = _error(lambda: problem(place(X * np.nan), place(Y)))
    return found


def _error(attempt):
    try:
        attempt()
    except (TypeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return "none"


if __name__ == "__main__":
    if sys.argv[1] == "devices":
        print(json.dumps(on_devices(sys.argv[2:] or QUICK)))
    else:
        print(json.dumps(in_process()))
