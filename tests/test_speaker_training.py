"""Speakers from recordings: files, training, resuming, voiceprints, the command."""

import json
import shutil

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.io import wavfile

import sparsejax as sj
from sparsejax._cli._main import main
from sparsejax.applications import speaker
from sparsejax.applications.speaker._training import _stacked, precision_of

CONFIG = speaker.DSConfig(
    8, (2,), (2,), (0.5,), frames=20, aggregate=8, attention=2, squeeze=2, embedding=4
)
# Every run has this program, and compiles it once.
OPTIONS = {"epochs": 4, "batch": 8, "crop_frames": 40, "sparse_epochs": 2, "every": 2}
OPTIONS |= {"learning_rate": 1e-2}


@pytest.fixture(scope="module")
def voices():
    names = ["Ada", "Ben", "Cy"]
    return speaker.voices_of(
        {name: speaker.formant_voice(i, 4 + i, 0.6 + 0.2 * i) for i, name in enumerate(names)}
    )


@pytest.fixture(scope="module")
def network():
    """Random weights without compiling what draws them."""
    rng = np.random.default_rng(0)
    model, state = eqx.filter_eval_shape(speaker.make, CONFIG, jax.random.key(0))

    def drawn(leaf):
        scale = 1.0 if leaf.ndim < 2 else 2 / np.sqrt(np.prod(leaf.shape[1:]))
        return jnp.asarray(scale * rng.normal(size=leaf.shape), leaf.dtype)

    is_shape = lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct)  # noqa: E731
    zeros = lambda leaf: jnp.zeros(leaf.shape, leaf.dtype) if is_shape(leaf) else leaf  # noqa: E731
    model = jax.tree.map(lambda leaf: drawn(leaf) if is_shape(leaf) else leaf, model)
    return model, jax.tree.map(zeros, state)


def train(network, voices, key=1, **options):
    return speaker.train(*network, voices, key=jax.random.key(key), **(OPTIONS | options))


@pytest.fixture(scope="module")
def trained(network, voices):
    return train(network, voices)


@pytest.mark.slow
def test_training_lowers_the_loss(network, voices):
    long = train(network, voices, epochs=60)
    assert long.losses.shape == (60,)  # a batch of 8 of 15 recordings an epoch
    assert long.losses[-10:].mean() < 0.7 * long.losses[:10].mean()


def test_the_sparse_rule_ends(network, voices, trained):
    """Losses are those without it from the start as long as nothing was thinned out, no longer."""
    never = train(network, voices, sparse_epochs=0)
    always = train(network, voices, sparse_epochs=99)
    np.testing.assert_array_equal(trained.losses[:2], always.losses[:2])
    assert trained.losses[0] != never.losses[0]
    assert trained.losses[2] != always.losses[2]


def test_weights_decay(network, voices, trained):
    size = lambda found: sum(abs(w).sum() for w in speaker.filters(found.model))  # noqa: E731
    decayed = train(network, voices, weight_decay=100.0)
    assert size(decayed) < 0.9 * size(trained)


def test_norms_end_with_averages_over_the_recordings(trained):
    counts = [leaf for leaf in jax.tree.leaves(trained.state) if leaf.dtype == jnp.int32]
    assert counts
    assert all(int(count) == 1 for count in counts)  # one batch of all


@pytest.mark.slow
def test_a_penalty_makes_zeros_in_filters_alone(network, voices):
    found = train(network, voices, penalty=sj.penalties.L1(100.0), epochs=2)
    (weight,) = speaker.filters(found.model)
    assert not np.asarray(weight).any()
    report = sj.nn.sparsity_report(found.model)
    assert report.leaves["local_blocks.0.first.conv.weight"].zeros == 0


@pytest.mark.slow
def test_a_killed_run_goes_on_and_reaches_the_same_numbers(network, voices, trained, tmp_path):
    class Kill(BaseException):
        pass

    def kill(done, losses):
        raise Kill

    file = tmp_path / "run"
    options = {"checkpoint": file}
    with pytest.raises(Kill):
        train(network, voices, callback=kill, **options)
    seen = []
    again = train(network, voices, callback=lambda done, losses: seen.append(done), **options)
    assert seen == [4]
    np.testing.assert_array_equal(again.losses, trained.losses)
    assert eqx.tree_equal(again.model, trained.model)
    assert eqx.tree_equal(again.state, trained.state)
    for other, named in (({"key": 2}, "key"), ({"margin": 0.1}, "margin")):
        with pytest.raises(ValueError, match=f"with other .*{named}"):
            train(network, voices, **(options | other))


