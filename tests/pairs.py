"""Every loss and every penalty, with data that suit them: what the tests of pairs draw from."""

import jax.numpy as jnp
import numpy as np
from registry import LOSSES

import sparsejax as sj
from sparsejax import penalties

N, P, TASKS = 25, 12, 3
GROUPS = np.array([0, 3, 1, 0, 2, 0, 3, 1, 0, 2, 0, 1])  # of sizes 5, 3, 2, 2
SQRT = np.sqrt(np.bincount(GROUPS))
GRID = (3, 4)

PENALTIES = {
    "l1": penalties.L1,
    "elastic-net": lambda s: penalties.ElasticNet(s, 0.6),
    "group-l2": lambda s: penalties.GroupL2(s, GROUPS, SQRT),
    "sparse-group": lambda s: penalties.SparseGroup(s, GROUPS, 0.4),
    "overlapping": lambda s: penalties.OverlappingGroups(
        s, [[0, 1, 2], [2, 3, 4, 5], [5, 6, 7], [8, 9, 10, 11]], None, P
    ),
    "group-linf": lambda s: penalties.GroupLinf(s, GROUPS),
    "linf": penalties.Linf,
    "slope": lambda s: penalties.SLOPE(s * np.linspace(1.0, 0.2, P)),
    "k-support": lambda s: penalties.KSupport(s, 3),
    "total-variation": penalties.TotalVariation,
    "fused-lasso": lambda s: penalties.FusedLasso(s, 0.4),
    "analysis": lambda s: penalties.Analysis(s, penalties.difference_operator(GRID)),
    "isotropic": lambda s: penalties.Analysis(
        s, penalties.difference_operator(GRID), penalties.difference_groups(GRID)
    ),
    "row-l2": penalties.RowL2,
    "nuclear": penalties.Nuclear,
    "schatten": lambda s: penalties.Schatten(s, 1.5),
    "box": lambda s: penalties.Box(-s, 2 * s),
    "simplex": lambda s: penalties.Simplex(10 * s),
}
# The penalties of several targets that cvxpy can state.
OF_MATRICES = ("l1", "elastic-net", "row-l2", "nuclear")


def _targets(name, rng, z):
    """Targets whose mean depends on the predictions z."""
    noise = rng.normal(size=z.shape)
    if name in ("logistic", "squared-hinge", "hinge"):
        return np.where(z + noise > 0, 1.0, -1.0)
    if name == "poisson":
        return rng.poisson(np.exp(z / 2)).astype(float)
    if name == "gamma":
        return rng.gamma(2.0, np.exp(z / 2) / 2)
    if name.startswith("cox"):
        times = np.ceil(5 * rng.exponential(np.exp(-z / 2)))  # with ties
        return np.column_stack([times, rng.random(N) < 0.7])
    if name == "multinomial":
        return np.eye(TASKS)[np.argmax(z + noise, axis=1)]
    return z + noise + 0.5


def data(name, seed, shape=()):
    """X, y, sample weights and an offset."""
    rng = np.random.default_rng(seed)
    X, w = rng.normal(size=(N, P)), np.zeros((P, *shape))
    w[GROUPS == 0] = rng.normal(size=(5, *shape))
    y = _targets(name, rng, X @ w)
    drawn = X, y, rng.uniform(0.5, 2.0, N), 0.3 * rng.normal(size=(N, *shape))
    return tuple(a[: P // 2] for a in drawn) if name == "equality" else drawn


def problem(loss, penalty, intercept, data, strength):
    X, y, weights, offset = data
    made = PENALTIES[penalty](jnp.asarray(strength))
    return sj.Problem(X, y, LOSSES[loss][0](weights), made, intercept, offset)
