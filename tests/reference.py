"""The mathematics once more, in plain NumPy: what the library is checked against.

Nothing here is shared with sparsejax but the parameters of its penalties. A new penalty registers
its value, its conjugate and a cvxpy expression here, and its cases in registry.py.
"""

import itertools
from functools import singledispatch

import numpy as np
import scipy.special as sp

from sparsejax import losses
from sparsejax.penalties import (
    L0,
    L1,
    MCP,
    SCAD,
    SLOPE,
    AbstractConcavePenalty,
    Analysis,
    Box,
    CappedL1,
    ElasticNet,
    FusedLasso,
    GroupL2,
    GroupLinf,
    KSupport,
    Linf,
    LogSum,
    Lq,
    Nuclear,
    RowL2,
    Schatten,
    Simplex,
    SparseGroup,
    TotalVariation,
    Weighted,
)


@singledispatch
def value(penalty, w):
    """g(w)."""
    raise NotImplementedError(type(penalty))


@singledispatch
def conjugate(penalty, c):
    """g*(c) = sup ⟨w, c⟩ − g(w); constraints may be missed by rounding, 1e-12 of a bound."""
    raise NotImplementedError(type(penalty))


@value.register
def _(penalty: AbstractConcavePenalty, w):
    return float(np.sum(concave_profile(penalty, np.abs(w))))


@singledispatch
def concave_profile(penalty, t):
    """h(t) for t ≥ 0, where g(w) = Σ h(|w_j|)."""
    raise NotImplementedError(type(penalty))


@concave_profile.register
def _(penalty: MCP, t):
    s, gamma = float(penalty.strength), float(penalty.gamma)
    return np.where(t <= gamma * s, s * t - t**2 / (2 * gamma), gamma * s**2 / 2)


@concave_profile.register
def _(penalty: SCAD, t):
    s, gamma = float(penalty.strength), float(penalty.gamma)
    parabola = (2 * gamma * s * t - t**2 - s**2) / (2 * (gamma - 1))
    return np.where(t <= s, s * t, np.where(t <= gamma * s, parabola, s**2 * (gamma + 1) / 2))


@concave_profile.register
def _(penalty: CappedL1, t):
    return float(penalty.strength) * np.minimum(t, float(penalty.threshold))


@concave_profile.register
def _(penalty: LogSum, t):
    epsilon = float(penalty.epsilon)
    return float(penalty.strength) * epsilon * (np.log(epsilon + t) - np.log(epsilon))


@concave_profile.register
def _(penalty: Lq, t):
    return float(penalty.strength) * t**penalty.q


@concave_profile.register
def _(penalty: L0, t):
    return float(penalty.strength) * (t > 0)


@concave_profile.register
def _(penalty: Weighted, t):
    return np.asarray(penalty.weights) * concave_profile(penalty.penalty, t)


@singledispatch
def cvxpy_terms(penalty, w):
    """(expression, constraints) of g for a cvxpy variable."""
    raise NotImplementedError(type(penalty))


@singledispatch
def dual_scales(penalty, c):
    """Factors s for which s·c is tried as a dual point; one at least is in the domain of g*."""
    raise NotImplementedError(type(penalty))


def free(penalty, p):
    """Features without any penalty: their dual constraint is an equality."""
    if isinstance(penalty, Box):
        low, high = np.broadcast_to(penalty.lower, p), np.broadcast_to(penalty.upper, p)
        return np.isinf(low) & np.isinf(high)
    if isinstance(penalty, L1):
        return np.broadcast_to((slopes(penalty) == 0) & (not penalty.nonnegative), p)
    if isinstance(penalty, ElasticNet):
        return np.full(p, float(penalty.strength) == 0 and not penalty.nonnegative)
    if isinstance(penalty, GroupL2 | SparseGroup):
        inner, outer = group_slopes(penalty)
        return ((outer == 0) & (inner == 0))[np.asarray(penalty.groups)]
    if isinstance(penalty, GroupLinf | RowL2) and penalty.weights is not None:
        weightless = np.asarray(penalty.weights) == 0
        return weightless[np.asarray(penalty.groups)] if hasattr(penalty, "groups") else weightless
    return np.zeros(p, bool)


