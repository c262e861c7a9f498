"""Pruning a language model: block by block, through interruptions, and from the command line."""

import csv
import gzip
import json
import re
import subprocess
import sys
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax._cli._main import main
from sparsejax.applications import language

pytest.importorskip("safetensors.numpy")
tokenizers = pytest.importorskip("tokenizers")

ROOT = Path(sj.__file__).parents[1]
LETTERS = "abcdefghijklmnopqrstuvwxyz "
CONFIG = language.LlamaConfig(
    len(LETTERS), width=16, depth=3, heads=2, kv_heads=1, head_width=8, hidden=24
)
LINEAR = 7  # maps in a block of Llama


@pytest.fixture(scope="module")
def model():
    return language.Llama(CONFIG, jax.random.key(0))


@pytest.fixture(scope="module")
def tokens():
    return np.random.default_rng(0).integers(0, len(LETTERS), size=(2, 4, 12))


def prune(model, tokens, **options):
    return language.prune(model, tokens[0], "wanda", sj.nn.NM(2, 4), held_out=tokens[1], **options)


def test_only_the_maps_of_the_blocks_are_pruned(model, tokens):
    pruned = prune(model, tokens)
    for name, leaf in sj.nn.sparsity_report(pruned.model).leaves.items():
        inside = name.startswith("blocks.") and "norm" not in name
        assert leaf.sparsity == (0.5 if inside else 0), name
    outside = lambda m: (m.embedding, m.norm)  # noqa: E731
    assert eqx.tree_equal(outside(pruned.model), outside(model))
    assert pruned.model.config == CONFIG


def test_every_block_sees_what_the_pruned_ones_before_it_pass_on(model, tokens):
    """The second block's query map, by hand: its inputs, Wanda's choice, its held-out error."""
    pruned = prune(model, tokens)

    def inputs(pieces):
        x = pruned.model.blocks[0]
        rows = [x(model.embed(jnp.asarray(piece))) for piece in pieces]
        norm = model.blocks[1].attention_norm
        return np.concatenate([np.asarray(jax.vmap(norm)(row)) for row in rows])

    weight = np.asarray(model.blocks[1].attention.query.weight)
    scores = np.abs(weight) * np.linalg.norm(inputs(tokens[0]), axis=0)
    groups = scores.reshape(-1, 4)
    kept = (np.argsort(np.argsort(groups, axis=1), axis=1) >= 2).reshape(weight.shape)
    expected = np.where(kept, weight, 0)
    np.testing.assert_array_equal(pruned.model.blocks[1].attention.query.weight, expected)
    X = inputs(tokens[1])
    error = np.sum((X @ (expected - weight).T) ** 2) / np.sum((X @ weight.T) ** 2)
    assert pruned.errors[1]["attention.query"] == pytest.approx(error, rel=1e-4)
    assert len(pruned.errors[1]) == LINEAR


def test_an_interrupted_run_goes_on_and_ends_in_the_same_bits(model, tokens, tmp_path):
    whole = prune(model, tokens)

    class Stop(BaseException):
        pass

    def stop_at(done):
        started.append(done)
        if done == stop:
            raise Stop

    for stop in (1, 2):  # the second run starts where the first one stopped
        started = []
        with pytest.raises(Stop):
            prune(model, tokens, checkpoint=tmp_path / "run", callback=stop_at)
        assert started[0] == stop - 1
    seen = []
    again = prune(model, tokens, checkpoint=tmp_path / "run", callback=seen.append)
    assert seen == [2, 3]
    assert eqx.tree_equal(again.model, whole.model)
    assert again.errors == whole.errors
    seen.clear()
    assert eqx.tree_equal(
        prune(model, tokens, checkpoint=tmp_path / "run", callback=seen.append).model, whole.model
    )
    assert seen == [3]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda m, t: ((m, t[0], "magnitude", sj.nn.NM(2, 4)), t[1]), "method"),
        (lambda m, t: ((m, t[0], "wanda", sj.nn.NM(1, 4)), t[1]), "pattern"),
        (lambda m, t: ((m, t[1], "wanda", sj.nn.NM(2, 4)), t[1]), "tokens"),
        (lambda m, t: ((m, t[0], "wanda", sj.nn.NM(2, 4)), t[0]), "held_out"),
        (
            lambda m, t: (
                (eqx.tree_at(lambda m: m.norm.weight, m, -m.norm.weight), t[0], "wanda")
                + (sj.nn.NM(2, 4),),
                t[1],
            ),
            "model",
        ),
    ],
)
def test_a_run_with_other_arguments_is_not_gone_on_with(model, tokens, tmp_path, change, named):
    def stop(done):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prune(model, tokens, checkpoint=tmp_path, callback=stop)
    arguments, held_out = change(model, tokens)
    with pytest.raises(ValueError, match=rf"`checkpoint`: .* with other {named};"):
        language.prune(*arguments, held_out=held_out, checkpoint=tmp_path)


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    """A model of letters in a folder, and a text."""
    folder = tmp_path_factory.mktemp("language")
    vocabulary = {letter: i for i, letter in enumerate(LETTERS)}
    tokeniser = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, []))
    language.save(model, folder / "model", tokeniser)
    text = "".join(np.random.default_rng(1).choice(list(LETTERS), 400))
    (folder / "text.txt").write_text(text)
    return folder


