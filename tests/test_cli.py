"""The command line: tables in, answers out, and one clear line for everything that can go wrong."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import ElasticNet, Lasso

import sparsejax as sj
from sparsejax._cli import _fit, _main, _report
from sparsejax._cli._folder import output_folder
from sparsejax._cli._folds import stratified_folds
from sparsejax._cli._main import main

ROOT = Path(sj.__file__).parents[1]
FIGURES = {"path.png", "convergence.png"}


@pytest.fixture(scope="module")
def numbers():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 6)) * [1, 10, 0.1, 1, 1, 1] + 3
    y = 2 * X[:, 0] - 0.3 * X[:, 1] + 0.1 * rng.normal(size=40)
    return X, y


@pytest.fixture
def table(tmp_path, numbers):
    X, y = numbers
    return write_csv(tmp_path / "data.csv", [*"abcdef", "price"], np.column_stack([X, y]))


def write_csv(path, header, rows, delimiter=","):
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream, delimiter=delimiter)
        writer.writerow(header)
        writer.writerows(rows)
    return path


def fit(*arguments, out):
    return main(["fit", *map(str, arguments), "--out", str(out)])


def coefficients(out):
    with (out / "coefficients.csv").open(newline="") as stream:
        return {row["feature"]: float(row["coefficient"]) for row in csv.DictReader(stream)}


def standardised_reference(model, X, y):
    """Coefficients in original units, by name, of a scikit-learn model on standardised columns."""
    mean, scale = X.mean(0), X.std(0)
    model.fit((X - mean) / scale, y)
    coef = model.coef_ / scale
    found = {name: value for name, value in zip("abcdef", coef, strict=True) if value != 0}
    return found | {"(intercept)": model.intercept_ - mean @ coef}


@pytest.mark.parametrize(
    ("options", "model"),
    [
        ([], Lasso(0.2, tol=1e-10)),
        pytest.param(
            ["--penalty", "elastic_net", "--l1-ratio", 0.7],
            ElasticNet(0.2, l1_ratio=0.7, tol=1e-10),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_fixed_strength_agrees_with_scikit_learn(table, numbers, tmp_path, options, model):
    assert fit(table, "--target", "price", "--alpha", 0.2, *options, out=tmp_path / "out") == 0
    ours, reference = coefficients(tmp_path / "out"), standardised_reference(model, *numbers)
    assert ours.keys() == reference.keys()
    for name, value in reference.items():
        assert ours[name] == pytest.approx(value, rel=1e-6)
    written = {file.name for file in (tmp_path / "out").iterdir()}
    assert written == {"coefficients.csv", "report.json"} | FIGURES


def test_without_standardising_alpha_is_in_the_units_of_the_table(table, numbers, tmp_path):
    options = ("--target", "price", "--alpha", 0.2, "--no-standardise")
    assert fit(table, *options, out=tmp_path / "out") == 0
    model = Lasso(0.2, tol=1e-10).fit(*numbers)
    ours = coefficients(tmp_path / "out")
    assert ours["b"] == pytest.approx(model.coef_[1], rel=1e-6)
    assert ours["(intercept)"] == pytest.approx(model.intercept_, rel=1e-6)


def test_cross_validation_finds_the_signal_and_reports_a_certificate(table, tmp_path, capsys):
    assert fit(table, "--target", "price", "--cv", 4, out=tmp_path / "out") == 0
    terminal = capsys.readouterr().out
    assert "relative duality gap" in terminal
    assert "hypergradient" in terminal
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["relative_duality_gap"] <= 1e-12
    assert report["dtype"] == "float64"
    grid, tuned = (
        next(c for c in report["choices"] if c["label"] == label)
        for label in ("cross-validation", "hypergradient")
    )
    assert report["strength"] in (grid["strength"], tuned["strength"])
    assert tuned["error"] <= grid["error"] * 1.001
    ours = coefficients(tmp_path / "out")
    assert ours["a"] == pytest.approx(2, rel=0.05)
    assert ours["b"] == pytest.approx(-0.3, rel=0.05)
    assert (tmp_path / "out" / "cross_validation.png").stat().st_size > 1000


@pytest.mark.slow
def test_single_precision(table, tmp_path):
    assert fit(table, "--target", "price", "--alpha", 0.2, "--float32", out=tmp_path / "out") == 0
    assert json.loads((tmp_path / "out" / "report.json").read_text())["dtype"] == "float32"


def test_formats_agree(table, numbers, tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    X, y = numbers
    frame = pandas.DataFrame(X, columns=list("abcdef")).assign(price=y, id=range(40))
    frame.to_parquet(tmp_path / "data.parquet")
    np.savez(tmp_path / "data.npz", X=X, y=y, feature_names=list("abcdef"))
    rows = np.column_stack([X, y])
    semicolons = write_csv(tmp_path / "euro.csv", [*"abcdef", "price"], rows, delimiter=";")
    # A blank line before the header, commas in quoted names, and the index that pandas writes.
    numbered = np.column_stack([np.arange(len(rows)), rows])
    odd = write_csv(tmp_path / "odd.csv", ["", *"abcdef", "x,y"], numbered, delimiter=";")
    odd.write_text("\n" + odd.read_text().replace("x,y", '"x,y"'))
    calls = [
        (table, "--target", "price"),
        (semicolons, "--target", "price"),
        (odd, "--target", "x,y", "--drop", ""),
        (tmp_path / "data.parquet", "--target", "price", "--drop", "id"),
        (tmp_path / "data.npz",),
    ]
    found = []
    for i, call in enumerate(calls):
        assert fit(*call, "--alpha", 0.2, out=tmp_path / f"out{i}") == 0
        found.append(coefficients(tmp_path / f"out{i}"))
    assert all(other == found[0] for other in found)


def _csv(text):
    return lambda folder: (folder / "t.csv").write_text(text)


def _npz(**arrays):
    return lambda folder: np.savez(folder / "t.npz", **arrays)


ROWS = "".join(f"{i},{i * i},{i % 3}\n" for i in range(12))
GOOD = "age,height,price\n" + ROWS
PRICE = ["--target", "price"]


@pytest.mark.parametrize(
    ("make", "name", "options", "expected"),
    [
        (_csv(GOOD), "nowhere.csv", PRICE, ["no such file"]),
        (_csv(GOOD), "t.xlsx", PRICE, ["extension", ".csv", ".parquet", ".npz"]),
        (_csv(GOOD), "t.csv", [], ["--target is needed"]),
        (_csv(GOOD), "t.csv", ["--target", "Prise"], ["no column 'Prise'", "did you mean 'price'"]),
        (_csv(GOOD), "t.csv", ["--target", "zzz"], ["the columns are 'age', 'height', 'price'"]),
        (_csv(GOOD), "t.csv", [*PRICE, "--drop", "hight"], ["did you mean 'height'"]),
        (_csv(GOOD), "t.csv", [*PRICE, "--drop", "price"], ["--drop names the target"]),
        (
            _csv(GOOD),
            "t.csv",
            [*PRICE, "--drop", "age", "--drop", "height"],
            ["no feature columns are left"],
        ),
        (_csv(""), "t.csv", PRICE, ["empty"]),
        (_csv("age,price\n"), "t.csv", PRICE, ["no rows"]),
        (_csv("1,2,3\n" + ROWS), "t.csv", PRICE, ["must name the columns"]),
        (_csv("a,a,price\n" + ROWS), "t.csv", PRICE, ["'a' occurs more than once"]),
        (_csv("a,b,price\n1,2,3\n4,5\n"), "t.csv", PRICE, ["row 2 has 2 cells"]),
        (_csv(",a,price\n" + ROWS), "t.csv", PRICE, ["column 1 has no name", "--drop ''"]),
        (
            _csv("age,city,price\n1,,2\n2,Oslo,3\n"),
            "t.csv",
            PRICE,
            ["column 'city' not numeric", "'Oslo'", "--drop"],
        ),
        (
            _csv("age,height,price\n1,2,3\n1,,4\n1,NA,5\n"),
            "t.csv",
            PRICE,
            ["column 'height' is missing or NaN in row 2", "2 such rows"],
        ),
        (_csv("age,price\n1,2\ninf,3\n"), "t.csv", PRICE, ["column 'age' is infinite in row 2"]),
        (_csv("age,price\n1,nan\n2,3\n"), "t.csv", PRICE, ["column 'price' is missing"]),
        (_csv("age,price\n1,7\n2,7\n"), "t.csv", PRICE, ["target 'price' is constant"]),
        (_csv("age,price\n1,7\n1,8\n"), "t.csv", [*PRICE, "--cv", "2"], ["at least 4 rows"]),
        (
            _csv("age,price\n" + "1,7\n1,8\n" * 5),
            "t.csv",
            PRICE,
            ["constant or unrelated to the target"],
        ),
        (lambda folder: (folder / "t.csv").mkdir(), "t.csv", PRICE, ["is a folder"]),
        (
            lambda f: (f / "t.csv").write_bytes(b"a,b\n\xff\xfe,1\n"),
            "t.csv",
            PRICE,
            ["cannot be read"],
        ),
        (_npz(X=np.eye(3)), "t.npz", [], ["no array 'y'"]),
        (_npz(X=np.eye(3), y=np.ones(2)), "t.npz", [], ["(3, 3)", "(2,)"]),
        (
            _npz(X=np.eye(3), y=np.arange(3), feature_names=["a"]),
            "t.npz",
            [],
            ["feature_names must have 3 entries"],
        ),
        (_npz(X=np.array([["a"]]), y=np.ones(1)), "t.npz", [], ["'X' does not hold real numbers"]),
        (_npz(X=np.eye(3), y=np.arange(3)), "t.npz", ["--drop", "x0"], ["--drop is for tables"]),
        (lambda f: (f / "t.npz").write_text("no"), "t.npz", [], ["not an NPZ archive"]),
        (
            lambda folder: np.savez(folder / "t.npz", X=np.array([{}]), y=np.ones(1)),
            "t.npz",
            [],
            ["not a readable NPZ archive"],
        ),
        (lambda f: (f / "t.parquet").write_text("no"), "t.parquet", PRICE, ["Parquet"]),
    ],
)
def test_problems_are_one_line_with_status_2(make, name, options, expected, tmp_path, capsys):
    make(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert fit(tmp_path / name, *options, out=tmp_path / "out") == 2
    message = capsys.readouterr().err
    assert message.startswith("sparsejax: error: ")
    assert message.count("\n") == 1
    for part in expected:
        assert part in message
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "options",
    [
        ["--alpha", "-1"],
        ["--alpha", "0"],
        ["--alpha", "nan"],
        ["--alpha", "much"],
        ["--cv", "1"],
        ["--cv", "2.5"],
        ["--l1-ratio", "1.5"],
        ["--penalty", "l3"],
        ["--alpha", "1", "--cv", "3"],
    ],
)
def test_options_out_of_range_are_usage_errors(table, options, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["fit", str(table), "--target", "price", *options])
    assert stopped.value.code == 2
    assert options[0] in capsys.readouterr().err


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch, capsys):
    (tmp_path / "t.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert fit(tmp_path / "t.parquet", *PRICE, out=tmp_path / "out") == 2
    assert "sparsejax[table]" in capsys.readouterr().err


def test_nothing_is_written_when_the_report_fails(table, tmp_path, monkeypatch):
    def fail(study, folder):
        raise RuntimeError("disk on fire")

    monkeypatch.setattr(_report, "_write_figures", fail)
    with pytest.raises(RuntimeError, match="disk on fire"):
        fit(table, "--target", "price", "--alpha", 0.2, out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == [table]


def test_a_fit_that_does_not_converge_has_status_1_and_writes_nothing(
    table, tmp_path, monkeypatch, capsys
):
    solve = sj.solve
    monkeypatch.setattr(sj, "solve", lambda *args, **kw: solve(*args, **kw, max_steps=0))
    assert fit(table, "--target", "price", "--alpha", 0.2, out=tmp_path / "out") == 1
    assert "relative duality gap" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [table]


def test_interruption_has_status_130(table, tmp_path, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(_fit, "run_study", interrupt)
    assert fit(table, "--target", "price", "--alpha", 0.2, out=tmp_path / "out") == 130
    assert list(tmp_path.iterdir()) == [table]


def test_output_folder_replaces_its_own_files_only(tmp_path):
    target = tmp_path / "results"
    for text in ("old", "new"):
        with output_folder(target) as folder:
            (folder / "report.json").write_text(text)
        (target / "notes.txt").write_text("mine")
    assert (target / "report.json").read_text() == "new"
    assert (target / "notes.txt").read_text() == "mine"
    assert list(tmp_path.iterdir()) == [target]


def test_output_that_is_a_file_is_refused(table, tmp_path, capsys):
    assert fit(table, "--target", "price", "--alpha", 0.2, out=table) == 2
    assert "is a file" in capsys.readouterr().err


def test_stratified_folds_are_even_in_size_and_class():
    y = np.repeat([0.0, 1.0], [27, 11])
    fold = stratified_folds(y, 5)
    assert set(np.bincount(fold)) <= {7, 8}
    assert set(np.bincount(fold, weights=y)) <= {2.0, 3.0}
    assert not np.array_equal(fold, stratified_folds(y, 5, seed=1))


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    for command in _main.COMMANDS:
        assert command.name in shown


@pytest.mark.slow
def test_main_job_on_real_data(tmp_path):
    """The README's first command, in a process of its own."""
    out = tmp_path / "golub"
    done = subprocess.run(
        [sys.executable, "-m", "sparsejax", "--out", str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "X95735_at" in done.stdout  # zyxin, the best known marker of these leukemias
    written = {file.name for file in out.iterdir()}
    assert written == {"coefficients.csv", "cross_validation.png", "report.json"} | FIGURES
    report = json.loads((out / "report.json").read_text())
    assert report["relative_duality_gap"] <= 1e-12
    assert report["nested_accuracy"]["correct"] > report["nested_accuracy"]["baseline"]
    assert len(report["choices"]) == 3