def slopes(penalty):
    """strength·weights of an L1, infinite where a weight is."""
    if penalty.weights is None:
        return np.asarray(penalty.strength, float)
    weights = np.asarray(penalty.weights, float)
    finite = np.where(np.isinf(weights), 0, weights)
    return np.where(np.isinf(weights), np.inf, float(penalty.strength) * finite)


def group_slopes(penalty):
    """The slopes of |w_j| and of ‖w_g‖, the latter infinite where a weight is."""
    strength = float(penalty.strength)
    ratio = float(penalty.l1_ratio) if isinstance(penalty, SparseGroup) else 0.0
    weights = penalty.weights
    weights = np.sqrt(np.bincount(penalty.groups)) if weights is None else np.asarray(weights)
    finite = np.where(np.isinf(weights), 0, weights)
    return strength * ratio, np.where(np.isinf(weights), np.inf, strength * (1 - ratio) * finite)


def _members(penalty):
    groups = np.asarray(penalty.groups)
    return [np.flatnonzero(groups == g) for g in range(penalty.num_groups)]


@value.register
def _(penalty: L1, w):
    if penalty.nonnegative and np.any(w < 0):
        return np.inf
    size = np.broadcast_to(slopes(penalty), w.shape)
    return np.sum(size[w != 0] * np.abs(w[w != 0]))


@conjugate.register
def _(penalty: L1, c):
    size = slopes(penalty)
    pull = c if penalty.nonnegative else np.abs(c)
    return 0.0 if np.all(pull <= size * (1 + 1e-12) + 1e-15) else np.inf


@dual_scales.register
def _(penalty: L1, c):
    size = np.broadcast_to(slopes(penalty), c.shape)
    return (_shrink(c, size, penalty.nonnegative),)


def _shrink(c, size, nonnegative):
    """The largest s ≤ 1 with s·|c| ≤ size where there is a size at all."""
    pull = np.maximum(c, 0) if nonnegative else np.abs(c)
    limited = (pull > 0) & (size > 0) & np.isfinite(size)
    return 1 / max(1.0, np.max(pull[limited] / size[limited], initial=0.0))


@cvxpy_terms.register
def _(penalty: L1, w):
    import cvxpy as cp

    size = np.broadcast_to(slopes(penalty), w.shape)
    fixed = np.flatnonzero(np.isinf(size))
    constraints = [w[fixed] == 0] if fixed.size else []
    if penalty.nonnegative:
        constraints.append(w >= 0)
    return cp.sum(cp.multiply(np.where(np.isinf(size), 0, size), cp.abs(w))), constraints


def _parts(penalty):
    strength, ratio = float(penalty.strength), float(penalty.l1_ratio)
    return strength * ratio, strength * (1 - ratio)


@value.register
def _(penalty: ElasticNet, w):
    slope, ridge = _parts(penalty)
    if penalty.nonnegative and np.any(w < 0):
        return np.inf
    return slope * np.sum(np.abs(w)) + ridge / 2 * np.sum(w**2)


@conjugate.register
def _(penalty: ElasticNet, c):
    slope, ridge = _parts(penalty)
    excess = np.maximum((c if penalty.nonnegative else np.abs(c)) - slope, 0)
    if ridge == 0:
        return 0.0 if np.all(excess <= 1e-12 * slope + 1e-15) else np.inf
    return np.sum(excess**2) / (2 * ridge)


@dual_scales.register
def _(penalty: ElasticNet, c):
    slope, ridge = _parts(penalty)
    shrink = _shrink(c, np.full(c.shape, slope), penalty.nonnegative)
    return (1.0, shrink) if ridge > 0 else (shrink,)


@cvxpy_terms.register
def _(penalty: ElasticNet, w):
    import cvxpy as cp

    slope, ridge = _parts(penalty)
    constraints = [w >= 0] if penalty.nonnegative else []
    return slope * cp.norm1(w) + ridge / 2 * cp.sum_squares(w), constraints


@value.register
def _(penalty: Box, w):
    low, high = np.asarray(penalty.lower), np.asarray(penalty.upper)
    return 0.0 if np.all((w >= low) & (w <= high)) else np.inf


