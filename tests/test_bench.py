"""The bench's judge, protocol and report, and a run of its smallest cell."""

import csv
import math
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import scipy.sparse
import scipy.stats

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # bench is a folder of the repository, not an installed package

from bench import designs, gap, measure, processes, report  # noqa: E402

linear_model = pytest.importorskip("sklearn.linear_model")


@pytest.fixture(scope="module")
def tiny():
    return designs.build("tiny")


@pytest.mark.parametrize("ratio", [1.5, 4.0, 30.0])
@pytest.mark.parametrize("tol", [1e-2, 1e-8])
def test_gap_is_scikit_learns(tiny, ratio, tol):
    _, X, y = tiny
    strength = gap.strength_max(X, y) / ratio
    model = linear_model.Lasso(strength, fit_intercept=False, tol=tol, max_iter=100_000).fit(X, y)
    verdict = gap.judge(X, y, model.coef_, strength)
    at_zero = y @ y / (2 * len(y))
    np.testing.assert_allclose(verdict.gap, model.dual_gap_ / at_zero, rtol=1e-6, atol=1e-14)
    residual = y - X @ model.coef_
    objective = residual @ residual / (2 * len(y)) + strength * np.abs(model.coef_).sum()
    np.testing.assert_allclose(verdict.objective, objective / at_zero, rtol=1e-12)
    assert verdict.nnz == np.count_nonzero(model.coef_)


def test_gap_bounds_suboptimality_of_any_point(tiny):
    _, X, y = tiny
    strength = gap.strength_max(X, y) / 10
    best = linear_model.Lasso(strength, fit_intercept=False, tol=1e-14, max_iter=10**6).fit(X, y)
    optimum = gap.judge(X, y, best.coef_, strength).objective
    rng = np.random.default_rng(1)
    for scale in (1e-6, 1e-2, 1.0):
        verdict = gap.judge(X, y, best.coef_ + scale * rng.normal(size=X.shape[1]), strength)
        assert verdict.gap >= verdict.objective - optimum - 1e-13


def test_gap_without_cancellation_at_an_exact_solution():
    X, y, strength = np.eye(4), np.array([4.0, -2.0, 0.1, 0.0]), 0.3
    exact = np.sign(y) * np.maximum(np.abs(y) - 4 * strength, 0)
    assert gap.judge(X, y, exact, strength).gap < 1e-16
    assert gap.judge(scipy.sparse.csc_array(X), y, exact, strength).gap < 1e-16
    assert gap.judge(X, y, np.zeros(4), gap.strength_max(X, y)).gap < 1e-16
    assert gap.judge(X, y, np.full(4, np.nan), strength).gap == np.inf


def test_scan_stops_at_the_target_and_settings_take_the_fastest():
    def run(tol: float, budget: float) -> measure.Trial:
        return measure.Trial(tol, -math.log10(tol), tol, 1 + tol, 1, None)

    trials, note = measure.scan(run, 10.0)
    assert note == ""
    assert [trial.tol for trial in trials] == [10.0**-k for k in range(2, 11)]
    chosen = measure.settings({"fake": trials}, (1e-4, 1e-10))
    assert chosen["fake", 1e-4, "gap"].tol == 1e-4
    timings = measure.repeat_interleaved({"fake": run}, chosen, repeats=3, budget=100.0)
    assert timings["fake", 1e-10, "gap"] == measure.Timing(10.0, 1e-10, 1e-10, 3)


def test_scan_names_what_ended_it():
    def slow(tol: float, budget: float) -> measure.Trial:
        raise processes.OutOfTime("fake: no answer within 1 s")

    assert measure.scan(slow, 1.0) == ([], "fake: no answer within 1 s")
    assert measure.settings({"fake": []}, (1e-4,)) == {}


def test_objective_criterion_forgives_a_poor_dual_point():
    poor = measure.Trial(1e-2, 1.0, gap=1e-3, objective=1 + 1e-8, nnz=1, claimed=None)
    tight = measure.Trial(1e-2, 2.0, gap=1e-12, objective=1.0, nnz=1, claimed=None)
    chosen = measure.settings({"poor": [poor], "tight": [tight]}, (1e-6,))
    assert ("poor", 1e-6, "gap") not in chosen
    assert chosen["poor", 1e-6, "objective"] is poor