def test_of_several_lengths_each_has_its_turns(network, voices, tmp_path):
    """The first batch is that of one of them; killed, a run keeps the turns."""

    def first(key, size):
        return train(network, voices, key, crop_frames=size, epochs=1).losses.item()

    drawn = set()
    for key in range(4):
        alone = [first(key, 20), first(key, 40)]
        assert alone[0] != alone[1]
        drawn.add(alone.index(first(key, (20, 40))))
    assert drawn == {0, 1}

    class Kill(BaseException):
        pass

    def kill(done, losses):
        raise Kill

    options = {"crop_frames": (20, 40), "checkpoint": tmp_path / "run"}
    with pytest.raises(Kill):
        train(network, voices, callback=kill, **options)
    whole = train(network, voices, crop_frames=(20, 40))
    assert eqx.tree_equal(train(network, voices, **options).model, whole.model)
    with pytest.raises(ValueError, match="with other crop_frames"):
        train(network, voices, **options | {"crop_frames": 40})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "`epochs`"),
        ({"batch": 16}, "at most the 15 recordings"),
        ({"crop_frames": 0}, "`crop_frames`"),
        ({"crop_frames": (20, 0)}, "`crop_frames`"),
        ({"crop_frames": ()}, "`crop_frames`"),
        ({"sparse_epochs": -1}, "`sparse_epochs`"),
        ({"margin": 2.0}, "`margin`"),
        ({"weight_decay": -1.0}, "`weight_decay`"),
    ],
)
def test_arguments_of_training_are_named(network, voices, change, message):
    with pytest.raises(ValueError, match=message):
        train(network, voices, **change)


def test_what_cannot_be_trained(network, voices):
    with pytest.raises(ValueError, match="at least two speakers; got 1"):
        train(network, voices.of_speakers(np.array([2])))
    ecapa, state = eqx.filter_eval_shape(
        speaker.make, speaker.ECAPAConfig(8, 2, (2,)), jax.random.key(0)
    )
    with pytest.raises(ValueError, match="`model` has none"):
        train((ecapa, state), voices, penalty=sj.penalties.L1(1.0))


# Voiceprints


def test_prints_are_embeddings_of_the_whole_and_of_pieces(trained, rng):
    features = [rng.normal(size=(80, n)).astype(np.float32) for n in (30, 410)]
    call = eqx.filter_jit(eqx.nn.inference_mode(trained.model))

    def embedded(x):
        x = jnp.asarray(x - x.mean(axis=1, keepdims=True))
        e = np.asarray(call(x, trained.state)[0])
        return e / np.linalg.norm(e)

    prints = speaker.voiceprints(trained.model, trained.state, features)
    repeated = np.concatenate([features[0]] * 10, axis=1)
    long = np.concatenate([features[1], features[1][:, :40]], axis=1)
    pieces = [features[1][:, s : s + 300] for s in (0, 27, 55, 82, 110)]
    expected = [
        [embedded(repeated[:, :50]), embedded(repeated)],
        [embedded(long), np.mean([embedded(piece) for piece in pieces], axis=0)],
    ]
    np.testing.assert_allclose(prints, expected, atol=1e-4)
    table = speaker.score(prints, prints)
    assert table.shape == (2, 2)
    a, b = np.asarray(expected)
    assert table[0, 1] == pytest.approx((a[0] @ b[0] + a[1] @ b[1]) / 2, abs=1e-4)
    mean = speaker.score(prints.mean(axis=0), prints[0])
    assert mean == pytest.approx(table[0].mean(), abs=1e-6)
    with pytest.raises(ValueError, match="at least one recording"):
        speaker.embeddings(trained.model, trained.state, [])


