"""Voices that nobody has: from espeak-ng, or from a few lines of signal processing."""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.signal import lfilter

from ..._checks import check_integer
from ._audio import read_wave
from ._features import RATE


def espeak_voice(
    texts: Sequence[str], variant: str, *, pitch: int = 50, rate: int = 160
) -> list[Float[np.ndarray, " samples"]]:
    """Texts spoken by a voice of espeak-ng, which has to be installed (Debian: ``espeak-ng``).

    Parameters
    ----------
    texts
        In English.
    variant
        Of the voice, such as ``"f2"`` or ``"Andrea"`` (``espeak-ng --voices=variant``).
    pitch
        From 0 to 99.
    rate
        Words a minute, from 80 to 450.

    Returns
    -------
    waves
        At 16 kHz.

    Raises
    ------
    FileNotFoundError
        If espeak-ng is not installed.
    ValueError
        If it does not know the variant, or a number is out of range.

    Examples
    --------
    >>> from sparsejax.applications import speaker
    >>> speaker.espeak_voice(["hello"], "f2", pitch=100)
    Traceback (most recent call last):
        ...
    ValueError: `pitch` must lie in 0 to 99; got 100.
    """
    for name, value, least, most in (("pitch", pitch, 0, 99), ("rate", rate, 80, 450)):
        if not least <= value <= most:
            raise ValueError(f"`{name}` must lie in {least} to {most}; got {value}.")
    program = shutil.which("espeak-ng")
    if program is None:
        raise FileNotFoundError("espeak-ng is not installed (Debian: apt-get install espeak-ng).")
    listed = subprocess.run([program, "--voices=variant"], capture_output=True, text=True).stdout
    if f"!v/{variant}" not in listed.split():  # it would speak with another voice
        raise ValueError(f"`variant`: espeak-ng has no {variant!r} (espeak-ng --voices=variant).")
    found = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "speech.wav")
        options = ["-v", f"en+{variant}", "-p", str(pitch), "-s", str(rate), "-w", str(file)]
        for text in texts:
            subprocess.run([program, *options, "--", text], check=True, capture_output=True)
            found.append(read_wave(file))
    return found


def formant_voice(
    seed: int, count: int, seconds: float = 3.0, *, take: int = 0
) -> list[Float[np.ndarray, " samples"]]:
    """Sounds like vowels from a throat of random pitch and length: pulses through resonances.

    For examples and tests: there are no words, and a pitch, four resonances and a tilt are all
    that tells one voice from another.

    Parameters
    ----------
    seed
        Of the voice.
    count, seconds
        How many recordings, and how long each.
    take
        Of the recordings; another number, other sounds of the same voice.

    Returns
    -------
    waves
        At 16 kHz.

    Raises
    ------
    ValueError
        If a size is not positive.

    Examples
    --------
    >>> from sparsejax.applications import speaker
    >>> [wave.shape for wave in speaker.formant_voice(0, 2, 1.5)]
    [(24000,), (24000,)]
    """
    check_integer("count", count)
    if not 0.5 <= seconds < np.inf:
        raise ValueError(f"`seconds` must be at least 0.5; got {seconds}.")
    voice, sounds = np.random.default_rng([seed]), np.random.default_rng([seed, take, 1])
    pitch, length = 90 * 2 ** voice.uniform(0, 1.4), voice.uniform(0.8, 1.25)
    widths, tilt = voice.uniform(50, 140, 4), voice.uniform(0.7, 0.97)
    size, syllable = round(seconds * RATE), RATE // 5
    found = []
    for _ in range(count):
        parts = []
        for _ in range(-(-size // syllable)):
            time = np.arange(syllable) / RATE
            bend = pitch * 2 ** sounds.uniform(-0.25, 0.25) * (1 + sounds.uniform(-0.5, 0.5) * time)
            phase = np.cumsum(bend) / RATE
            pulses = np.diff(np.floor(phase), prepend=0.0) + 0.02 * sounds.normal(size=syllable)
            sound = lfilter([1.0], [1.0, -tilt], pulses)
            vowel = np.array([500, 1500, 2500, 3500]) * sounds.uniform([0.5, 0.6, 0.9, 0.95], 1.5)
            for centre, width in zip(length * vowel, widths, strict=True):
                r = np.exp(-np.pi * width / RATE)
                angle = 2 * np.pi * centre / RATE
                sound = lfilter([1 - r], [1.0, -2 * r * np.cos(angle), r**2], sound)
            parts.append(sound * np.hanning(syllable) / np.abs(sound).max())
        wave = np.concatenate(parts)[:size] + 0.003 * sounds.normal(size=size)
        found.append((0.5 * wave).astype(np.float32))
    return found