@pytest.mark.slow
def test_worker_out_of_time_is_ended_and_started_again(tiny, tmp_path):
    designs.save(tiny, tmp_path)
    strength = gap.strength_max(tiny.X, tiny.y) / 5
    worker = processes.Worker("sklearn", tmp_path, {"strength": strength, "tol": 1e-3})
    try:
        assert worker.start()["first_call_seconds"] > 0
        with pytest.raises(processes.OutOfTime):
            worker.fit(strength, 1e-8, budget=0.0)
        coef, answer = worker.fit(strength, 1e-12, budget=60.0)
        with pytest.raises(processes.SolverError, match="sklearn"):
            worker.fit(-1.0, 1e-8, budget=60.0)
    finally:
        worker.stop()
    assert gap.judge(tiny.X, tiny.y, coef, strength).gap < 1e-10
    assert answer["seconds"] < 1


def test_summary_counts_only_cells_that_both_reach():
    def row(solver: str, ratio: float, seconds: float) -> dict[str, str]:
        cell = {"design": "x", "ratio": str(ratio), "target": "1e-10"}
        return cell | {"solver": solver, "seconds": str(seconds)}

    rows = [
        *(row("sparsejax", 2, 1.0), row("celer", 2, 2.0), row("skglm", 2, 0.5)),
        *(row("sparsejax", 10, 1.0), row("celer", 10, math.nan)),
    ]
    lines = report.summary(rows, "seconds", "by gap").splitlines()
    celer = next(line for line in lines if "/ celer " in line)
    assert "0.50  (1; 0.50 on x λmax/2)" in celer
    assert "2.00  (1; 2.00 on x λmax/2)" in next(line for line in lines if "best of" in line)


def test_unknown_design_names_the_choices():
    with pytest.raises(ValueError, match="golub"):
        designs.build("nonsense")


