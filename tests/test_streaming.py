"""Tables in chunks: the same problems, solutions and certificates as of the whole table."""

import numpy as np
import pytest
import scipy.sparse
from pages import blocks
from sklearn.linear_model import ElasticNet, Lasso

import sparsejax as sj

pytestmark = pytest.mark.usefixtures("float64")
N, P = 90, 7


@pytest.fixture
def table(rng):
    X = rng.normal(size=(N, P)) * 10.0 ** np.linspace(-1, 1, P) + np.linspace(-5, 50, P)
    return X, X @ (np.array([2, -1, 1, 0, 0.5, 0, 0]) / X.std(axis=0)) + rng.normal(size=N)


def cut(X, y, rows=32):
    return [(X[i : i + rows], y[i : i + rows]) for i in range(0, len(X), rows)]


def test_page_on_devices(table, tmp_path, monkeypatch):
    """Its example, on files."""
    monkeypatch.chdir(tmp_path)
    X, y = table
    np.save("X.npy", X)
    np.save("y.npy", y)
    page = {"sj": sj}
    exec(blocks("devices.md")[2], page)
    reference = Lasso(0.1, tol=1e-14, max_iter=10**6).fit(X, y)
    np.testing.assert_allclose(page["solution"].coef, reference.coef_, atol=1e-8)
    assert page["moments"].shape == (N, P)
    assert (tmp_path / "state.npz").exists()


def fit(problem):
    return sj.solve(problem, tol=1e-13)


def test_lasso_is_scikit_learns(table):
    """With an intercept, of columns far from zero and of different sizes."""
    X, y = table
    moments = sj.streaming.accumulate(cut(X, y))
    whole = sj.Problem(X, y, penalty=sj.penalties.L1(0.1), fit_intercept=True)
    problem = moments.problem(sj.penalties.L1(0.1), fit_intercept=True)
    solution = fit(problem)
    model = Lasso(0.1, tol=1e-14, max_iter=10**6).fit(X, y)
    np.testing.assert_allclose(solution.coef, model.coef_, atol=1e-10)
    np.testing.assert_allclose(solution.intercept, model.intercept_, atol=1e-9)
    assert 0 < np.count_nonzero(solution.coef) < P
    # The certificate is that of all samples, at the solution and far from it.
    assert sj.duality_gap(whole, solution.coef) < 1e-12
    far = 0.9 * solution.coef
    gaps = sj.duality_gap(problem, far), sj.duality_gap(whole, far)
    assert gaps[1] > 1e-4
    np.testing.assert_allclose(*gaps, rtol=1e-10)
    # Strengths are tuned on it too: same shapes, so nothing is compiled again.
    net = ElasticNet(0.5, l1_ratio=0.3, tol=1e-14, max_iter=10**6).fit(X, y)
    problem = moments.problem(sj.penalties.ElasticNet(0.5, 0.3), fit_intercept=True)
    np.testing.assert_allclose(fit(problem).coef, net.coef_, atol=1e-10)


@pytest.mark.parametrize("tasks", [None, 2])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_objectives_are_those_of_the_table(table, rng, tasks, fit_intercept):
    """Of any coefficients, so that every solution and derivative is the same as well."""
    X, y = table
    y = y if tasks is None else np.column_stack([y, rng.normal(size=N)])
    moments = sj.streaming.accumulate(cut(X, y))
    assert moments.shape == (N, P)
    w = rng.normal(size=(P, *y.shape[1:])) / X.std(axis=0).reshape(-1, *[1] * (y.ndim - 1))
    b = 3.0 if fit_intercept else 0.0
    penalty = sj.penalties.L1(0.2)
    losses = [sj.losses.Squared()] if tasks else [sj.losses.Squared(), sj.losses.SquareRoot()]
    for loss in losses:
        whole = sj.Problem(X, y, loss, penalty, fit_intercept)
        problem = moments.problem(penalty, loss, fit_intercept)
        assert problem.fit_intercept == fit_intercept
        values = [float(sj.objective(one, w, b)) for one in (whole, problem)]
        np.testing.assert_allclose(values[1], values[0], rtol=1e-12)


