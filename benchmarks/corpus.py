"""Made audio to measure on: sounds as varied as a corpus', in the formats of the table."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

SECONDS = 10
EXAMPLES_A_CLIP = 10
"""VGGish examples in `SECONDS`."""
DISTINCT = 60
"""Different clips of a corpus; the others are the same files under other names."""
FORMATS: dict[str, tuple[str, str, int]] = {
    "FLAC 44.1 kHz stereo": ("FLAC", "PCM_16", 44100),
    "MP3 44.1 kHz stereo": ("MP3", "MPEG_LAYER_III", 44100),
    "Vorbis 44.1 kHz stereo": ("OGG", "VORBIS", 44100),
    "WAV 48 kHz stereo": ("WAV", "PCM_16", 48000),
}
"""By what they are called in the table: libsndfile's format and subtype, sample rate in Hz."""
_WRITTEN_AT_ONCE = 4096  # libsndfile's Vorbis encoder overflows the stack on long blocks


def stereo(seed: int, rate_hz: int, seconds: float = SECONDS) -> np.ndarray:
    """A sound of harmonics that come and go over coloured noise: float32 [n, 2] in [-1, 1]."""
    random = np.random.RandomState(seed)
    time = np.arange(int(seconds * rate_hz)) / rate_hz
    sound = np.zeros((len(time), 2))
    for _ in range(8):
        frequency, level = np.exp(random.uniform(np.log(80), np.log(9000))), random.uniform(0.02, 0.12)
        envelope = 0.5 + 0.5 * np.sin(2 * np.pi * random.uniform(0.2, 4) * time + random.uniform(0, 6))
        tone = envelope * np.sin(2 * np.pi * frequency * time)
        sound += level * tone[:, np.newaxis] * random.uniform(0.3, 1, 2)
    noise = random.standard_normal(sound.shape)
    sound += 0.02 * (noise + np.roll(noise, 1, axis=0) + np.roll(noise, 2, axis=0))
    return np.clip(sound, -1, 1).astype(np.float32)


def write(path: Path, samples: np.ndarray, name: str) -> None:
    """Samples [n, channels] -> a file in one of `FORMATS`."""
    import soundfile

    container, subtype, rate_hz = FORMATS[name]
    with soundfile.SoundFile(path, "w", rate_hz, samples.shape[1], subtype, format=container) as file:
        for start in range(0, len(samples), _WRITTEN_AT_ONCE):
            file.write(samples[start : start + _WRITTEN_AT_ONCE])


def clips(folder: Path, name: str, count: int, first_seed: int = 0) -> list[Path]:
    """`count` different clips of `SECONDS` in a format; files that are there stay."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{index:05d}.{FORMATS[name][0].lower()}" for index in range(count)]
    for seed, path in enumerate(paths, first_seed):
        if not path.exists():
            write(path, stereo(seed, FORMATS[name][2]), name)
    return paths


def flac_corpus(folder: Path, count: int) -> Path:
    """A folder of `count` FLAC clips, `DISTINCT` different ones."""
    originals = clips(folder / "distinct", "FLAC 44.1 kHz stereo", min(count, DISTINCT))
    return _linked(folder / f"{count}-clips", originals, count)


def _linked(folder: Path, originals: Sequence[Path], count: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        path = folder / f"clip-{index:05d}.flac"
        if not path.exists():
            os.link(originals[index % len(originals)], path)
    return folder