def test_precision_is_that_of_the_weights(rng):
    class Sums(eqx.Module):
        weight: jax.Array

        def __call__(self, x, state):
            return jax.lax.dot(self.weight, x[:, 0]), state  # both of one precision

    with jax.enable_x64(True):
        model = Sums(jnp.asarray(rng.normal(size=(4, 80))))
        assert model.weight.dtype == jnp.float64
        x = rng.normal(size=(80, 20)).astype(np.float32)
        assert speaker.embeddings(model, None, [x]).dtype == np.float64
        voices = speaker.voices_of({"Ada": speaker.formant_voice(0, 1, 0.6)})
        assert _stacked(voices, 80, precision_of(model))[0].dtype == jnp.float64
    assert precision_of(lambda x: x) == jnp.float32


def test_trials_are_all_pairs():
    first, second, same = speaker.trials(np.array([2, 0, 2]))
    assert list(zip(first, second, same, strict=True)) == [(0, 1, 0), (0, 2, 1), (1, 2, 0)]


def test_some_speakers_of_voices(voices):
    some = voices.of_speakers(np.array([2, 0]))
    assert some.names == ("Cy", "Ada")
    assert some.speakers.tolist() == [1] * 4 + [0] * 6
    assert some.files[0] == "Ada 0"
    np.testing.assert_array_equal(some.features[4], voices.features[9])


# Files


@pytest.mark.parametrize(
    ("dtype", "atol"), [(np.int16, 1e-4), (np.uint8, 1e-2), (np.int32, 1e-6), (np.float32, 1e-6)]
)
def test_waves_of_every_kind_are_alike(tmp_path, dtype, atol, rng):
    wave = rng.uniform(-0.9, 0.9, 9000)
    if np.issubdtype(dtype, np.floating):
        stored = wave.astype(dtype)
    elif dtype == np.uint8:
        stored = np.round(wave * 128 + 128).astype(dtype)
    else:
        stored = np.round(wave * np.iinfo(dtype).max).astype(dtype)
    wavfile.write(tmp_path / "a.wav", 16_000, np.stack([stored, stored], axis=1))
    found = speaker.read_wave(tmp_path / "a.wav")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wave, atol=atol)


def test_other_rates_are_resampled(tmp_path):
    for rate in (8_000, 22_050, 48_000):
        tone = np.sin(2 * np.pi * 500 * np.arange(rate) / rate).astype(np.float32)
        wavfile.write(tmp_path / "a.wav", rate, tone)
        found = speaker.read_wave(tmp_path / "a.wav")
        expected = np.sin(2 * np.pi * 500 * np.arange(16_000) / 16_000)
        np.testing.assert_allclose(found[200:-200], expected[200:-200], atol=2e-3)


def test_other_formats_by_soundfile(tmp_path, rng):
    soundfile = pytest.importorskip("soundfile")
    wave = rng.uniform(-0.5, 0.5, 9000)
    soundfile.write(tmp_path / "a.flac", wave, 16_000)
    np.testing.assert_allclose(speaker.read_wave(tmp_path / "a.flac"), wave, atol=1e-4)
    (tmp_path / "b.flac").write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match=r"b\.flac: damaged"):
        speaker.read_wave(tmp_path / "b.flac")


def _broken(tmp_path):
    good = np.ones(16_000, np.int16)
    wavfile.write(tmp_path / "whole.wav", 16_000, good)
    (tmp_path / "cut.wav").write_bytes((tmp_path / "whole.wav").read_bytes()[:5000])
    (tmp_path / "head.wav").write_bytes((tmp_path / "whole.wav").read_bytes()[:30])
    (tmp_path / "text.wav").write_text("hello" * 100)
    (tmp_path / "empty.wav").write_bytes(b"")
    wavfile.write(tmp_path / "slow.wav", 4_000, good)
    wavfile.write(tmp_path / "short.wav", 16_000, good[:4000])
    wavfile.write(tmp_path / "silent.wav", 16_000, 0 * good)
    wavfile.write(tmp_path / "nan.wav", 16_000, np.full(16_000, np.nan, np.float32))


def test_bad_recordings_are_named(tmp_path):
    _broken(tmp_path)
    for name, says in {
        **dict.fromkeys(("cut", "head", "text", "empty"), "damaged, or not a WAV file"),
        "slow": "sampled at 4000 Hz; at least 8000",
        "short": "0.25 seconds; at least 0.5",
        "silent": "silent",
        "nan": "has samples that are not finite",
    }.items():
        with pytest.raises(ValueError, match=rf"{name}\.wav: {says}"):
            speaker.read_wave(tmp_path / f"{name}.wav")
    with pytest.raises(FileNotFoundError, match="no such file"):
        speaker.read_wave(tmp_path / "none.wav")