@dual_scales.register
def _(penalty: Box, c):
    bounded = np.all(np.isfinite(penalty.lower)) and np.all(np.isfinite(penalty.upper))
    return (1.0,) if bounded else (1.0, 0.0)


@conjugate.register
def _(penalty: Box, c):
    low, high = np.broadcast_to(penalty.lower, c.shape), np.broadcast_to(penalty.upper, c.shape)
    active = np.where(c > 0, high, low)
    infinite = np.isinf(active)
    if np.any(np.abs(c[infinite]) > 1e-12):
        return np.inf
    return np.sum(active[~infinite] * c[~infinite])


@cvxpy_terms.register
def _(penalty: Box, w):
    low, high = np.broadcast_to(penalty.lower, w.shape), np.broadcast_to(penalty.upper, w.shape)
    below, above = np.flatnonzero(np.isfinite(low)), np.flatnonzero(np.isfinite(high))
    constraints = [w[below] >= low[below]] if below.size else []
    constraints += [w[above] <= high[above]] if above.size else []
    return 0, constraints


@value.register
def _(penalty: SLOPE, w):
    return np.sort(np.abs(w))[::-1] @ np.asarray(penalty.strengths, float)


@value.register
def _(penalty: TotalVariation, w):
    return float(penalty.strength) * np.sum(np.abs(np.diff(w)))


@value.register
def _(penalty: FusedLasso, w):
    strength, ratio = float(penalty.strength), float(penalty.l1_ratio)
    return strength * (ratio * np.sum(np.abs(w)) + (1 - ratio) * np.sum(np.abs(np.diff(w))))


@value.register
def _(penalty: Linf, w):
    return float(penalty.strength) * np.max(np.abs(w))


@value.register
def _(penalty: GroupLinf, w):
    groups = np.asarray(penalty.groups)
    norms = np.array([np.max(np.abs(w[groups == g])) for g in range(penalty.num_groups)])
    size = np.broadcast_to(slopes(penalty), norms.shape)
    return np.sum(size[norms > 0] * norms[norms > 0])


@value.register(GroupL2)
@value.register(SparseGroup)
def _(penalty, w):
    inner, outer = group_slopes(penalty)
    norms = np.array([np.linalg.norm(w[block]) for block in _members(penalty)])
    return inner * np.sum(np.abs(w)) + np.sum(outer[norms > 0] * norms[norms > 0])


@value.register
def _(penalty: RowL2, w):
    norms = np.linalg.norm(w.reshape(len(w), -1), axis=1)
    size = np.broadcast_to(slopes(penalty), norms.shape)
    return np.sum(size[norms > 0] * norms[norms > 0])


def _changes(penalty, w):
    """(D w)_g for every group g of an Analysis penalty."""
    change = np.asarray(penalty.operator.all_columns()).T @ w
    labels = np.arange(change.shape[0]) if penalty.groups is None else np.asarray(penalty.groups)
    return [change[labels == g] for g in range(labels.max() + 1)]


@value.register
def _(penalty: Analysis, w):
    return float(penalty.strength) * sum(np.linalg.norm(part) for part in _changes(penalty, w))


@cvxpy_terms.register
def _(penalty: Analysis, w):
    import cvxpy as cp

    return float(penalty.strength) * sum(cp.norm(part) for part in _changes(penalty, w)), []


@value.register
def _(penalty: Nuclear, w):
    return float(penalty.strength) * np.linalg.norm(w.reshape(len(w), -1), "nuc")


@value.register
def _(penalty: Schatten, w):
    sizes = np.linalg.svd(w.reshape(len(w), -1), compute_uv=False)
    return float(penalty.strength) * np.sum(sizes ** float(penalty.q))


@value.register
def _(penalty: KSupport, w):
    """strength·√(min Σ w²/θ over 0 < θ ≤ 1 with Σθ ≤ k): the best of all θ = min(1, |w|/level).

    McDonald, Pontil & Stamos (2016); levels are the finitely many of which one is optimal.
    """
    size, best = np.sort(np.abs(w))[::-1], np.inf
    for j in range(penalty.k):
        level = size[j:].sum() / (penalty.k - j)
        share = np.minimum(1.0, size / level) if level > 0 else (size > 0) * 1.0
        if share.sum() <= penalty.k * (1 + 1e-12):
            best = min(best, np.sum(size[size > 0] ** 2 / share[size > 0]))
    return float(penalty.strength) * np.sqrt(best)


