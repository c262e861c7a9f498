"""Voices for the bench of speaker verification: synthetic through a channel each, and real."""

import io
import itertools
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.signal import lfilter

from sparsejax.applications import speaker

# Variants that sound like people; each speaks as several speakers, of other pitch and rate.
_VARIANTS = (
    "adam Alex Alicia Andrea Andy Annie antonio aunty belinda benjamin boris caleb david Denis "
    "Diogo ed edward edward2 Gene Gene2 gustave Henrique Hugo iven iven2 iven3 iven4 Jacky "
    "john kaukovalta Lee linda marcelo Marco Mario max Michael michel miguel Mike Mr Nguyen "
    "pablo paul pedro quincy RicishayMax rob robert steph steph2 steph3 Storm Tweaky zac anika "
    "AnxiousAndy f1 f2 f3 f4 f5 grandpa klatt klatt2 m1 m2 m3 m4 m5 m6 m7 m8 norbert sandro "
    "shelby travis victor grandma"
)
VARIANTS = _VARIANTS.split()
_WORDS = (
    "river morning window letter garden yellow seven question mountain quiet market winter "
    "paper bridge doctor island simple engine thunder orange village teacher copper summer "
    "basket history butter captain silver forest mirror kitchen August weather blanket journey "
    "purple station dinner number follow under between cannot remember whether perhaps because "
    "around another never should together"
)
WORDS = _WORDS.split()
TRAINED, TESTED = 8, 4  # recordings of a speaker where it is trained on, and where it is tested


class Recordings(NamedTuple):
    """Of one speaker."""

    variant: int
    trained: list[np.ndarray]
    tested: list[np.ndarray]


def spoken(variants: int, each: int) -> list[Recordings]:
    """All speakers of each variant; the same at every call."""
    found = []
    for number, turn in itertools.product(range(variants), range(each)):
        rng = np.random.default_rng([number, turn])
        texts = [
            " ".join(rng.choice(WORDS, words))
            for words in (*rng.integers(9, 14, TRAINED), *rng.integers(18, 23, TESTED))
        ]
        pitch, rate = int(rng.integers(20, 80)), int(rng.integers(135, 185))
        waves = speaker.espeak_voice(texts, VARIANTS[number], pitch=pitch, rate=rate)
        voices = speaker.voices_of({"one": [recorded(wave, rng) for wave in waves]})
        found.append(Recordings(number, [*voices.features[:TRAINED]], [*voices.features[TRAINED:]]))
    return found


def recorded(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Through a channel of random tilt and loudness, with noise 5 to 25 dB below."""
    tilt, loudness = rng.uniform(-0.6, 0.6), rng.uniform(0.1, 0.9)
    wave = lfilter([1.0, tilt], [1.0], wave)
    level = np.sqrt(np.mean(wave**2)) * 10 ** (-rng.uniform(5, 25) / 20)
    noise = lfilter([1.0], [1.0, -rng.uniform(0, 0.9)], rng.normal(size=wave.size))
    wave = wave + level * noise / np.sqrt(np.mean(noise**2))
    return loudness * wave / np.abs(wave).max()


def real_voices(path: Path) -> speaker.Voices | None:
    """Six voices in FLAC files of a ZIP archive, if it is there and soundfile installed."""
    try:
        import soundfile
    except ImportError:
        return None
    if not path.exists():
        return None
    waves: dict[str, list[np.ndarray]] = {}
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            wave, rate = soundfile.read(io.BytesIO(archive.read(name)))
            waves.setdefault(name.split("/")[0], []).append(speaker.resampled(wave, rate))
    return speaker.voices_of(waves)


def joined(recordings: list[list[np.ndarray]]) -> speaker.Voices:
    """Recordings of several speakers."""
    counts = [len(own) for own in recordings]
    features = tuple(x for own in recordings for x in own)
    names = tuple(map(str, range(len(recordings))))
    speakers = np.repeat(np.arange(len(recordings), dtype=np.int32), counts)
    return speaker.Voices(features, speakers, names, tuple(map(str, range(len(features)))))


def cut(features: np.ndarray, frames: int) -> np.ndarray:
    """The middle."""
    start = max(features.shape[1] - frames, 0) // 2
    return features[:, start : start + frames]