def test_folders_of_speakers(tmp_path):
    for name, count in (("Ben", 1), ("Ada", 2)):
        for i, wave in enumerate(speaker.formant_voice(len(name) + count, count, 0.6)):
            (tmp_path / name / f"take {i}").mkdir(parents=True)
            wavfile.write(tmp_path / name / f"take {i}" / "a.WAV", 16_000, wave)
    voices = speaker.load_voices(tmp_path)
    assert voices.names == ("Ada", "Ben")
    assert voices.speakers.tolist() == [0, 0, 1]
    assert [x.shape for x in voices.features] == [(80, 61)] * 3
    assert voices.files[2].endswith("take 0/a.WAV")
    (tmp_path / "Cy").mkdir()
    with pytest.raises(ValueError, match="Cy: no recordings"):
        speaker.load_voices(tmp_path)
    with pytest.raises(ValueError, match="Cy: no folders"):
        speaker.load_voices(tmp_path / "Cy")


def test_espeak_speaks_as_it_is_told():
    if shutil.which("espeak-ng") is None:
        with pytest.raises(FileNotFoundError, match="espeak-ng is not installed"):
            speaker.espeak_voice(["hello"], "f2")
        pytest.skip("espeak-ng is not installed")
    low, high = (speaker.espeak_voice(["a e i o u"], "f2", pitch=p)[0] for p in (10, 90))
    assert low.dtype == np.float32
    assert np.abs(low).max() > 0.1
    size = min(low.size, high.size)
    assert np.abs(low[:size] - high[:size]).max() > 0.1
    with pytest.raises(ValueError, match="no 'nobody'"):
        speaker.espeak_voice(["hello"], "nobody")


def test_recognisers_in_files(trained, tmp_path):
    one = speaker.Recogniser(CONFIG, trained.model, trained.state, 0.25)
    speaker.save(tmp_path / "m.eqx", one)
    again = speaker.load(tmp_path / "m.eqx")
    assert again.config == CONFIG
    assert again.threshold == 0.25
    assert eqx.tree_equal(again.model, one.model)
    assert eqx.tree_equal(again.state, one.state)
    (tmp_path / "cut.eqx").write_bytes((tmp_path / "m.eqx").read_bytes()[:-50])
    (tmp_path / "text.eqx").write_text("{}\n")
    for name in ("cut", "text"):
        with pytest.raises(ValueError, match=rf"{name}\.eqx: damaged"):
            speaker.load(tmp_path / f"{name}.eqx")
    prints = {"Ada": np.ones((2, 4), np.float32), "a/b ü": np.zeros((2, 4), np.float32)}
    speaker.save_prints(tmp_path / "v.npz", one, prints)
    found = speaker.load_prints(tmp_path / "v.npz", one)
    assert list(found) == list(prints)
    np.testing.assert_array_equal(found["Ada"], prints["Ada"])
    other = one._replace(model=eqx.tree_at(lambda m: m.head.linear.bias, one.model, jnp.ones(4)))
    with pytest.raises(ValueError, match=r"v\.npz: holds voices as another network"):
        speaker.load_prints(tmp_path / "v.npz", other)
    with pytest.raises(ValueError, match=r"m\.eqx: damaged"):
        speaker.load_prints(tmp_path / "m.eqx", one)


# The command


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("voices")
    for seed in range(4):
        (found / f"person {seed}").mkdir()
        for i, wave in enumerate(speaker.formant_voice(seed, 3, 2.1)):
            wavfile.write(found / f"person {seed}" / f"{i}.wav", 16_000, wave)
    return found


def train_command(folder, out, *options):
    return [
        *("speaker", "train", str(folder), "--out", str(out)),
        *("--batch", "6", "--crop-frames", "40", *options),
    ]