@value.register
def _(penalty: Simplex, w):
    radius = float(penalty.radius)
    return 0.0 if np.all(w >= 0) and abs(np.sum(w) - radius) <= 1e-13 * radius else np.inf


@conjugate.register(SLOPE)
@conjugate.register(TotalVariation)
@conjugate.register(FusedLasso)
@conjugate.register(Linf)
@conjugate.register(GroupLinf)
def _(penalty, c):
    """The unit balls of these have their corners on multiples of sign vectors, few for small p."""
    corners = np.array(list(itertools.product((-1.0, 0.0, 1.0), repeat=len(c))))
    bounds = np.array([value(penalty, corner) for corner in corners])
    return 0.0 if np.all(corners @ c <= bounds * (1 + 1e-12) + 1e-14 * len(c)) else np.inf


@conjugate.register(GroupL2)
@conjugate.register(SparseGroup)
def _(penalty, c):
    """‖soft(c_g, inner)‖ ≤ outer_g: what an ℓ∞ ball and a Euclidean one add up to."""
    inner, outer = group_slopes(penalty)
    soft = np.maximum(np.abs(c) - inner, 0)
    norms = np.array([np.linalg.norm(soft[block]) for block in _members(penalty)])
    return 0.0 if np.all(norms <= outer + 1e-12 * (inner + outer) + 1e-14) else np.inf


@conjugate.register
def _(penalty: RowL2, c):
    norms = np.linalg.norm(c.reshape(len(c), -1), axis=1)
    return 0.0 if np.all(norms <= slopes(penalty) * (1 + 1e-12) + 1e-15) else np.inf


@conjugate.register
def _(penalty: Nuclear, c):
    norm = np.linalg.norm(c.reshape(len(c), -1), 2)
    return 0.0 if norm <= float(penalty.strength) * (1 + 1e-12) + 1e-15 else np.inf


@conjugate.register
def _(penalty: Schatten, c):
    """Σ sup_x γx − strength·x^q, at the x where the slopes agree."""
    strength, q = float(penalty.strength), float(penalty.q)
    duals = np.linalg.svd(c.reshape(len(c), -1), compute_uv=False)
    x = (duals / (strength * q)) ** (1 / (q - 1))
    return np.sum(duals * x - strength * x**q)


@conjugate.register
def _(penalty: KSupport, c):
    norm = np.linalg.norm(np.sort(np.abs(c))[-penalty.k :])
    return 0.0 if norm <= float(penalty.strength) * (1 + 1e-12) + 1e-15 else np.inf


@conjugate.register
def _(penalty: Simplex, c):
    return float(penalty.radius) * np.max(c)


@cvxpy_terms.register
def _(penalty: SLOPE, w):
    import cvxpy as cp

    # Σ strengths_i |w|_(i) = Σ_k (strengths_k − strengths_{k+1}) · (sum of the k largest |w|).
    drops = -np.diff(np.asarray(penalty.strengths, float), append=0.0)
    return sum(d * cp.sum_largest(cp.abs(w), k + 1) for k, d in enumerate(drops)), []


@cvxpy_terms.register
def _(penalty: TotalVariation, w):
    import cvxpy as cp

    return float(penalty.strength) * cp.norm1(cp.diff(w)), []


@cvxpy_terms.register
def _(penalty: FusedLasso, w):
    import cvxpy as cp

    strength, ratio = float(penalty.strength), float(penalty.l1_ratio)
    return strength * (ratio * cp.norm1(w) + (1 - ratio) * cp.norm1(cp.diff(w))), []


@cvxpy_terms.register
def _(penalty: Linf, w):
    import cvxpy as cp

    return float(penalty.strength) * cp.norm_inf(w), []


def _block_terms(size, blocks, norm):
    size = np.broadcast_to(size, len(blocks))
    fixed = [block == 0 for block, slope in zip(blocks, size, strict=True) if np.isinf(slope)]
    free_to_move = [(b, slope) for b, slope in zip(blocks, size, strict=True) if np.isfinite(slope)]
    return sum(slope * norm(block) for block, slope in free_to_move), fixed