def test_moments_are_numpys(table):
    X, y = table
    moments = sj.streaming.accumulate(cut(X, y))
    np.testing.assert_allclose(moments.mean, X.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(moments.scale, X.std(axis=0), rtol=1e-10)
    few, targets = moments.samples()
    assert few.shape == (P + 2, P)
    both, whole = np.column_stack([few, targets]), np.column_stack([X, y])
    np.testing.assert_allclose(both.mean(axis=0), whole.mean(axis=0), rtol=1e-10)
    products = [table.T @ table / len(table) for table in (both, whole)]
    size = np.sqrt(np.diagonal(products[1]))
    np.testing.assert_allclose(*(G / size / size[:, None] for G in products), atol=1e-13)


def test_digits_that_a_gram_matrix_loses(rng):
    """Columns that agree in ten digits, in float64 even where JAX's precision is single."""
    X = rng.normal(size=(60, 3))
    X[:, 2] = X[:, 1] + 1e-10 * X[:, 2]
    y = X[:, 1] + rng.normal(size=60)
    few, targets = sj.streaming.accumulate(cut(X, y, 25)).samples()
    errors = [np.linalg.lstsq(*data, rcond=0)[0] for data in ((X, y), (few, targets))]
    np.testing.assert_allclose(errors[1], errors[0], rtol=1e-4)
    assert np.linalg.matrix_rank(X.T @ X, tol=1e-13) < 3


def test_fewer_rows_than_features(rng):
    X, y = rng.normal(size=(4, 6)), rng.normal(size=4)
    few, targets = sj.streaming.accumulate(cut(X, y, 3)).samples()
    np.testing.assert_allclose(few.T @ few / len(few), X.T @ X / 4, atol=1e-14)
    np.testing.assert_allclose(few.T @ targets / len(few), X.T @ y / 4, atol=1e-14)


def test_resumes_to_the_same_bits(table, tmp_path):
    def interrupted(chunks):
        yield from chunks[:2]
        raise KeyboardInterrupt

    X, y = table
    chunks = cut(X, y, 20)
    state = tmp_path / "state.npz"
    with pytest.raises(KeyboardInterrupt):
        sj.streaming.accumulate(interrupted(chunks), state)
    # Those done are not even looked at again.
    seen = [(np.full_like(X, np.nan), y) for X, y in chunks[:2]]
    resumed = sj.streaming.accumulate(seen + chunks[2:], state)
    whole = sj.streaming.accumulate(chunks)
    assert resumed.num_samples == whole.num_samples == N
    assert resumed.factor.tobytes() == whole.factor.tobytes()
    assert sj.streaming.accumulate(chunks, state).factor.tobytes() == whole.factor.tobytes()
    with pytest.raises(ValueError, match=r"chunk 0 has 30 rows, but had 20"):
        sj.streaming.accumulate(cut(X, y, 30), state)
    with pytest.raises(ValueError, match=r"ended after 1, but .*state.npz has 5"):
        sj.streaming.accumulate(chunks[:1], state)


def test_state_is_replaced_as_a_whole(table, tmp_path, monkeypatch):
    chunks, state = cut(*table), tmp_path / "state.npz"
    sj.streaming.accumulate(chunks[:1], state)
    before = state.read_bytes()

    def full(*arrays, **more):
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", full)
        with pytest.raises(OSError, match="No space"):
            sj.streaming.accumulate(chunks, state)
    assert state.read_bytes() == before
    for content in (before[:100], b"", b"text"):
        state.write_bytes(content)
        with pytest.raises(ValueError, match=r"`state` .* was not written by accumulate"):
            sj.streaming.accumulate(chunks, state)


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda X, y: (X[:, 1:], y), ValueError, "has 6 features and one target, but .* 7"),
        (lambda X, y: (X, y[:, None]), ValueError, "1 columns of targets, but .* one target"),
        (lambda X, y: (np.where(X[5, 2] == X, np.nan, X), y), ValueError, "row 5, column 2 of X"),
        (lambda X, y: (X, np.where(y == y[3], np.inf, y)), ValueError, "row 3, y"),
        (lambda X, y: (X, y[1:]), ValueError, r"\(32, 7\) and \(31,\)"),
        (lambda X, y: (X[:0], y[:0]), ValueError, "not empty"),
        (lambda X, y: (X[0], y[0]), ValueError, r"shapes \(7,\) and \(\)"),
        (lambda X, y: X, TypeError, "must be a pair"),
        (lambda X, y: (X.astype(str), y), TypeError, "must be numbers"),
        (lambda X, y: (scipy.sparse.csr_array(X), y), TypeError, "a dense array"),
    ],
)
def test_bad_chunks_are_named(table, tmp_path, spoil, error, message):
    """And those before them are kept."""
    chunks, state = cut(*table), tmp_path / "state.npz"
    with pytest.raises(error, match=rf"chunk 1 .*{message}"):
        sj.streaming.accumulate([chunks[0], spoil(*chunks[1]), chunks[2]], state)
    assert sj.streaming.accumulate(chunks[:1], state).num_samples == 32


