"""Pruning of linear layers after training, against NumPy restatements."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import ElasticNet

from sparsejax import nn
from sparsejax.nn._methods import METHODS
from sparsejax.nn._sds import _redense

pytestmark = pytest.mark.usefixtures("float64")

PATTERNS = [nn.NM(2, 4), nn.NM(4, 8), nn.NM(1, 4), nn.Unstructured(0.5), nn.Unstructured(0.7)]


def _layer(rng, out, width, dead=True):
    """A weight, correlated inputs of unequal scale (samples, in), some of them always zero."""
    W = rng.normal(size=(out, width))
    X = rng.normal(size=(3 * width, width)) @ rng.normal(size=(width, width)) / np.sqrt(width)
    X = (X + rng.normal(size=X.shape)) * np.exp(rng.normal(size=width))
    if dead:
        X[:, [0, 5, width - 1]] = 0
    return W, X


def _lowest(scores, count):
    """Along the last axis, where the ``count`` lowest are, the first among equals."""
    order = np.argsort(scores, axis=-1, kind="stable")[..., :count]
    dropped = np.zeros(scores.shape, bool)
    np.put_along_axis(dropped, order, True, axis=-1)
    return dropped


def _wanda_by_hand(W, norms, pattern):
    scores = np.abs(W) * norms
    if isinstance(pattern, nn.NM):
        groups = scores.reshape(len(W), -1, pattern.of)
        dropped = _lowest(groups, pattern.of - pattern.keep).reshape(W.shape)
    else:
        dropped = _lowest(scores, int(W.shape[1] * pattern.sparsity))
    return np.where(dropped, 0, W)


def _sparsegpt_by_hand(W, X, pattern):
    """Algorithm 1 of Frantar & Alistarh, column by column in double precision."""
    W, width = W.copy(), W.shape[1]
    H = 2 / len(X) * X.T @ X
    dead = np.diag(H) == 0
    H[dead, dead] = 1
    W[:, dead] = 0
    H += 0.01 * np.mean(np.diag(H)) * np.eye(width)
    U = np.linalg.cholesky(np.linalg.inv(H)).T
    dropped = np.zeros(W.shape, bool)
    for first in range(0, width, 128):
        last = min(first + 128, width)
        errors = np.zeros((len(W), last - first))
        for c in range(first, last):
            if isinstance(pattern, nn.NM) and c % pattern.of == 0:
                group = slice(c, c + pattern.of)
                scores = W[:, group] ** 2 / np.diag(U)[group] ** 2
                dropped[:, group] = _lowest(scores, pattern.of - pattern.keep)
            if isinstance(pattern, nn.Unstructured) and c == first:
                scores = W[:, first:last] ** 2 / np.diag(U)[first:last] ** 2
                count = int(scores.size * pattern.sparsity)
                dropped[:, first:last] = _lowest(scores.ravel(), count).reshape(scores.shape)
            new = np.where(dropped[:, c], 0, W[:, c])
            errors[:, c - first] = (W[:, c] - new) / U[c, c]
            W[:, c:last] -= np.outer(errors[:, c - first], U[c, c:last])
            W[:, c] = new
        W[:, last:] -= errors @ U[first:last, last:]
    return W


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_wanda_is_its_restatement(rng, pattern):
    W, X = _layer(rng, 24, 40)
    norms = np.linalg.norm(X, axis=0)
    weight, mask = nn.wanda(W, norms, pattern)
    np.testing.assert_allclose(weight, _wanda_by_hand(W, norms, pattern), rtol=1e-12)
    np.testing.assert_array_equal(weight, np.where(mask, W, 0))


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_sparsegpt_is_its_restatement(rng, pattern):
    """Over two blocks of columns, the second narrower, with dead inputs."""
    W, X = _layer(rng, 24, 200)
    expected = _sparsegpt_by_hand(W, X, pattern)
    weight, mask = nn.sparsegpt(W, 2 / len(X) * X.T @ X, pattern)
    np.testing.assert_allclose(weight, expected, rtol=1e-5, atol=1e-5)
    assert np.all(np.asarray(weight)[~np.asarray(mask)] == 0)
    assert np.all(np.asarray(weight)[:, [0, 5, 199]] == 0)
    if isinstance(pattern, nn.NM):
        counts = np.asarray(mask).reshape(24, -1, pattern.of).sum(axis=2)
        assert np.all(counts == pattern.keep)
    else:
        dropped = sum(int(pattern.sparsity * 24 * width) for width in (128, 72))
        assert np.sum(~np.asarray(mask)) == dropped


@pytest.mark.parametrize("pattern", [nn.NM(2, 4), nn.Unstructured(0.5)], ids=str)
def test_single_precision(rng, pattern):
    """The same to 1e-5 of the largest weight, where no score is a tie."""
    W, X = _layer(rng, 16, 64)
    H = (2 / len(X) * X.T @ X).astype(np.float32)
    weight, _ = nn.sparsegpt(W.astype(np.float32), H, pattern)
    assert weight.dtype == jnp.float32
    expected = _sparsegpt_by_hand(W, X, pattern)
    np.testing.assert_allclose(weight, expected, atol=1e-5 * np.abs(expected).max())
    low, _ = nn.sparsegpt(jnp.asarray(W, jnp.bfloat16), H, pattern)
    assert low.dtype == jnp.bfloat16


def test_blocks_of_weights(rng):
    W, X = _layer(rng, 8, 136)
    _, mask = nn.sparsegpt(W, X.T @ X, nn.Block((2, 8), 0.5))
    blocks = np.asarray(mask).reshape(4, 2, 17, 8).mean(axis=(1, 3))
    assert set(np.unique(blocks)) == {0, 1}
    assert np.sum(blocks == 0) == 32 + 2  # half of 4·16 blocks in 128 columns, of 4 in the rest


@pytest.mark.parametrize("damping", [0.0, 0.1])
def test_refit_is_least_squares_of_every_row(rng, damping):
    W, X = _layer(rng, 12, 40, dead=False)
    mask = rng.random(W.shape) < np.linspace(0, 1, 12)[:, None]  # from empty to full rows
    H = X.T @ X / 7
    root = np.sqrt(damping * np.mean(np.diag(H)))
    A = np.concatenate([X / np.sqrt(7), root * np.eye(40)])
    expected, others = np.zeros((2, *W.shape))
    for i, row in enumerate(mask):
        expected[i, row] = np.linalg.lstsq(A[:, row], A @ W[i])[0]
    np.testing.assert_allclose(nn.refit(W, mask, H, damping), expected, rtol=1e-6, atol=1e-9)
    dense = rng.normal(size=X.shape)  # the dense model's inputs, in the place of X
    for i, row in enumerate(mask):
        targets = np.concatenate([dense @ W[i] / np.sqrt(7), root * W[i]])
        others[i, row] = np.linalg.lstsq(A[:, row], targets)[0]
    found = nn.refit(W, mask, H, damping, cross=W @ dense.T @ X / 7)
    np.testing.assert_allclose(found, others, rtol=1e-6, atol=1e-9)
    traced = jax.jit(nn.refit)(W, mask, H, damping)
    np.testing.assert_allclose(traced, expected, rtol=1e-6, atol=1e-9)
    single = nn.refit(*(np.asarray(x, np.float32) for x in (W,)), mask, np.float32(H), damping)
    np.testing.assert_allclose(single, expected, atol=2e-3 * np.abs(expected).max())


def test_refit_with_fewer_data_than_inputs(rng):
    """Whatever the weights, the outputs are as near as they can be; dead inputs get no weight."""
    W, X = rng.normal(size=(6, 40)), rng.normal(size=(15, 40))
    X[:, 3] = 0
    mask = rng.random(W.shape) < 0.25
    mask[:, 3] = True
    H = X.T @ X
    weight = np.asarray(nn.refit(W, mask, H))
    assert np.all(weight[~mask] == 0)
    np.testing.assert_allclose(weight[:, 3], 0, atol=1e-12)
    for i, row in enumerate(mask):
        best = np.linalg.lstsq(X[:, row], X @ W[i])[0]
        error = np.linalg.norm(X @ (weight[i] - W[i])) ** 2
        least = np.linalg.norm(X[:, row] @ best - X @ W[i]) ** 2
        assert error <= least + 1e-9 * np.linalg.norm(X @ W[i]) ** 2
    full = nn.refit(W, np.ones_like(mask), H)  # singular
    np.testing.assert_allclose(X @ full.T, X @ W.T, atol=1e-5)


def test_statistics_are_the_same_in_any_chunks(rng):
    X = rng.normal(size=(30, 4, 8))
    seen = nn.InputStatistics.zeros(8, X.dtype)
    for chunk in np.split(X, [3, 10, 11]):
        seen = seen.update(chunk)
    flat = X.reshape(-1, 8)
    np.testing.assert_allclose(seen.gram, flat.T @ flat, rtol=1e-12)
    np.testing.assert_allclose(seen.norms, np.linalg.norm(flat, axis=0), rtol=1e-12)
    assert seen.count == 120
    low = nn.InputStatistics.zeros(8, jnp.bfloat16).update(jnp.asarray(X, jnp.bfloat16))
    assert low.gram.dtype == jnp.float32


def test_the_dense_step_is_an_elastic_net(rng):
    """Of every row, as scikit-learn has it: a suboptimality of the gap it stops at."""
    V, X = rng.normal(size=(4, 20)), rng.normal(size=(50, 20)) @ rng.normal(size=(20, 20))
    X /= np.sqrt(np.mean(X**2, axis=0))
    unit, l1, l2 = X.T @ X / 50, 0.2, 0.1
    slope = l1 * np.mean(np.abs(V))
    found = _redense(*map(jnp.asarray, (V, np.zeros_like(V), V @ unit, unit, l1, l2)))
    for row, dense in zip(np.asarray(found), V, strict=True):
        model = ElasticNet(
            slope + l2, l1_ratio=slope / (slope + l2), fit_intercept=False, tol=1e-10
        )
        best = model.fit(X, X @ dense).coef_

        def objective(v, dense=dense):
            loss = (v - dense) @ unit @ (v - dense) / 2
            return loss + slope * np.abs(v).sum() + l2 / 2 * v @ v

        assert 0 <= objective(row) - objective(best) + 1e-9 <= 1e-3 * objective(0 * row)


def test_sds_loses_less_than_sparsegpt(rng):
    """On the calibration data always; refitting its mask is its bound."""
    W, X = _layer(rng, 16, 64)
    H = X.T @ X
    for pattern in (nn.NM(2, 4), nn.Unstructured(0.6)):
        weight, mask = nn.sds(W, H, pattern)
        assert np.all(np.asarray(weight)[~np.asarray(mask)] == 0)
        if isinstance(pattern, nn.NM):
            assert np.all(np.asarray(mask).reshape(16, -1, 4).sum(axis=2) == 2)
        error = nn.output_error(weight, W, H)
        assert nn.output_error(nn.refit(W, mask, H), W, H) <= error * (1 + 1e-6)
        assert error < nn.output_error(nn.sparsegpt(W, H, pattern)[0], W, H)
        scaled = nn.sds(W, 100 * H, pattern)[0]  # dead inputs have no scale of their own
        np.testing.assert_allclose(nn.output_error(scaled, W, H), error, rtol=0.05)


def test_sds_with_dense_targets_on_sparse_inputs(rng):
    """KD: the outputs come nearer to the dense model's than with targets on the same inputs."""
    W, dense = _layer(rng, 16, 64, dead=False)
    X = dense + 0.7 * rng.normal(size=dense.shape) * dense.std(axis=0)
    seen = nn.InputStatistics.zeros(64, X.dtype, paired=True).update(X, dense)
    # The same matrices for both ways to call it: what it returns jumps with rounding.
    H, cross = seen.gram, jnp.asarray(W) @ seen.cross
    np.testing.assert_allclose(H, X.T @ X, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(cross, W @ dense.T @ X, rtol=1e-10, atol=1e-10)
    pattern = nn.NM(2, 4)
    same = nn.sds(W, H, pattern, cross=W @ H)[0]
    np.testing.assert_allclose(same, nn.sds(W, H, pattern)[0], rtol=1e-6, atol=1e-9)
    distance = lambda weight: np.linalg.norm(np.asarray(weight) @ X.T - W @ dense.T)  # noqa: E731
    weight = nn.sds(W, H, pattern, cross=cross)[0]
    assert distance(weight) < 0.97 * distance(same)
    np.testing.assert_allclose(METHODS["sds"](W, seen, pattern)[0], weight, atol=1e-7)


def test_output_error_is_its_definition(rng):
    W, X = _layer(rng, 5, 12)
    other = W + rng.normal(size=W.shape)
    expected = np.sum(((other - W) @ X.T) ** 2) / np.sum((W @ X.T) ** 2)
    np.testing.assert_allclose(nn.output_error(other, W, X.T @ X), expected, rtol=1e-10)
    assert nn.output_error(W, 0 * W, X.T @ X) == 0


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda W, H: nn.sparsegpt(W, H, "2:4"), TypeError, "`pattern`"),
        (lambda W, H: nn.sparsegpt(W, H, nn.NM(2, 3)), ValueError, "`W`: NM"),
        (lambda W, H: nn.sparsegpt(W, H, nn.Channel(0.5)), TypeError, "Channel"),
        (lambda W, H: nn.sparsegpt(W, H[:4, :4], nn.NM(2, 4)), ValueError, "`H`"),
        (lambda W, H: nn.sparsegpt(W, H * np.nan, nn.NM(2, 4)), ValueError, "`H`.*NaN"),
        (lambda W, H: nn.sparsegpt(W + np.inf, H, nn.NM(2, 4)), ValueError, "`W`.*infinity"),
        (lambda W, H: nn.sparsegpt(W[0], H, nn.NM(2, 4)), ValueError, "`W`"),
        (lambda W, H: nn.wanda(W, H[0, :4], nn.NM(2, 4)), ValueError, "`norms`"),
        (lambda W, H: nn.wanda(W, H, nn.NM(2, 4)), ValueError, "`norms`"),
        (lambda W, H: nn.sds(W, H, nn.NM(2, 4), cross=W.T), ValueError, "`cross`"),
        (lambda W, H: nn.sds(W, H, nn.NM(2, 4), l1=-1.0), ValueError, "`l1`"),
        (lambda W, H: nn.sds(W, H, nn.NM(2, 4), steps=0.5), ValueError, "`steps`"),
        (lambda W, H: nn.sds(W, H, nn.Channel(0.5)), TypeError, "Channel"),
        (lambda W, H: nn.refit(W, W[:1] > 0, H), ValueError, "`mask`"),
        (lambda W, H: nn.refit(W, W, H), ValueError, "`mask` must be boolean"),
        (lambda W, H: nn.refit(W, W > 0, H, -1.0), ValueError, "`damping`"),
        (lambda W, H: nn.refit(W, W > 0, H, cross=W[:1]), ValueError, "`cross`"),
        (lambda W, H: nn.InputStatistics.zeros(8).update(W[:, :4]), ValueError, "`inputs`"),
        (lambda W, H: nn.InputStatistics.zeros(8).update(W, W), ValueError, "`dense`"),
        (
            lambda W, H: nn.InputStatistics.zeros(8, paired=True).update(W, W[:1]),
            ValueError,
            "`dense`.*as many",
        ),
    ],
)
def test_bad_input(call, error, match):
    W = np.arange(16.0).reshape(2, 8)
    with pytest.raises(error, match=match):
        call(W, np.eye(8))