@cvxpy_terms.register
def _(penalty: GroupLinf, w):
    import cvxpy as cp

    blocks = [w[block] for block in _members(penalty)]
    return _block_terms(slopes(penalty), blocks, cp.norm_inf)


@cvxpy_terms.register(GroupL2)
@cvxpy_terms.register(SparseGroup)
def _(penalty, w):
    import cvxpy as cp

    inner, outer = group_slopes(penalty)
    term, fixed = _block_terms(outer, [w[block] for block in _members(penalty)], cp.norm2)
    return inner * cp.norm1(w) + term, fixed


@cvxpy_terms.register
def _(penalty: RowL2, w):
    import cvxpy as cp

    return _block_terms(slopes(penalty), [w[j] for j in range(w.shape[0])], cp.norm2)


@cvxpy_terms.register
def _(penalty: Nuclear, w):
    import cvxpy as cp

    norm = cp.norm2(w) if len(w.shape) == 1 else cp.normNuc(w)
    return float(penalty.strength) * norm, []


@cvxpy_terms.register
def _(penalty: Schatten, w):
    import cvxpy as cp

    assert len(w.shape) == 1  # a vector is one task
    return float(penalty.strength) * cp.power(cp.norm2(w), float(penalty.q)), []


@cvxpy_terms.register
def _(penalty: KSupport, w):
    """The definition: the least Σ ‖part‖ over parts with k non-zeros that add up to w."""
    import cvxpy as cp

    subsets = list(itertools.combinations(range(w.shape[0]), penalty.k))
    parts = cp.Variable((len(subsets), penalty.k))
    places = np.zeros((w.shape[0], parts.size))
    places[np.ravel(subsets), np.arange(parts.size)] = 1.0
    whole = places @ cp.vec(parts, order="C")
    return float(penalty.strength) * cp.sum(cp.norm(parts, 2, axis=1)), [whole == w]


@cvxpy_terms.register
def _(penalty: Simplex, w):
    import cvxpy as cp

    return 0, [w >= 0, cp.sum(w) == float(penalty.radius)]


def row_weights(y, sample_weight=None):
    """The weights of the samples in the loss, of sum one."""
    weights = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, float)
    return weights / weights.sum()


@singledispatch
def unit_loss(loss, z, y):
    """φ(z, y) of a loss that is a weighted sum of these."""
    raise NotImplementedError(type(loss))


@unit_loss.register
def _(loss: losses.Squared, z, y):
    return (y - z) ** 2 / 2


@unit_loss.register
def _(loss: losses.Huber, z, y):
    return sp.huber(float(loss.delta), y - z)


@unit_loss.register
def _(loss: losses.Logistic, z, y):
    return np.logaddexp(0, -y * z)


@unit_loss.register
def _(loss: losses.Poisson, z, y):
    return np.exp(z) - y * z


@unit_loss.register
def _(loss: losses.Gamma, z, y):
    return z + y / np.exp(z)


@unit_loss.register
def _(loss: losses.SquaredHinge, z, y):
    return np.maximum(0, 1 - y * z) ** 2


@unit_loss.register
def _(loss: losses.Hinge, z, y):
    return np.maximum(0, 1 - y * z)


@unit_loss.register
def _(loss: losses.Quantile, z, y):
    level = float(loss.level)
    return np.where(y > z, level * (y - z), (1 - level) * (z - y))


@unit_loss.register
def _(loss: losses.Multinomial, z, y):
    return sp.logsumexp(z, axis=1) - np.sum(y * z, axis=1)


@singledispatch
def loss_value(loss, z, y):
    """f(z) of a loss, with its sample weights."""
    terms = unit_loss(loss, z, y)
    terms = terms.sum(axis=1) if terms.ndim == 2 else terms  # several targets
    return np.sum(row_weights(y, loss.sample_weight) * terms)


@loss_value.register
def _(loss: losses.SquareRoot, z, y):
    return np.sqrt(np.sum(row_weights(y, loss.sample_weight) @ (y - z) ** 2))