def command(files, out, *options):
    return [
        *("prune", "--model", str(files / "model"), "--text", str(files / "text.txt")),
        *("--method", "wanda", "--sequences", "4", "--length", "12", "--out", str(out)),
        *map(str, options),
    ]


def test_command_writes_the_pruned_model_and_a_report(files, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(command(files, out, "--refit", "--sequences", 99)) == 0
    assert {file.name for file in out.iterdir()} == {
        *("model.safetensors", "config.json", "tokenizer.json", "report.json")
    }
    assert list(tmp_path.iterdir()) == [out]
    report = json.loads((out / "report.json").read_text())
    assert len(report["layers"]) == 3 * LINEAR
    assert all(layer["sparsity"] == 0.5 for layer in report["layers"])
    assert all(0 < layer["held_out_error"] < 1 for layer in report["layers"])
    assert report["settings"]["pattern"] == "NM(keep=2, of=4)"  # which number is kept?
    # What is reported is what the written model does on the end of the text.
    model, tokeniser = language.load(out), language.load_tokeniser(out)
    assert sj.nn.sparsity_report(model).sparsity == report["sparsity"]
    pieces = language.chunks(tokeniser, [(files / "text.txt").read_text()], 12)
    assert (report["settings"]["calibration_pieces"], len(pieces)) == (27, 33)
    ours = language.perplexity(model, pieces[27:])
    assert report["perplexity"]["pruned"] == pytest.approx(ours, rel=1e-5)
    dense = language.perplexity(language.load(files / "model"), pieces[27:])
    assert report["perplexity"]["dense"] == pytest.approx(dense, rel=1e-5)
    shown = capsys.readouterr().out
    assert "Perplexity on held-out text" in shown
    assert "feed_forward.down" in shown


def test_options_reach_the_library(files, tmp_path, monkeypatch):
    seen = []

    def spy(model, tokens, method, pattern, **others):
        seen.append((tokens, method, pattern, others["held_out"]))
        raise ValueError("enough")

    monkeypatch.setattr(language, "prune", spy)
    for options in (
        ["--method", "sds", "--pattern", "50%"],
        ["--refit", "--pattern", "1:4", "--seed", 1, "--held-out", files / "text.txt"],
    ):
        assert main(command(files, tmp_path / "out", *options)) == 2
    assert seen[0][1:3] == ("sds", sj.nn.Unstructured(0.5))
    assert seen[1][1:3] == (sj.nn.Refitted("wanda"), sj.nn.NM(1, 4))
    assert seen[0][0].shape == seen[0][3].shape == (4, 12)
    assert not np.array_equal(seen[0][0], seen[1][0])  # another seed
    assert not any((a == b).all() for a in seen[0][0] for b in seen[0][3])


# Run in a process of its own, which dies at a rename: nothing is cleaned up.
DIE = """
import os, signal, sys
from sparsejax._cli._main import main
replace, left = os.replace, int(sys.argv[1])
def dying(*args):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(*args)
os.replace = dying
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.slow  # two processes that compile; the same in one process is above
def test_killed_the_command_leaves_nothing_half_and_goes_on(files, tmp_path, capsys):
    out, whole = tmp_path / "out", tmp_path / "whole"
    assert main(command(files, whole)) == 0
    # The renames are: the run's settings, three blocks, then the files of the result.
    for renames in (1, 3, 5):
        died = subprocess.run(
            [sys.executable, "-c", DIE, str(renames), *command(files, out)],
            cwd=ROOT,
            capture_output=True,
            check=False,
        )
        assert died.returncode == -9, died.stderr
        assert not out.exists()
    assert len(list((tmp_path / "out-unfinished").glob("block-*.eqx"))) == 3
    assert main(command(files, out)) == 0
    assert not (tmp_path / "out-unfinished").exists()
    for name in ("model.safetensors", "config.json"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()
    # Errors are sums in a program that every process compiles: the last digit may differ.
    words, numbers = zip(*(_parts(folder / "report.json") for folder in (out, whole)), strict=True)
    assert words[0] == words[1]
    np.testing.assert_allclose(*numbers, rtol=1e-5)


def _parts(path):
    """What stands around the decimal numbers of a text, and the numbers."""
    text, number = path.read_text(), r"\d+\.\d+(?:e[+-]\d+)?"
    return re.split(number, text), [float(found) for found in re.findall(number, text)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--model", "nowhere.gguf"], ["nowhere.gguf", "no such file"]),
        (["--text", "nowhere.txt"], ["nowhere.txt", "no such file"]),
        (["--text", "."], ["is a folder"]),
        (["--length", 300], ["text.txt", "hold a part of it out", "--held-out"]),
        (["--length", 500], ["text.txt", "shorter than one piece of 500"]),
        (["--pattern", "1:5"], ["blocks[0].attention.query.weight", "5"]),
    ],
)
def test_problems_are_one_line_with_status_2(files, tmp_path, capsys, options, expected):
    assert main(command(files, tmp_path / "out", *options)) == 2
    message = capsys.readouterr().err
    assert message.startswith("sparsejax: error: ")
    assert message.count("\n") == 1
    for part in expected:
        assert part in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--pattern", "half"], "must be like 2:4"),
        (["--pattern", "5:4"], "'5:4'"),
        (["--pattern", "150%"], "'150%'"),
        (["--sequences", "0"], ">= 1"),
        (["--length", "1"], ">= 2"),
        (["--method", "luck"], "luck"),
    ],
)
def test_options_out_of_range_are_usage_errors(files, tmp_path, capsys, options, expected):
    with pytest.raises(SystemExit) as stopped:
        main(command(files, tmp_path / "out", *options))
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert options[0] in message
    assert expected in message


def test_texts_that_are_none(files, tmp_path, capsys):
    for name, content in (("bytes.txt", b"\xff\xfe\xfa"), ("cut.txt.gz", b"\x1f\x8b\x08\x00")):
        (tmp_path / name).write_bytes(content)
        assert main(command(files, tmp_path / "out", "--text", tmp_path / name)) == 2
        assert "cannot be read as text" in capsys.readouterr().err


def test_a_checkpoint_of_other_options_is_named(files, tmp_path, capsys):
    def interrupt(*args):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(language, "perplexity", interrupt)
        assert main(command(files, tmp_path / "out")) == 130
    assert main(command(files, tmp_path / "out", "--pattern", "1:4")) == 2
    assert "with other pattern" in capsys.readouterr().err


NOVELS = """EMMA

Chapter 1
{0}
Chapter 2
{0}
MANSFIELD PARK
CHAPTER I
{0}
NORTHANGER ABBEY
CHAPTER 1
{1}
Persuasion
Chapter 1
{1}
PRIDE AND PREJUDICE
Chapter 1
{0}
SENSE AND SENSIBILITY
CHAPTER L
{0}
"""


@pytest.fixture
def bench(files, tmp_path, monkeypatch):
    """The bench on a tiny model: pieces of 12 letters, those to calibrate on without an e."""
    monkeypatch.syspath_prepend(ROOT)
    from bench.pruning import language as module

    monkeypatch.setattr(module, "LENGTH", 12)
    text = NOVELS.format("abcd fgh" * 20, "it is a truth universally acknowledged " * 4)
    (tmp_path / "novels.txt.gz").write_bytes(gzip.compress(text.encode()))
    model = ["--model", str(files / "model"), "--text", str(tmp_path / "novels.txt.gz")]

    def run(*options):
        out = ["--out", str(tmp_path / "out"), "--calibration", "6", "--held-out", "5"]
        module.main([*model, *out, *options])
        with (tmp_path / "out" / "language.csv").open(newline="") as stream:
            return list(csv.DictReader(stream))

    run.module = module
    return run


def test_bench_writes_every_cell_once(bench, monkeypatch):
    rows = bench(
        "--methods", "wanda", "magnitude", "--patterns", "2:4", "50%", "--refit", "without"
    )
    cells = [(row["method"], row["pattern"], row["refit"]) for row in rows]
    assert cells == [
        ("dense", "", ""),
        ("wanda", "2:4", "False"),
        ("magnitude", "2:4", "False"),
        ("wanda", "50%", "False"),
        ("magnitude", "50%", "False"),
    ]
    assert all(float(row["perplexity"]) > 0 for row in rows)
    assert rows[1]["perplexity"] != rows[0]["perplexity"]
    inside = {(row["calibration"], row["held_out"]) for row in rows}
    assert inside == {("6", "5")}
    monkeypatch.delattr(language, "prune")  # what is known is not computed again
    assert bench("--methods", "wanda", "--patterns", "2:4", "--refit", "without") == rows


def test_bench_goes_on_with_an_interrupted_cell(bench, monkeypatch, tmp_path):
    def only_of_the_dense(model, tokens):
        if sj.nn.sparsity_report(model).zeros:
            raise KeyboardInterrupt
        return 1.0

    with monkeypatch.context() as patch:
        patch.setattr(language, "perplexity", only_of_the_dense)
        with pytest.raises(KeyboardInterrupt):
            bench("--methods", "wanda", "--patterns", "2:4", "--refit", "without")
    (unfinished,) = (tmp_path / "out" / "unfinished").iterdir()
    assert len(list(unfinished.glob("block-*.eqx"))) == 3
    rows = bench("--methods", "wanda", "--patterns", "2:4", "--refit", "without")
    assert [row["method"] for row in rows] == ["dense", "wanda"]
    assert not unfinished.exists()


def test_bench_holds_out_other_novels(bench, files, tmp_path):
    data = bench.module.setting(files / "model", tmp_path / "novels.txt.gz", 6, 5)
    letter = LETTERS.index("e")
    assert data.calibration.shape == (6, 12)
    assert data.held_out.shape == (5, 12)
    assert not (data.calibration == letter).any()
    assert (data.held_out == letter).any()