@pytest.fixture
def small(monkeypatch):
    """A network that compiles soon."""
    monkeypatch.setattr(sj._cli._speaker_train, "_config", lambda args: CONFIG)


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_command_interrupted_goes_on(folder, tmp_path, capsys, monkeypatch):
    whole, out = tmp_path / "whole", tmp_path / "out"
    options = "--epochs", "51", "--held-out", "2"
    assert main(train_command(folder, whole, *options)) == 0
    checkpoint = sj.applications._training.Checkpoint
    write = checkpoint.write

    def dying(*args):
        write(*args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write", dying)
        assert main(train_command(folder, out, *options)) == 130
    assert not out.exists()
    assert main(train_command(folder, out, *options, "--learning-rate", "0.1")) == 2
    assert "with other learning_rate" in capsys.readouterr().err
    assert main(train_command(folder, out, *options, "--weight-decay", "1")) == 2
    assert "with other weight_decay" in capsys.readouterr().err
    assert main(train_command(folder, out, *options)) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "whole"]
    assert (out / "report.json").read_bytes() == (whole / "report.json").read_bytes()


@pytest.mark.usefixtures("small")
def test_command_trains_enrols_and_verifies(folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(train_command(folder, out, "--epochs", "2", "--held-out", "2")) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    assert {file.name for file in out.iterdir()} == {
        *("model.eqx", "report.json", "loss.png", "scores.png")
    }
    report = json.loads((out / "report.json").read_text())
    assert len(report["losses"]) == 2
    assert report["settings"]["crop_frames"] == [40]
    assert len(report["speakers"]) == len(report["held_out_speakers"]) == 2
    recogniser = speaker.load(out / "model.eqx")
    heldout = speaker.load_voices(folder).of_speakers(
        np.array([int(name[-1]) for name in report["held_out_speakers"]])
    )
    prints = speaker.voiceprints(recogniser.model, recogniser.state, heldout.features)
    first, second, same = speaker.trials(heldout.speakers)
    error = speaker.equal_error(speaker.score(prints, prints)[first, second], same)
    assert report["equal_error_rate"] == pytest.approx(error.rate)
    assert recogniser.threshold == pytest.approx(error.threshold, abs=1e-5)

    files = ["--model", str(out / "model.eqx"), "--voices", str(out / "voices.npz")]
    person = report["speakers"][0]
    enrolled = [str(folder / person / f"{i}.wav") for i in range(2)]
    assert main(["speaker", "enrol", person, *enrolled, *files]) == 0
    assert main(["speaker", "verify", enrolled[0], *files, "--threshold", "-1"]) == 0
    line = capsys.readouterr().out.splitlines()[-1].split("  ")
    assert line[0].startswith("accepted")
    features = speaker.voices_of({"": [speaker.read_wave(file) for file in enrolled]}).features
    prints = speaker.voiceprints(recogniser.model, recogniser.state, features)
    score = float(speaker.score(prints.mean(axis=0), prints[0]))
    assert float(line[0].split()[1]) == pytest.approx(score, abs=2e-3)
    assert line[1:] == [person, enrolled[0]]
    assert main(["speaker", "verify", enrolled[0], *files, "--threshold", "1"]) == 0
    assert "rejected" in capsys.readouterr().out.splitlines()[-1]
    assert main(["speaker", "verify", enrolled[0], *files, "--name", "nobody"]) == 2
    assert f"--name nobody: {out / 'voices.npz'} has {person}." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["train", "nowhere"], "nowhere: no such folder"),
        (["train", "{folder}", "--channels", "24"], "a multiple of 16"),
        (["train", "{folder}", "--held-out", "3"], "leave 2 of 4 speakers; got 3"),
        (["train", "{folder}", "--network", "ecapa", "--strength", "1"], "does not go with"),
        (["enrol", "Ada", "a.wav", "--model", "none.eqx"], "none.eqx: no such file"),
    ],
)
def test_problems_are_one_line_with_status_2(folder, capsys, options, expected):
    assert main(["speaker", *(option.format(folder=folder) for option in options)]) == 2
    message = capsys.readouterr().err
    assert message.startswith("sparsejax: error: ")
    assert message.count("\n") == 1
    assert expected in message


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["train", "x", "--epochs", "0"], "--epochs"),
        (["train", "x", "--strength", "0"], "--strength"),
        (["verify", "x", "--threshold", "2"], "--threshold"),
    ],
)
def test_options_out_of_range_are_usage_errors(capsys, options, named):
    with pytest.raises(SystemExit):
        main(["speaker", *options])
    assert named in capsys.readouterr().err