@loss_value.register
def _(loss: losses.Equality, z, y):
    used = row_weights(y, loss.sample_weight) > 0
    return 0.0 if np.all(z[used] == y[used]) else np.inf


@loss_value.register
def _(loss: losses.Cox, z, y):
    """Times one by one, and the tied events at each one by one."""
    h = row_weights(y, loss.sample_weight)
    time, event = y[:, 0], (y[:, 1] == 1) & (h > 0)
    rate = np.exp(z) * h * np.sum(h > 0)
    result = 0.0
    for t in np.unique(time[event]):
        tied = np.flatnonzero(event & (time == t))
        for rank, i in enumerate(tied):
            if loss.ties == "efron":
                total = rate[time >= t].sum() - rank / len(tied) * rate[tied].sum()
                result += h[tied].mean() * np.log(total) - h[i] * z[i]
            else:
                result += h[i] * (np.log(rate[time >= t].sum()) - z[i])
    return result


def objective(X, y, penalty, w, intercept=0.0, sample_weight=None):
    """Σ h (y − Xw − b)²/2 + g(w)."""
    residual = y - X @ w - intercept
    return np.sum(row_weights(y, sample_weight) * residual**2) / 2 + value(penalty, w)


def gap(X, y, penalty, w, sample_weight=None, fit_intercept=False):
    """Primal minus dual objective, relative to the loss at zero, in extended precision.

    The dual of min f(Xw) + g(w) is max −f*(u) − g*(−Xᵀu); u is the gradient of the loss, made
    orthogonal to the intercept and to unpenalised features and shrunk into the domain of g*.
    """
    h = row_weights(y, sample_weight).astype(np.longdouble)
    X, y, w = (np.asarray(a, np.longdouble) for a in (X, y, w))
    if fit_intercept:
        X, y = X - h @ X, y - h @ y
    used = h > 0
    X, y, h = X[used], y[used], h[used]
    u = h * (X @ w - y)
    is_free = free(penalty, X.shape[1])
    if is_free.any():
        # Twice, because a float64 projection leaves a remainder of 1e-16.
        block = np.asarray(X[:, is_free], float)
        for _ in range(2):
            u = u - h * (
                block
                @ np.linalg.lstsq(
                    np.sqrt(h.astype(float))[:, None] * block, (u / np.sqrt(h)).astype(float)
                )[0]
            )
    c = -(X.T @ u)
    c[is_free] = 0

    def dual(s):
        return -np.sum((s * u) ** 2 / (2 * h) + s * u * y) - conjugate(penalty, s * c)

    best = max(dual(np.longdouble(scale)) for scale in dual_scales(penalty, c))
    primal = np.sum(h * (y - X @ w) ** 2) / 2 + value(penalty, w)
    zero = np.sum(h * y**2) / 2
    return float((primal - best) / (zero if zero > 0 else 1.0))


def optimum(X, y, penalty, sample_weight=None, fit_intercept=False):
    """The optimal value by an interior-point method (Clarabel through cvxpy)."""
    import cvxpy as cp

    w, b = cp.Variable(X.shape[1]), cp.Variable()
    root = np.sqrt(row_weights(y, sample_weight))
    fitted = X @ w + (b if fit_intercept else 0)
    term, constraints = cvxpy_terms(penalty, w)
    loss = cp.sum_squares(cp.multiply(root, y - fitted)) / 2
    problem = cp.Problem(cp.Minimize(loss + term), constraints)
    problem.solve(cp.CLARABEL, tol_gap_abs=1e-12, tol_gap_rel=1e-12, tol_feas=1e-12, max_iter=500)
    assert problem.status == cp.OPTIMAL, problem.status
    return problem.value


@singledispatch
def cvxpy_unit_loss(loss, z, y):
    """φ(z, y) of every sample for a cvxpy expression z."""
    raise NotImplementedError(type(loss))


@cvxpy_unit_loss.register
def _(loss: losses.Quantile, z, y):
    import cvxpy as cp

    level = float(loss.level)
    return level * cp.pos(y - z) + (1 - level) * cp.pos(z - y)


@cvxpy_unit_loss.register
def _(loss: losses.Squared, z, y):
    import cvxpy as cp

    return cp.square(y - z) / 2