def test_the_command_on_the_smallest_design(tmp_path):
    command = [sys.executable, "-m", "bench.lasso", "--cells", "tiny:2,20", "--no-path"]
    command += ["--solvers", "sparsejax", "sklearn", "--repeats", "1", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert "false claims of convergence: 0" in done.stdout
    with open(tmp_path / "lasso.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 2 * 3  # ratios, solvers, targets
    for row in rows:
        assert float(row["gap"]) <= float(row["target"])
        assert float(row["seconds"]) > 0
    for name in ("lasso_trials.csv", "lasso_process.csv", "lasso.json", "convergence_tiny.png"):
        assert (tmp_path / name).stat().st_size > 0


def test_structures_are_judged_and_timed():
    """A solver that reaches the target, one that cannot, and one that is not installed."""
    from bench.structures.__main__ import cell
    from bench.structures.case import Case

    def missing(strength, tol):
        raise ImportError("no such package")

    solvers = {
        "good": lambda strength, tol: np.array([strength + tol / 2]),
        "poor": lambda strength, tol: np.array([strength + 1.0]),
        "missing": missing,
    }
    case = Case("case", {"half": 0.5}, 1e-8, lambda w, s: float(abs(w[0] - s)), solvers)
    good, poor = cell(case, "half", repeats=3, budget=1.0)
    assert (good["solver"], good["tol"]) == ("good", 1e-8)
    assert good["seconds"] >= 0
    assert poor["solver"] == "poor"
    assert np.isnan(poor["seconds"])
    assert np.isinf(poor["error"])


def test_solvers_that_are_not_run_keep_their_rows():
    from bench import rows

    old = [{"case": "a", "solver": name, "seconds": "1"} for name in ("ours", "theirs")]
    new = [{"case": "a", "solver": "ours", "seconds": 2.0}, {"case": "b", "solver": "ours"}]
    assert rows.updated(old, new, ("case", "solver")) == [new[0], old[1], new[1]]


def test_structures_agree_on_transport():
    pytest.importorskip("cvxpy")
    from bench.structures.interpolation import mesh

    case = mesh(4)
    for name in ("HiGHS", "Clarabel"):
        assert case.error(case.solvers[name](1.0, 1e-10), 1.0) <= 1
    assert case.error(np.zeros(len(case.solvers["HiGHS"](1.0, 1e-8))), 1.0) > 1


def test_intervals_hold_what_they_should():
    """Wilson's against SciPy's; a bootstrap of a mean against the normal one."""
    from bench.nonconvex import intervals

    for successes in (0, 37, 100):
        interval = scipy.stats.binomtest(successes, 100).proportion_ci(method="wilson")
        found = intervals.proportion(successes, 100)
        np.testing.assert_allclose(found, (successes / 100, *interval), atol=1e-4)
    sample = np.random.default_rng(0).normal(size=400)
    value, low, high = intervals.bootstrap(intervals.mean, sample)
    assert value == sample.mean()
    np.testing.assert_allclose((low, high), value + 1.96 * np.array([-1, 1]) / 20, atol=0.02)
    cut = intervals.bootstrap(intervals.reduction, 2 + sample, 1 + sample / 2)
    np.testing.assert_allclose(cut, 0.5)


def test_penalties_of_gene_expression_are_judged_as_written():
    from bench.nonconvex import expression
    from sparsejax import penalties

    size = np.linspace(0, 3, 31)
    for name, gamma in expression.SHAPES.items():
        penalty = getattr(penalties, name)(0.5, gamma)
        ours = [float(penalty.value(np.float32([s]))) for s in size]
        np.testing.assert_allclose(expression.value(name, size, 0.5), ours, atol=1e-6)
        np.testing.assert_allclose(
            expression.slope(name, size[1:], 0.5), penalty.slope(np.float32(size[1:])), atol=1e-6
        )


@pytest.mark.slow
def test_stages_on_little_data(tmp_path):
    """Zhang's first setting with three trials, and the verdicts that the command prints."""
    command = [sys.executable, "-m", "bench.nonconvex", "--fast", "--only", "stages"]
    command += ["--trials", "3", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("nothing after stage 4") == 3 * 2
    with open(tmp_path / "stages.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    oracle = rows.pop()
    assert len(rows) == 3 * 2 * 8  # relaxations, choices of the strength, stages
    first = [row for row in rows if row["stage"] == "1" and row["choice"] == "grid"]
    assert len({round(float(row["error"]), 4) for row in first}) == 1  # all begin with the Lasso
    assert float(first[0]["error"]) > float(oracle["error"])
    assert (tmp_path / "stages.png").stat().st_size > 0


@pytest.mark.slow
def test_recovery_with_ample_measurements_and_with_few():
    from bench.nonconvex import recovery

    with jax.enable_x64(True):
        every = recovery.methods(restarts=2)
        assert "IRLS q=0.667, 2 restarts" in every
        assert "VarPro q=1" in every  # and for other q where it takes them
        method = every["IRLS q=0.667"]
        assert recovery.recovered(method, *recovery.draw(140, 2)).tolist() == [True, True]
        assert recovery.recovered(method, *recovery.draw(50, 2)).tolist() == [False, False]


@pytest.mark.slow
def test_architecture_search_on_27_cells(tmp_path, capsys):
    """Two relaxations, two seeds, few steps; a second call computes nothing again."""
    pytest.importorskip("mnist1d")
    from bench.applications import nas

    options = ["--fast", "--only", "regret", "--steps", "20", "--out", str(tmp_path)]
    nas.main(options)
    with open(tmp_path / "nas_regret.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["relaxation"] for row in rows] == ["softmax"] * 2 + ["temperature"] * 2
    with open(tmp_path / "nas_table_20x32x1.csv", newline="") as file:
        best = max(float(row["seed_0"]) for row in csv.DictReader(file))
    assert all(0 <= float(row["regret"]) <= best for row in rows)
    written = (tmp_path / "nas_regret.csv").stat().st_mtime_ns
    nas.main(options)
    assert (tmp_path / "nas_regret.csv").stat().st_mtime_ns == written
    assert capsys.readouterr().out.count("temperature 20x32 (2): supernet") == 2
    nas.main([*options, "--relaxations", "random"])
    with open(tmp_path / "nas_regret.csv", newline="") as file:
        drawn = [row for row in csv.DictReader(file) if row["relaxation"] == "random"]
    assert len({row["cell"] for row in drawn}) == 2
    assert all(row["supernet"] == "nan" and 0 <= float(row["regret"]) <= best for row in drawn)
    verdict = capsys.readouterr().out.splitlines()[-1]
    assert "random 20x32 (2): regret" in verdict
