"""A corpus of our own making in the manner of ESC-10: a folder a class, spaces in names, the fold in front of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from examples import make_audio
from tests.made_audio import write
from tests.made_once import Once

RATE, SECONDS, EXAMPLES = 44100, 3.0, 3
FOLDS = (1, 2, 3, 4, 5)
LONGER = "5", "B"
"""Fold and letter of the clip of each class that lasts a second more."""


def _pulses(hz: float) -> make_audio.Sound:
    return lambda t, random: np.sign(np.sin(2 * np.pi * hz * t)) * (np.sin(2 * np.pi * 3 * t) > 0)


def _noise(low: int) -> make_audio.Sound:
    def sound(t: np.ndarray, random: np.random.Generator) -> np.ndarray:
        spectrum = np.fft.rfft(random.normal(0, 1, len(t)))
        spectrum[: low * len(t) // RATE] = 0
        spectrum[(low + 2000) * len(t) // RATE :] = 0
        return 3 * np.fft.irfft(spectrum, len(t))

    return sound


CLASSES: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "Rising tone": make_audio.chirp,
    "Rain": make_audio.rain,
    "Clock tick": make_audio.clicks,
    "Vowels": make_audio.voice,
    "Chords": make_audio.chord,
    "Low hum": lambda t, random: np.sin(2 * np.pi * 150 * t) + np.sin(2 * np.pi * 300 * t),
    "Whistle": lambda t, random: np.sin(2 * np.pi * (3000 * t - 40 * np.cos(2 * np.pi * 6 * t))),
    "Saw": _pulses(440),
    "Wind": _noise(100),
    "Hiss": _noise(5000),
}


def make(folder: Path, letters: str = "A") -> Path:
    """Clips of every class and fold, one a letter: "001 - Rising tone/1-001-A.ogg"."""
    for number, (name, sound) in enumerate(CLASSES.items(), 1):
        (folder / f"{number:03d} - {name}").mkdir(parents=True)
        for fold in FOLDS:
            for letter in letters:
                clip = folder / f"{number:03d} - {name}" / f"{fold}-{number:03d}-{letter}.ogg"
                random = np.random.default_rng([number, fold, ord(letter)])
                # Another speed, loudness and background in each.
                seconds = SECONDS + ((str(fold), letter) == LONGER)
                t = (random.uniform(0, 2) + np.arange(round(seconds * RATE)) / RATE) * random.uniform(0.8, 1.2)
                samples = random.uniform(0.2, 0.8) * np.clip(sound(t, random), -1, 1)
                samples += random.normal(0, 0.005, len(t))
                write(clip, samples[:, np.newaxis], RATE, "OGG", "VORBIS")
    return folder


@pytest.fixture(scope="session")
def made_clips(once: Once) -> Path:
    """Ten classes of five clips, 150 s."""
    return once("made clips", make)