@cvxpy_unit_loss.register
def _(loss: losses.Huber, z, y):
    import cvxpy as cp

    return cp.huber(y - z, float(loss.delta)) / 2


@cvxpy_unit_loss.register
def _(loss: losses.Logistic, z, y):
    import cvxpy as cp

    return cp.logistic(cp.multiply(-y, z))


@cvxpy_unit_loss.register
def _(loss: losses.Poisson, z, y):
    import cvxpy as cp

    return cp.exp(z) - cp.multiply(y, z)


@cvxpy_unit_loss.register
def _(loss: losses.Gamma, z, y):
    import cvxpy as cp

    return z + cp.multiply(y, cp.exp(-z))


@cvxpy_unit_loss.register
def _(loss: losses.SquaredHinge, z, y):
    import cvxpy as cp

    return cp.square(cp.pos(1 - cp.multiply(y, z)))


@cvxpy_unit_loss.register
def _(loss: losses.Hinge, z, y):
    import cvxpy as cp

    return cp.pos(1 - cp.multiply(y, z))


@cvxpy_unit_loss.register
def _(loss: losses.Multinomial, z, y):
    import cvxpy as cp

    return cp.log_sum_exp(z, axis=1) - cp.sum(cp.multiply(y, z), axis=1)


@singledispatch
def cvxpy_loss(loss, z, y):
    """(expression, constraints) of f for a cvxpy expression z."""
    import cvxpy as cp

    terms = cvxpy_unit_loss(loss, z, y)
    terms = cp.sum(terms, axis=1) if terms.ndim == 2 else terms  # several targets
    return row_weights(y, loss.sample_weight) @ terms, []


@cvxpy_loss.register
def _(loss: losses.SquareRoot, z, y):
    import cvxpy as cp

    roots = np.sqrt(row_weights(y, loss.sample_weight))
    return cp.norm(cp.vec(np.diag(roots) @ (y - z), order="C")), []


@cvxpy_loss.register
def _(loss: losses.Equality, z, y):
    used = np.flatnonzero(row_weights(y, loss.sample_weight) > 0)
    return 0, [z[used] == y[used]]


@cvxpy_loss.register
def _(loss: losses.Cox, z, y):
    """Every event counts the rates at risk, and by Efron less of those tied with it."""
    import cvxpy as cp

    h = row_weights(y, loss.sample_weight)
    time, event = y[:, 0], (y[:, 1] == 1) & (h > 0)
    rates, result = z + np.log(h * np.sum(h > 0)), 0
    for t in np.unique(time[event]):
        tied, at_risk = np.flatnonzero(event & (time == t)), np.flatnonzero(time >= t)
        for rank, i in enumerate(tied):
            share, weight = np.ones(len(at_risk)), h[i]
            if loss.ties == "efron":
                share[np.isin(at_risk, tied)] -= rank / len(tied)
                weight = h[tied].mean()
            result += weight * cp.log_sum_exp(rates[at_risk] + np.log(share)) - h[i] * z[i]
    return result, []


def optimum_of(X, problem):
    """The optimal value of any problem, (n, p) its design, by an interior-point method."""
    import cvxpy as cp

    y = np.asarray(problem.y)
    w = cp.Variable(problem.coef_shape)
    z = X @ w
    if problem.fit_intercept:
        b = cp.Variable(problem.coef_shape[1:])
        z = z + (b if len(problem.coef_shape) == 1 else np.ones((len(y), 1)) @ b[None])
    if problem.offset is not None:
        z = z + np.asarray(problem.offset)
    term, constraints = cvxpy_terms(problem.penalty, w)
    cost, equations = cvxpy_loss(problem.loss, z, y)
    program = cp.Problem(cp.Minimize(cost + term), constraints + equations)
    # Shorter steps than usual, with which it fails on exponential cones now and then.
    # Penalties alone may be small, and cones of norms allow more digits.
    tol = 1e-10 if isinstance(problem.loss, losses.Equality) else 1e-8
    tolerances = dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), tol)
    program.solve(cp.CLARABEL, max_step_fraction=0.9, **tolerances)
    assert program.status == cp.OPTIMAL, program.status
    return program.value
