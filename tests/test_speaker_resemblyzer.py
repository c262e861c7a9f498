"""Resemblyzer's encoder against PyTorch's equations in NumPy, and on real voices where they are."""

import io
import zipfile
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax.applications import speaker

DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(0)
    found = {"linear.weight": rng.normal(size=(256, 256)) / 16, "linear.bias": rng.normal(size=256)}
    for i, inputs in enumerate((40, 256, 256)):
        found[f"lstm.weight_ih_l{i}"] = rng.normal(size=(1024, inputs)) / inputs**0.5
        found[f"lstm.weight_hh_l{i}"] = rng.normal(size=(1024, 256)) / 16
        found[f"lstm.bias_ih_l{i}"], found[f"lstm.bias_hh_l{i}"] = rng.normal(size=(2, 1024)) / 4
    return {name: array.astype(np.float32) for name, array in found.items()}


def restated(arrays, x):
    sigmoid = lambda z: 1 / (1 + np.exp(-z))  # noqa: E731
    for i in range(3):
        h, cell, states = np.zeros(256), np.zeros(256), []
        for frame in x:
            gates = arrays[f"lstm.weight_ih_l{i}"] @ frame + arrays[f"lstm.bias_ih_l{i}"]
            gates = gates + arrays[f"lstm.weight_hh_l{i}"] @ h + arrays[f"lstm.bias_hh_l{i}"]
            entering, forget, new, out = gates.reshape(4, 256)
            cell = sigmoid(forget) * cell + sigmoid(entering) * np.tanh(new)
            h = sigmoid(out) * np.tanh(cell)
            states.append(h)
        x = states
    last = np.maximum(arrays["linear.weight"] @ x[-1] + arrays["linear.bias"], 0)
    return last / np.linalg.norm(last)


def test_encoder_is_pytorchs(arrays, tmp_path, rng):
    np.savez(tmp_path / "weights.npz", **arrays)
    encoder = speaker.load_resemblyzer(tmp_path / "weights.npz")
    x = rng.normal(size=(6, 40))
    found = encoder(jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(found, restated(arrays, x), atol=1e-5)


def test_files_that_are_not_its_weights(arrays, tmp_path):
    file = tmp_path / "weights.npz"
    np.savez(file, **{name: array for name, array in arrays.items() if name != "linear.bias"})
    with pytest.raises(ValueError, match=r"weights\.npz: has no array 'linear.bias'"):
        speaker.load_resemblyzer(file)
    np.savez(file, **(arrays | {"lstm.weight_hh_l1": np.ones((3, 4))}))
    with pytest.raises(ValueError, match=r"'lstm.weight_hh_l1' is \(3, 4\); must be \(1024, 256\)"):
        speaker.load_resemblyzer(file)
    file.write_text("no archive")
    with pytest.raises(ValueError, match=r"weights\.npz: damaged"):
        speaker.load_resemblyzer(file)


@pytest.mark.slow
def test_real_voices_are_told_apart():
    """Six voices of telephone systems; the English and the Spanish one are one person."""
    soundfile = pytest.importorskip("soundfile")
    archive, weights = DATA / "asterisk_6spk_20utt_8k_flac.zip", DATA / "resemblyzer_lstm_fp16.npz"
    if not archive.exists() or not weights.exists():
        pytest.skip(f"{DATA} has no voices or weights")
    encoder, found, names = speaker.load_resemblyzer(weights), [], []
    with zipfile.ZipFile(archive) as files:
        for name in sorted(files.namelist()):
            wave, rate = soundfile.read(io.BytesIO(files.read(name)))
            found.append(encoder.embed(speaker.resampled(wave, rate)))
            names.append(name.split("/")[0])
    e, names = np.stack(found), np.array(names)
    first, second, same = speaker.trials(np.unique(names, return_inverse=True)[1])
    assert 0.06 < speaker.equal_error((e @ e.T)[first, second], same).rate < 0.11