def test_bad_arguments(table):
    with pytest.raises(ValueError, match="`chunks` must not be empty"):
        sj.streaming.accumulate([])
    moments = sj.streaming.accumulate(cut(*table))
    with pytest.raises(TypeError, match=r"Squared, SquareRoot or Equality.*got Huber"):
        moments.problem(sj.penalties.L1(0.1), sj.losses.Huber())
    with pytest.raises(ValueError, match="no sample weights"):
        moments.problem(sj.penalties.L1(0.1), sj.losses.Squared(np.ones(N)))


def test_npy_files_are_read_in_chunks(table, tmp_path):
    X, y = table
    np.save(tmp_path / "X.npy", X.astype(np.float32))
    np.save(tmp_path / "y.npy", y)
    files = tmp_path / "X.npy", tmp_path / "y.npy"
    chunks = list(sj.streaming.npy_chunks(*files, rows=40))
    assert [len(targets) for _, targets in chunks] == [40, 40, 10]
    assert isinstance(chunks[0][0], np.memmap)
    from_files = sj.streaming.accumulate(chunks)
    in_memory = sj.streaming.accumulate(cut(X.astype(np.float32), y, 40))
    np.testing.assert_array_equal(from_files.factor, in_memory.factor)
    with pytest.raises(ValueError, match="a target for each of its rows"):
        sj.streaming.npy_chunks(files[1], files[0])
    with pytest.raises(ValueError, match="`rows` must be at least 1"):
        sj.streaming.npy_chunks(*files, rows=0)


def test_parquet_files_are_read_in_chunks(table, tmp_path):
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    X, y = table
    columns = {f"x{j}": X[:, j] for j in range(P)} | {"price": y, "id": np.arange(N)}
    file = tmp_path / "data.parquet"
    parquet.write_table(pa.table(columns), file)
    chunks = sj.streaming.parquet_chunks(file, "price", drop=["id"], rows=40)
    moments = sj.streaming.accumulate(chunks)
    np.testing.assert_array_equal(moments.factor, sj.streaming.accumulate(cut(X, y, 40)).factor)
    with pytest.raises(ValueError, match="has no column 'cost'"):
        sj.streaming.parquet_chunks(file, "cost")
    with pytest.raises(ValueError, match="no column left beside 'price'"):
        sj.streaming.parquet_chunks(file, "price", drop=[*columns][:-2] + ["id"])
    columns["x1"] = pa.array([None, *X[1:, 1]])
    parquet.write_table(pa.table(columns), file)
    with pytest.raises(ValueError, match=r"chunk 0 contains NaN .* row 0, column 1 of X"):
        sj.streaming.accumulate(sj.streaming.parquet_chunks(file, "price"))
